"""A hundred sessions asked for at once: those admitted fit the budget, the others hear when to
come again, and what is given back is there for others."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.running import running

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.running import Service

pytestmark = [pytest.mark.model, pytest.mark.timeout(120)]

BURST = 100
CORES = 2.0
SHARE = 0.85
SESSION_CORES = 0.25
ROOM = 6  # sessions of the default limits: 6 * 0.25 <= 1.7 < 7 * 0.25
SMALL_ROOM = 13  # of 640x360, for 0.4925 of that each


async def post(http: aiohttp.ClientSession, **spec: object) -> tuple[int, Mapping[str, str], Any]:
    async with http.post("/v1/sessions", json=spec) as answer:
        return answer.status, dict(answer.headers), await answer.json(content_type=None)


async def metrics(http: aiohttp.ClientSession) -> dict[str, float]:
    async with http.get("/metrics") as answer:
        lines = (await answer.text()).splitlines()
    pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def client(service: Service) -> aiohttp.ClientSession:
    # As many connections as requests: nothing on this side makes them take turns.
    connector = aiohttp.TCPConnector(limit=BURST)
    return aiohttp.ClientSession(
        service.url, connector=connector, timeout=aiohttp.ClientTimeout(60)
    )


@pytest.mark.parametrize(
    ("spec", "room"), [({}, ROOM), ({"max_width": 640, "max_height": 360}, SMALL_ROOM)]
)
async def test_a_burst_over_admits_nobody(spec: dict[str, object], room: int) -> None:
    with running(
        CPU_CORES=str(CORES), PLANNED_SHARE=str(SHARE), SESSION_CORES=str(SESSION_CORES)
    ) as service:
        async with client(service) as http:
            answers = await asyncio.gather(*(post(http, **spec) for _ in range(BURST)))
            opened = [body for status, _, body in answers if status == 201]
            refused = [(headers, body) for status, headers, body in answers if status == 503]
            assert (len(opened), len(refused)) == (room, BURST - room)
            assert len({body["id"] for body in opened}) == room
            for headers, body in refused:
                assert headers["Content-Type"] == "application/problem+json"
                assert (body["type"], body["reason"]) == ("/problems/no-capacity", "cpu_budget")
                assert 5 <= int(headers["Retry-After"]) <= 60
            assert len({headers["Retry-After"] for headers, _ in refused}) > BURST // 4

            found = await metrics(http)
            assert found["backcloth_reserved_cores"] <= CORES * SHARE + 1e-6
            assert 0.8 < found["backcloth_capacity_ratio"] <= 1
            decisions = Counter(
                {
                    name.partition("{")[2]: value
                    for name, value in found.items()
                    if name.startswith("backcloth_admission_total{") and value
                }
            )
            assert decisions == {
                'decision="admitted",reason=""}': room,
                'decision="rejected",reason="cpu_budget"}': BURST - room,
            }

            # Two leave: there is room for two again, and for no third.
            for body in opened[:2]:
                async with http.delete(f"/v1/sessions/{body['id']}") as answer:
                    assert answer.status == 204
            again = await asyncio.gather(*(post(http, **spec) for _ in range(10)))
            assert Counter(status for status, _, _ in again) == {201: 2, 503: 8}

            opened = opened[2:] + [body for status, _, body in again if status == 201]
            for body in opened:
                async with http.delete(f"/v1/sessions/{body['id']}") as answer:
                    assert answer.status == 204
            found = await metrics(http)
            assert found["backcloth_reserved_cores"] == 0
            assert found["backcloth_capacity_ratio"] == 0


async def test_whoever_waits_as_told_gets_in() -> None:
    with running(CPU_CORES="1", MAX_SESSIONS="1") as service:
        async with client(service) as http:
            _, _, first = await post(http)
            status, headers, body = await post(http)
            assert (status, body["reason"]) == (503, "session_cap")
            async with http.delete(f"/v1/sessions/{first['id']}"):
                pass
            await asyncio.sleep(int(headers["Retry-After"]))
            assert (await post(http))[0] == 201
