"""Calls that move from one server to another, in Chromium: within a fleet that answers for every
session everywhere, and to another address, whose origin the page may ask by its policy."""

from __future__ import annotations

import asyncio
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.browser.front import Front, front
from tests.browser.test_moves import EFFECT, SETTLE_S
from tests.browser.visitor import Visitor, visit
from tests.running import free_port, running
from tests.web.test_fleet_moving import ADDRESSES, has, listed, settings
from tests.web.test_fleet_served import GREEN, PLATFORM, RED, opened, until_stopping

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext

    from tests.running import Service

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

CALLER = """
async ([session, effect]) => {
  const { start } = await import("/client.js");
  const camera = await navigator.mediaDevices.getUserMedia(
    { video: { width: 320, height: 180, frameRate: 10 } });
  const video = Object.assign(document.createElement("video"),
    { id: "returned", muted: true, autoplay: true });
  document.body.append(video);
  globalThis.states = [];
  globalThis.moves = 0;
  globalThis.processed = await start(camera, {
    sessionId: session.id, token: session.token, effect,
    onState: ({ state, reason }) => states.push(reason ? `${state}: ${reason}` : state),
  });
  processed.addEventListener("happened", ({ detail }) =>
    detail.type === "session.move" && (moves += 1));
  video.srcObject = processed.stream;
  await video.play();
}
"""
LEFT = {"left": 0.03, "top": 0.05, "right": 0.2, "bottom": 0.45}


class Anywhere(Front):
    """A front that sends each request to the next server that is ready, whatever it is for."""

    async def pick(self, method: str, path: str) -> str | None:
        return next(iter(await self.ready()), None)


async def shows(visitor: Visitor, effect: dict[str, str]) -> None:
    color = [int(effect["color"][at : at + 2], 16) for at in (1, 3, 5)]
    await visitor.until('distance(look("returned", box), color) < 40', box=LEFT, color=color)


async def homes(
    http: aiohttp.ClientSession, servers: list[Service], session: dict[str, Any]
) -> list[Service]:
    return [one for one in servers if await has(http, one, session) == "here"]


async def test_a_call_that_moved_is_reached_through_every_server(context: BrowserContext) -> None:
    port = free_port()
    with ExitStack() as stack:
        servers = [stack.enter_context(running(port, **settings(port, one))) for one in ADDRESSES]
        old = servers[0]
        async with (
            aiohttp.ClientSession() as http,
            front(*(one.url for one in servers), kind=Anywhere) as before,
        ):
            visitor = await visit(context, before.url)
            session = await opened(http, old.url)
            await visitor.open("blank")
            await visitor.page.evaluate(CALLER, [session, EFFECT])
            await shows(visitor, EFFECT)
            assert await homes(http, servers, session) == [old]
            old.process.send_signal(signal.SIGTERM)
            await until_stopping(http, old)
            path = f"/v1/sessions/{session['id']}"
            asked = 0
            while old.process.poll() is None and asked < 40:
                # Through the old one for as long as it is there, whoever has the session.
                try:
                    async with http.get(old.url + path, headers=PLATFORM) as response:
                        assert response.status == 200, await response.text()
                        asked += 1
                except aiohttp.ClientConnectionError:
                    break
            assert await asyncio.to_thread(old.process.wait, SETTLE_S) == 0
            assert [line for line in old.lines if "ended: moved" in line]
            left = servers[1:]
            (new,) = await homes(http, left, session)
            (third,) = [one for one in left if one is not new]
            for server, effect in ((third, RED), (new, GREEN)):
                async with http.patch(
                    server.url + path, json={"effect": effect}, headers=PLATFORM
                ) as response:
                    assert response.status == 200, await response.text()
                await shows(visitor, effect)
                await visitor.until("processed.effect.color === color", color=effect["color"])
            for server in left:
                assert await listed(http, server) == [session["id"]]
            assert await visitor.page.evaluate("[states, moves]") == [["connecting", "live"], 1]
            # It moves on, also to a server that began anew in the place of the first.
            again = stack.enter_context(running(port, **settings(port, ADDRESSES[0])))
            new.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(new.process.wait, SETTLE_S) == 0
            await visitor.until("moves === 2")
            await shows(visitor, GREEN)
            (now,) = await homes(http, [again, third], session)
            (other,) = [one for one in (again, third) if one is not now]
            assert await listed(http, other) == [session["id"]]
            async with http.delete(other.url + path, headers=PLATFORM) as response:
                assert response.status == 204
            await visitor.until("['closed', 'failed'].includes(processed.state)")
            assert await homes(http, [again, third], session) == []
            assert await listed(http, other) == []
            await visitor.page.goto("about:blank")
        for server in (*servers, again):
            assert not [line for line in server.lines if "Traceback" in line]


async def test_the_pages_call_moves_to_the_configured_address(context: BrowserContext) -> None:
    """The page itself, under its policy: its client goes on at another origin, and no other
    origin may be asked."""
    ports = free_port(), free_port()
    here, there = (f"http://{one}:{port}" for one, port in zip(ADDRESSES, ports, strict=False))
    stranger = f"http://{ADDRESSES[2]}:{ports[1]}"
    shared = {
        "API_KEYS": "platform-key-of-the-fleet",
        "TOKEN_SECRETS": "t" * 32,
        "LOWEST_QUALITY": "full",
        "CPU_CORES": "8",
        "DRAIN_S": "60",
        # The front that a move goes through is not there: the other one is asked by its address.
        "ALLOWED_ORIGINS": here,
    }
    with (
        running(ports[1], HOST=ADDRESSES[1], **shared) as new,
        running(ports[0], HOST=ADDRESSES[0], MOVE_TO=f"{there}/", **shared) as old,
    ):
        async with aiohttp.ClientSession() as http:
            visitor = await visit(context, old.url)
            session = await opened(http, old.url)
            fragment = f"#session={session['id']}&token={session['token']}"
            await visitor.open(fragment)
            await visitor.start()
            await visitor.wait_for_state("live")
            for origin, allowed in ((there, True), (stranger, False)):
                refused = await visitor.page.evaluate(
                    """async (url) => {
                      violations.length = 0;
                      await fetch(url, { mode: "no-cors" }).catch(() => undefined);
                      await new Promise((resolve) => setTimeout(resolve, 200));
                      return violations.splice(0);
                    }""",
                    f"{origin}/healthz",
                )
                assert (refused == []) is allowed, refused
            visitor.console.clear()
            old.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(old.process.wait, SETTLE_S) == 0
            assert [line for line in old.lines if "ended: moved" in line], old.lines
            await visitor.wait_for_state("live")
            async with http.get(f"{new.url}/v1/sessions", headers=PLATFORM) as response:
                (found,) = (await response.json())["sessions"]
            assert (found["id"], found["state"]) == (session["id"], "live")
            assert await visitor.page.evaluate("violations") == []
            asked = {f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" for url in visitor.foreign}
            assert {there} <= asked <= {there, stranger}
            await visitor.page.goto("about:blank")
