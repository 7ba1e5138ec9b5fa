"""Probes: ready means that the service takes work, not that it has room."""

from __future__ import annotations

from tests.web.conftest import KEY, Client, Stand, bearer, opened, problem


async def test_healthz_is_ok_whatever_else(client: Client, stand: Stand) -> None:
    stand.started, stand.registry.draining = False, True
    response = await client.get("/healthz")
    assert (response.status, await response.text()) == (200, "ok\n")


async def test_readyz(client: Client, stand: Stand) -> None:
    stand.started = False
    response = await client.get("/readyz")
    assert await problem(response) == (503, "not-ready")
    assert (await response.json())["detail"] == "starting"
    stand.started = True
    assert (await client.get("/readyz")).status == 200
    # Full, but its own sessions' requests must reach it.
    stand.registry.room, stand.capacity = 0, 1.0
    assert (await client.get("/readyz")).status == 200
    stand.registry.draining = True
    response = await client.get("/readyz")
    assert await problem(response) == (503, "not-ready")
    assert (await response.json())["detail"] == "draining"
    assert response.headers["Retry-After"] == "5"


async def test_metrics(client: Client) -> None:
    response = await client.get("/metrics")
    assert await response.text() == "backcloth_raw_frames_total 0.0\n"
    assert response.headers["Content-Type"] == "text/plain; version=1.0.0; charset=utf-8"


async def test_server(client: Client) -> None:
    token = (await opened(client))["token"]
    for credential in (KEY, token):
        response = await client.get("/v1/server", headers=bearer(credential))
        assert await response.json() == {
            "cpu_load_ratio": 0.25,
            "cpu_quota_cores": 2.0,
            "sessions": 1,
            "capacity_ratio": 0.5,
            "development": False,
        }


async def test_head_is_get_without_a_body(client: Client) -> None:
    response = await client.head("/healthz")
    assert (response.status, await response.read()) == (200, b"")
