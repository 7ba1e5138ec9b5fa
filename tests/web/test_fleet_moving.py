"""A session of a fleet that is on two servers at once while its call moves; three real services."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from service.policy.fleet import Asked, Fleet, Member
from service.web.peers import HOP
from tests.running import free_port, running
from tests.web.conftest import problem
from tests.web.test_fleet_served import (
    GREEN,
    PLATFORM,
    RED,
    SECRET,
    call,
    clients_on_loopback,
    held,
    opened,
    shows,
    until_stopping,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers import Client
    from tests.running import Service

__all__ = ["clients_on_loopback"]

pytestmark = [pytest.mark.model, pytest.mark.peer]

ADDRESSES = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
BLUE = {"type": "color", "color": "#0000c0"}


@dataclass
class Trio:
    """Where the session is, where it goes, and one that has nothing to do with it."""

    old: Service
    new: Service
    third: Service

    @property
    def all(self) -> tuple[Service, ...]:
        return self.old, self.new, self.third


def settings(port: int, address: str, **more: str) -> dict[str, str]:
    return {
        "API_KEYS": "platform-key-of-the-fleet",
        "TOKEN_SECRETS": "t" * 32,
        "CPU_CORES": "8",
        "DRAIN_S": "60",
        "LOWEST_QUALITY": "full",
        "FLEET": ",".join(f"http://{one}:{port}" for one in ADDRESSES),
        "FLEET_SECRETS": SECRET,
        "FLEET_ADDRESS": address,
        "HOST": address,
        **more,
    }


@pytest.fixture
def trio() -> Iterator[Trio]:
    port = free_port()
    with ExitStack() as stack:
        started = [
            stack.enter_context(running(port, **settings(port, address))) for address in ADDRESSES
        ]
        yield Trio(*started)
        for service in started:
            assert not [line for line in service.lines if "Traceback" in line]


async def has(http: aiohttp.ClientSession, service: Service, session: dict[str, Any]) -> str:
    """What a server says to another member of a session."""
    host = service.environ["BACKCLOTH_HOST"]
    member = Member("http", host, service.port, host)
    asking = Fleet([SECRET.encode()], "127.0.0.9 1")
    seek = f"/v1/fleet/sessions/{session['id']}"
    hop = asking.sign(member, Asked("GET", seek, ""), now=time.time())
    async with http.get(service.url + seek, headers={HOP: hop}) as response:
        found: str = (await response.json())["session"]
        return found


async def listed(http: aiohttp.ClientSession, service: Service) -> list[str]:
    async with http.get(f"{service.url}/v1/sessions", headers=PLATFORM) as response:
        assert response.status == 200
        return [one["id"] for one in (await response.json())["sessions"]]


@dataclass
class Moving:
    """A session in the middle of its move: its client has a connection to each of two servers."""

    session: dict[str, Any]
    before: Client
    after: Client

    @property
    def path(self) -> str:
        return f"/v1/sessions/{self.session['id']}"

    async def close(self) -> None:
        await self.before.close()
        await self.after.close()


async def moving(http: aiohttp.ClientSession, trio: Trio) -> Moving:
    session = await opened(http, trio.old.url)
    before = await call(http, session, trio.old.url)
    await before.wait_for(lambda: bool(before.video.frames) and shows(before, GREEN))
    trio.old.process.send_signal(signal.SIGTERM)
    await until_stopping(http, trio.old)
    after = await call(http, session, trio.new.url)
    await after.wait_for(lambda: bool(after.video.frames) and shows(after, GREEN))
    assert await has(http, trio.old, session) == "leaving"
    assert await has(http, trio.new, session) == "here"
    assert await has(http, trio.third, session) == "unknown"
    return Moving(session, before, after)


async def test_it_is_changed_where_it_goes_whoever_is_asked(trio: Trio) -> None:
    async with aiohttp.ClientSession() as http:
        one = await moving(http, trio)
        try:
            for service, effect in zip(trio.all, (RED, GREEN, BLUE), strict=True):
                async with http.patch(
                    service.url + one.path, json={"effect": effect}, headers=PLATFORM
                ) as response:
                    assert response.status == 200, await response.text()
                    etag = response.headers["ETag"]
                await one.after.wait_for(partial(shows, one.after, effect))
                # Its version is one, too: what the other servers tell may be asked for anywhere.
                for other in trio.all:
                    async with http.get(other.url + one.path, headers=PLATFORM) as response:
                        assert response.headers["ETag"] == etag
                        assert (await response.json())["effect"]["color"] == effect["color"]
            async with http.patch(
                trio.old.url + one.path,
                json={"effect": RED},
                headers={**PLATFORM, "If-Match": '"somebody-1"'},
            ) as response:
                assert await problem(response) == (412, "stale-etag")
            # A client that left is on one server alone, and listed once.
            await one.before.close()
            assert await asyncio.to_thread(trio.old.process.wait, 10) == 0
            assert await listed(http, trio.third) == [one.session["id"]]
        finally:
            await one.close()


@pytest.mark.parametrize("which", ["old", "new", "third"])
async def test_its_end_ends_it_on_both(trio: Trio, which: str) -> None:
    async with aiohttp.ClientSession() as http:
        one = await moving(http, trio)
        asked: Service = getattr(trio, which)
        try:
            async with http.delete(asked.url + one.path, headers=held(one.session)) as response:
                assert response.status == 204
            # Nobody is left on the one that stops, so it stops.
            assert await asyncio.to_thread(trio.old.process.wait, 10) == 0
            for service in (trio.new, trio.third):
                assert await listed(http, service) == []
                async with http.post(
                    service.url + one.session["rtc_url"],
                    data="v=0\r\n",
                    headers={"Content-Type": "application/sdp", **held(one.session)},
                ) as response:
                    assert await problem(response) == (404, "unknown-session")
        finally:
            await one.close()


@pytest.mark.parametrize("which", ["old", "new", "third"])
async def test_so_does_the_end_of_many(trio: Trio, which: str) -> None:
    async with aiohttp.ClientSession() as http:
        one = await moving(http, trio)
        asked: Service = getattr(trio, which)
        try:
            ending = {"ids": [one.session["id"], "nobody"]}
            url = f"{asked.url}/v1/sessions/end"
            async with http.post(url, json=ending, headers=PLATFORM) as response:
                answer = await response.json()
            assert answer["ended"] == [one.session["id"]]
            assert (answer["unknown"], answer["unanswered"]) == (["nobody"], [])
            assert await asyncio.to_thread(trio.old.process.wait, 10) == 0
            assert await listed(http, trio.third) == []
        finally:
            await one.close()
