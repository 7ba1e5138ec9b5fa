"""A key set over HTTP, by a real server: kept, renewed, rotated, and never a way into somewhere."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ipaddress
import json
from typing import TYPE_CHECKING, Any

import pytest

from service.web.jwks import MAX_BYTES, MAX_STALE_S, MIN_INTERVAL_S, Jwks
from tests.test_outbound import Names
from tests.web.signing import Clock, KeyServer, jwk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REFUSED = "the address is in a range that is not allowed"
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
A, B = jwk("ES256", "a"), jwk("ES256", "b", 1)


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    async with KeyServer().running() as running:
        running.publish(A)
        yield running


def kids(jwks: Jwks) -> list[str | None]:
    present = jwks.keys()
    return [key.kid for key in present]


async def test_fetched_kept_and_rotated(server: KeyServer) -> None:
    clock = Clock()
    jwks = Jwks(server.url, networks=LOOPBACK, now=clock)
    assert kids(jwks) == []
    await jwks.renew()
    assert kids(jwks) == ["a"]
    server.publish(A, B)
    for _ in range(5):
        await jwks.renew()  # at most once in an interval, whoever asks for what
    assert (server.asked, kids(jwks)) == (1, ["a"])
    clock.s += MIN_INTERVAL_S
    await asyncio.gather(*(jwks.renew() for _ in range(20)))
    assert (server.asked, kids(jwks)) == (2, ["a", "b"])
    server.publish(B)
    clock.s += MIN_INTERVAL_S
    await jwks.renew()
    assert kids(jwks) == ["b"]


async def test_the_old_keys_are_good_while_the_server_is_not(server: KeyServer) -> None:
    clock = Clock()
    jwks = Jwks(server.url, networks=LOOPBACK, now=clock)
    await jwks.renew()
    fetched_s = clock.s
    server.status = 500
    clock.s = fetched_s + MAX_STALE_S
    await jwks.renew()
    assert (server.asked, kids(jwks)) == (2, ["a"])
    clock.s += 1
    assert kids(jwks) == []
    server.status = 200
    clock.s += MIN_INTERVAL_S
    await jwks.renew()
    assert kids(jwks) == ["a"]


async def test_the_age_grows_while_nothing_usable_comes(server: KeyServer) -> None:
    clock = Clock()
    jwks = Jwks(server.url, networks=LOOPBACK, now=clock)
    clock.s += 100
    assert jwks.age_s == 100, "none was ever fetched"
    await jwks.renew()
    assert jwks.age_s == 0
    server.status = 500
    for passed_s in (MIN_INTERVAL_S, 2 * MIN_INTERVAL_S):
        clock.s += MIN_INTERVAL_S
        await jwks.renew()
        assert jwks.age_s == passed_s
    server.status = 200
    clock.s += MIN_INTERVAL_S
    await jwks.renew()
    assert (jwks.age_s, server.asked) == (0, 4)


async def test_the_task_fetches_at_once_and_ends_when_told(server: KeyServer) -> None:
    jwks = Jwks(server.url, networks=LOOPBACK)
    task = asyncio.create_task(jwks.run())
    async with asyncio.timeout(10):
        while not jwks.keys():
            await jwks.renew()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert server.asked == 1


async def test_the_task_ends_while_the_server_says_nothing(server: KeyServer) -> None:
    server.silent = True
    jwks = Jwks(server.url, networks=LOOPBACK, timeout_s=60)
    task = asyncio.create_task(jwks.run())
    async with asyncio.timeout(10):
        await server.was_asked.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert len(asyncio.all_tasks()) <= 4  # the server's own


async def test_who_goes_away_does_not_end_the_fetch(server: KeyServer) -> None:
    jwks = Jwks(server.url, networks=LOOPBACK)
    leaving, staying = (asyncio.create_task(jwks.renew()) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await staying
    assert leaving.cancelled()
    assert (server.asked, kids(jwks)) == (1, ["a"])


def huge() -> bytes:
    return json.dumps({"keys": [A], "pad": "x" * MAX_BYTES}).encode()


@pytest.mark.parametrize(
    ("changes", "logged"),
    [
        ({"body": huge()}, "more than 65536 bytes"),
        ({"endless": True}, "more than 65536 bytes"),
        ({"silent": True}, "no whole answer within 0.3 s"),
        ({"status": 302, "headers": {"Location": "/jwks.json"}}, "redirects are not followed"),
        ({"status": 204}, "is a 204"),
        ({"headers": {"Content-Encoding": "gzip"}, "body": gzip.compress(b"{}")}, "Encoding"),
        ({"body": b"<html>"}, "is not JSON"),
        ({"body": b'{"keys": []}'}, "has no key"),
        ({"body": json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}).encode()}, "has no key"),
        ({"headers": {"X-Long": "x" * 9000}}, "JWKS: "),
    ],
)
async def test_answers_that_are_not_taken(
    server: KeyServer, changes: dict[str, Any], logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in changes.items():
        setattr(server, name, value)
    jwks = Jwks(server.url, networks=LOOPBACK, timeout_s=0.3 if server.silent else 5)
    async with asyncio.timeout(10):
        await jwks.renew()
    assert (server.asked, kids(jwks)) == (1, [])
    assert logged in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_slow_trickle_is_cut_off(server: KeyServer) -> None:
    """Not one long silence but a byte now and then: the time is that of the whole answer."""
    server.endless = server.slowly = True
    jwks = Jwks(server.url, networks=LOOPBACK, timeout_s=0.3)
    async with asyncio.timeout(10):
        await jwks.renew()
    assert (server.asked, kids(jwks)) == (1, [])


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "[::ffff:127.0.0.1]", "0.0.0.0"]
)
async def test_nothing_private_is_asked_without_permission(
    server: KeyServer, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    for scheme in ("http", "https"):
        url = server.url.replace("http://127.0.0.1", f"{scheme}://{host}")
        await Jwks(url).renew()
    assert server.asked == 0
    assert "Traceback" not in caplog.text


async def test_a_name_that_leads_inside_is_not_followed(
    server: KeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = server.url.replace("127.0.0.1", "keys.example.com")
    await Jwks(url, resolver=Names("127.0.0.1")).renew()
    assert server.asked == 0
    assert REFUSED in caplog.text
    jwks = Jwks(url, networks=LOOPBACK, resolver=Names("127.0.0.1"))
    await jwks.renew()
    assert kids(jwks) == ["a"]


async def test_http_reaches_nothing_public(caplog: pytest.LogCaptureFixture) -> None:
    await Jwks("http://8.8.8.8/jwks.json", networks=LOOPBACK).renew()
    assert REFUSED in caplog.text


async def test_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    async with KeyServer().running() as server:
        url = server.url
    await Jwks(url, networks=LOOPBACK).renew()
    assert "JWKS: ClientConnectorError" in caplog.text
