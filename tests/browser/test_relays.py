"""client.js by a real coturn alone: each connection has the credentials of its own time.

The pages here take relayed candidates and no others, so that what a connection is given of ICE
servers decides whether there is a picture.
"""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from service.logs import SHORT_ID
from tests.browser.front import front
from tests.browser.test_client import JOIN, KEY, enter, meeting, open_session
from tests.browser.visitor import visit
from tests.rtc.coturn import coturn
from tests.running import free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.async_api import BrowserContext, Response, Route

    from tests.browser.visitor import Visitor

__all__ = ["meeting"]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

TURN_SECRET = "turn-secret-of-the-test"
TTL_S = 900
SETTLE_S = 60
# The names of the credentials that each connection was given, and no way but by them.
RELAY_ALONE = """
globalThis.given = [];
globalThis.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(configuration) {
    given.push(configuration.iceServers.map(({ username }) => username));
    super({ ...configuration, iceTransportPolicy: "relay" });
  }
};
"""
# Longer than client.js takes what it was told for fresh (3 s), and two seconds more: what it was
# told in those 3 s is of another second than what it was told first, and so another credential.
NEW_AGAIN = """() => {
  const since = performance.now();
  return until(() => performance.now() > since + 5000);
}"""


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[dict[str, str]]:
    with coturn(tmp_path, TURN_SECRET) as relay:
        yield {
            "TOKEN_SECRETS": "s" * 32,
            "TURN_SECRET": TURN_SECRET,
            "TURN_TTL_S": str(TTL_S),
            "ICE_SERVERS": json.dumps([{"urls": relay.url}]),
        }


async def given(visitor: Visitor) -> list[list[str]]:
    found: list[list[str]] = await visitor.page.evaluate("given")
    return found


def end(username: str) -> int:
    """When a credential of that name ends, in unix seconds."""
    return int(username.partition(":")[0])


async def live_again(visitor: Visitor, connections: int) -> None:
    """So many have been made so far, and the last one shows a picture."""
    await visitor.until(
        "given.length >= count && processed.state === 'live'"
        " && (await processed.stats()).codec !== null",
        count=connections,
    )


def places_of(visitor: Visitor) -> list[str]:
    """Where each connection that the page makes from now on is to be ended."""
    places: list[str] = []

    async def note(answer: Response) -> None:
        if answer.url.endswith("/rtc") and answer.status == 201:
            places.append((await answer.all_headers())["location"])

    visitor.page.on("response", note)
    return places


async def end_connection(visitor: Visitor, url: str) -> None:
    """As a server does it that gives a connection up; the session stays."""
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = await visitor.page.request.delete(url, headers=headers)
    assert answer.status == 200


async def test_each_connection_asks_for_its_credentials_anew(
    context: BrowserContext, meeting: str, settings: dict[str, str]
) -> None:
    """A server that ends the connection is joined again, also where it tells of no relay then."""
    await context.add_init_script(RELAY_ALONE)
    with running(API_KEYS=KEY, ALLOWED_ORIGINS=meeting, **settings) as service:
        session = open_session(service, {})
        visitor = await enter(context, meeting)
        page = visitor.page
        places = places_of(visitor)
        options = {"sessionId": session["id"], "token": session["token"]}
        await page.evaluate(JOIN, [service.url, options])
        ((first,),) = await given(visitor)
        await page.evaluate(NEW_AGAIN)
        await end_connection(visitor, f"{service.url}{places[-1]}")
        await live_again(visitor, 2)
        (second,) = (await given(visitor))[1]
        assert end(second) > end(first)

        async def not_told(route: Route) -> None:
            if route.request.method == "GET":
                await route.abort()
            else:
                await route.continue_()

        await page.route(f"{service.url}/v1/sessions/{session['id']}", not_told)
        await page.evaluate(NEW_AGAIN)
        await end_connection(visitor, f"{service.url}{places[-1]}")
        await live_again(visitor, 3)
        (third,) = (await given(visitor))[2]
        assert end(third) >= end(second)
        assert await page.evaluate("processed.stop()") is None


async def test_relays_that_the_page_gives_are_the_only_ones(
    context: BrowserContext, meeting: str, settings: dict[str, str]
) -> None:
    """Nobody is asked for others, not even where they look as if they had expired."""
    await context.add_init_script(RELAY_ALONE)
    with running(API_KEYS=KEY, ALLOWED_ORIGINS=meeting, **settings) as service:
        session = open_session(service, {})
        visitor = await enter(context, meeting)
        page = visitor.page
        places = places_of(visitor)
        await page.evaluate(
            "{ const now = Date.now.bind(Date); Date.now = () => now() + 86_400_000; }"
        )
        options = {
            "sessionId": session["id"],
            "token": session["token"],
            "iceServers": session["ice_servers"],
        }
        await page.evaluate(JOIN, [service.url, options])
        asked: list[str] = []
        page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
        await page.evaluate(NEW_AGAIN)
        await end_connection(visitor, f"{service.url}{places[-1]}")
        await live_again(visitor, 2)
        (username,) = [each["username"] for each in session["ice_servers"]]
        assert await given(visitor) == [[username]] * 2
        path = f"{service.url}/v1/sessions/{session['id']}"
        assert f"GET {path}" not in asked[: asked.index(f"POST {path}/rtc")]


async def test_a_session_whose_server_had_died_is_joined_by_the_relays_of_the_answer(
    context: BrowserContext, meeting: str, settings: dict[str, str]
) -> None:
    """Nobody could tell the page of any before its offer opened the session again."""
    await context.add_init_script(RELAY_ALONE)
    settings |= {"API_KEYS": KEY, "ALLOWED_ORIGINS": meeting}
    with running(**settings) as first:
        session = open_session(first, {})
        first.kill()
        with running(first.port, **settings) as second:
            visitor = await enter(context, meeting)
            options = {"sessionId": session["id"], "token": session["token"]}
            assert await visitor.page.evaluate(JOIN, [second.url, options]) == "live"
            before, (username,) = await given(visitor)
            assert before == []
            assert username.partition(":")[2] == session["id"][:SHORT_ID]
            assert await visitor.page.evaluate("diary") == ["connecting", "live"]


async def test_credentials_that_ended_meanwhile_are_exchanged_for_those_of_the_answer(
    context: BrowserContext, meeting: str, settings: dict[str, str]
) -> None:
    """A long call's server dies, and the next one knows nothing of the session before the offer."""
    await context.add_init_script(RELAY_ALONE)
    settings |= {"API_KEYS": KEY, "ALLOWED_ORIGINS": meeting}
    with running(**settings) as first:
        session = open_session(first, {})
        visitor = await enter(context, meeting)
        page = visitor.page
        options = {"sessionId": session["id"], "token": session["token"]}
        await page.evaluate(JOIN, [first.url, options])
        (old,) = (await given(visitor))[0]
        await page.evaluate(NEW_AGAIN)
        # A day has gone by, as far as the page knows.
        await page.evaluate(
            "{ const now = Date.now.bind(Date); Date.now = () => now() + 86_400_000; }"
        )
        first.kill()
        await visitor.until("processed.state === 'reconnecting'")
        with running(first.port, **settings):
            await live_again(visitor, 3)
            *_, (before,), (last,) = await given(visitor)
            # What the first server told last, then what the second one does.
            assert end(old) <= end(before) < end(last)


async def test_a_move_to_another_server_has_new_credentials(
    context: BrowserContext, settings: dict[str, str], executable: str
) -> None:
    await context.add_init_script(RELAY_ALONE)
    settings |= {"DRAIN_S": "60"}
    with ExitStack() as stack:
        servers = [stack.enter_context(running(free_port(), **settings)) for _ in range(2)]
        async with front(*(each.url for each in servers)) as before:
            visitor = await visit(context, before.url)
            await visitor.open("blank")
            page = visitor.page
            await page.evaluate(
                """async () => {
                  const { start } = await import("/client.js");
                  const camera = await navigator.mediaDevices.getUserMedia({ video: true });
                  globalThis.diary = [];
                  globalThis.processed =
                    await start(camera, { onState: ({ state }) => diary.push(state) });
                }"""
            )
            (old,) = (await given(visitor))[0]
            await page.evaluate(NEW_AGAIN)
            (home,) = before.homes.values()
            old_server = next(each for each in servers if each.url == home)
            old_server.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(old_server.process.wait, SETTLE_S) == 0
            await live_again(visitor, 2)
            (new,) = (await given(visitor))[1]
            assert end(new) > end(old)
            told: list[Any] = await page.evaluate("diary")
            assert told == ["connecting", "live"]
            await page.goto("about:blank")
