"""client.js alone: a page of another origin that has nothing else of the project."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.browser.camera_film import FACE, ROOM, Box
from tests.browser.front import Front, front
from tests.browser.meeting import front as door
from tests.browser.visitor import Visitor, visit
from tests.running import free_port, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import BrowserContext, Request, Route

    from tests.running import Service

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

KEY = "a-platform-key-of-the-tests"
JOIN = "([service, options]) => join(service, options)"
RED = (180, 40, 40)
LEFT = Box(0.03, 0.05, 0.2, 0.5)
MEETING = """<!doctype html><title>Meeting</title>
<video id="original" autoplay muted></video><video id="returned" autoplay muted></video>
<script type="module" src="/meeting.js"></script>"""
# What docs/client.md shows, and a diary of events.
SCRIPT = """
globalThis.diary = [];
globalThis.join = async (service, options) => {
  const { start, BackclothError } = await import(`${service}/client.js`);
  globalThis.BackclothError = BackclothError;
  globalThis.camera = await navigator.mediaDevices.getUserMedia({ video: true,
    audio: Boolean(options?.audio) });
  document.getElementById("original").srcObject = camera;
  globalThis.processed = await start(camera, {
    baseUrl: service,
    onState: ({ state, reason }) => diary.push(reason ? `${state}: ${reason}` : state),
    ...options,
  });
  globalThis.heard = [];
  processed.addEventListener("happened", ({ detail }) => heard.push(detail.type));
  document.getElementById("returned").srcObject = processed.stream;
  return processed.state;
};
globalThis.ready = true;
"""


@pytest_asyncio.fixture
async def meeting() -> AsyncIterator[str]:
    """The origin of a platform's own page."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=MEETING, content_type="text/html")

    async def script(_: web.Request) -> web.Response:
        return web.Response(text=SCRIPT, content_type="text/javascript")

    async def icon(_: web.Request) -> web.Response:
        return web.Response(status=204)

    app = web.Application()
    app.router.add_get("/", page)
    app.router.add_get("/meeting.js", script)
    app.router.add_get("/favicon.ico", icon)
    async with TestServer(app) as server:
        yield f"http://{server.host}:{server.port}"


async def enter(context: BrowserContext, meeting: str) -> Visitor:
    visitor = await visit(context, meeting)
    await visitor.open()
    await visitor.until("globalThis.ready === true")
    return visitor


def open_session(service: Service, body: object) -> dict[str, Any]:
    """As a platform's backend does it."""
    request = urllib.request.Request(
        f"{service.url}/v1/sessions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def patch_session(service: Service, session_id: str, body: object) -> None:
    request = urllib.request.Request(
        f"{service.url}/v1/sessions/{session_id}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"},
        method="PATCH",
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()


async def test_platform_session_from_another_origin(
    context: BrowserContext, meeting: str, executable: str
) -> None:
    with running(API_KEYS=KEY, ALLOWED_ORIGINS=meeting) as service:
        session = open_session(service, {"effect": {"type": "color", "color": "#b42828"}})
        visitor = await enter(context, meeting)
        page = visitor.page
        options = {"sessionId": session["id"], "token": session["token"], "events": True}
        state = await page.evaluate(
            "([service, options]) => join(service, options)", [service.url, options]
        )
        assert state == "live"
        assert await page.evaluate("diary") == ["connecting", "live"]
        assert await page.evaluate("processed.effect.type") == "color"
        await visitor.until_color(LEFT, RED)
        raw_tracks = await page.evaluate(
            "processed.stream.getTracks().filter((each) => camera.getTracks().includes(each))"
        )
        assert raw_tracks == []

        stats = await page.evaluate("processed.stats()")
        assert stats["server"]["id"] == session["id"]
        assert stats["width"] == 640
        assert stats["codec"] == "H264"

        refused = await page.evaluate(
            """processed.setEffect({ type: "blur", strength: 7 }).then(
              () => null,
              (error) => [error instanceof BackclothError, error.status, error.field])"""
        )
        assert refused == [True, 422, "effect.strength"]
        assert await page.evaluate("processed.effect.type") == "color"

        # The platform changes it, and client.js hears of that with the token it has.
        await visitor.until("heard.includes('session.live')")
        patch_session(service, session["id"], {"effect": {"type": "blur", "people": "speaker"}})
        await visitor.until("processed.effect.people === 'speaker'")
        assert await page.evaluate("heard") == ["session.live", "effect.changed"]

        await page.evaluate("processed.stop()")
        assert await page.evaluate("diary.at(-1)") == "closed: stopped"
        assert await page.evaluate("processed.stream.getTracks().length") == 0
        assert await page.evaluate("camera.getVideoTracks()[0].readyState") == "live"


# What is asked over it is never answered: a network that lets media through and no SCTP.
NO_CHANNEL = """
RTCPeerConnection.prototype.createDataChannel = () =>
  Object.assign(new EventTarget(), { readyState: "connecting", send() {}, close() {} });
"""


async def test_without_a_data_channel_events_and_figures_come_by_http(
    context: BrowserContext, meeting: str, executable: str
) -> None:
    """Also what happened while the stream of events was broken, and that once."""
    await context.add_init_script(NO_CHANNEL)
    port = free_port()
    with running(API_KEYS=KEY, ALLOWED_ORIGINS=meeting) as service:
        session = open_session(service, {"effect": {"type": "color", "color": "#b42828"}})
        path = f"/v1/sessions/{session['id']}"
        async with door(port, service.port) as between:
            visitor = await enter(context, meeting)
            page = visitor.page
            asked: list[str] = []

            async def note(request: Request) -> None:
                if request.method == "GET" and request.url.endswith(f"{path}/events"):
                    asked.append((await request.all_headers())["last-event-id"])

            page.on("request", note)
            options = {
                "sessionId": session["id"],
                "token": session["token"],
                "events": True,
                "statsEveryMs": 200,
            }
            await page.evaluate(JOIN, [f"http://127.0.0.1:{port}", options])
            await page.evaluate(
                """() => {
                  globalThis.ids = [];
                  globalThis.figures = [];
                  processed.addEventListener("happened", ({ detail }) => ids.push(detail.id));
                  processed.addEventListener("stats", ({ detail }) => figures.push(detail));
                }"""
            )
            # Figures: its own by WebRTC, the service's by REST; the server's are not asked for.
            await visitor.until("figures.some(({ fps, server }) => fps > 0 && server)")
            last = await page.evaluate("figures.at(-1)")
            assert last["server"]["id"] == session["id"]
            assert [track["mid"] for track in last["server"]["tracks"]] == ["0"]
            assert last["load"] is None

            # The effect of its own goes by REST, that of somebody else comes by the stream.
            taken = await page.evaluate("processed.setEffect({ type: 'color', color: '#274c77' })")
            assert taken["color"] == "#274c77"
            await visitor.until("heard.includes('effect.changed')")
            await asyncio.to_thread(
                patch_session, service, session["id"], {"effect": {"type": "blur", "people": 2}}
            )
            await visitor.until("heard.length === 3 && processed.effect.people === 2")
            assert len(asked) == 1

            between.behind = free_port()
            for writer in list(between.connections.values()):
                writer.close()
            await visitor.until("figures.at(-1).server === null")
            missed = {"effect": {"type": "blur", "people": "speaker"}}
            await asyncio.to_thread(patch_session, service, session["id"], missed)
            assert await page.evaluate("processed.effect.people") == 2
            between.behind = service.port
            await visitor.until("heard.length === 4 && processed.effect.people === 'speaker'")
            heard = await page.evaluate("heard")
            assert heard == ["session.live", *["effect.changed"] * 3]
            ids = await page.evaluate("ids")
            assert len(set(ids)) == 4
            # Each try since then asked for what came after the last one that it had heard.
            assert len(asked) > 1
            assert set(asked[1:]) == {str(ids[2])}
            await visitor.until("figures.at(-1).server !== null")
            assert await page.evaluate("negotiations") == 1
            assert await page.evaluate("processed.state") == "live"
            await page.evaluate("processed.stop()")


async def test_camera_is_exchanged_without_a_new_negotiation(
    context: BrowserContext, meeting: str, executable: str
) -> None:
    with running(ALLOWED_ORIGINS=meeting) as service:
        visitor = await enter(context, meeting)
        options = {
            "effect": {"type": "color", "color": "#b42828"},
            "session": {"away": {"after_s": 1}},
            "events": True,
        }
        await visitor.page.evaluate(
            "([service, options]) => join(service, options)", [service.url, options]
        )
        await visitor.page.evaluate(
            """() => {
              globalThis.told = [];
              processed.addEventListener("person", ({ detail }) => told.push(detail.person));
              processed.addEventListener("happened", ({ detail }) => told.push(detail.type));
            }"""
        )
        await visitor.until_color(ROOM, RED)
        assert await visitor.page.evaluate("processed.person") == "in_view"
        # A second "camera": plain white, drawn by the test, in which there is nobody.
        await visitor.page.evaluate(
            """() => {
              const canvas = Object.assign(document.createElement("canvas"),
                { width: 640, height: 360 });
              const paint = canvas.getContext("2d");
              setInterval(() => {
                paint.fillStyle = "#fff";
                paint.fillRect(0, 0, 640, 360);
              }, 50);
              return processed.replaceVideoTrack(canvas.captureStream().getVideoTracks()[0]);
            }"""
        )
        # Nobody in view: the colour alone, over the face's place as well.
        await visitor.until_color(FACE, RED)
        # And the service says so, and that somebody is back with the camera.
        await visitor.until("processed.person === 'away'")
        await visitor.page.evaluate("processed.replaceVideoTrack(camera.getVideoTracks()[0])")
        await visitor.until("processed.person === 'in_view'")
        told = await visitor.page.evaluate("told.filter((each) => !each.startsWith('session.'))")
        assert told == ["away", "person.away", "in_view", "person.back"]
        assert await visitor.page.evaluate("negotiations") == 1
        assert await visitor.page.evaluate("processed.state") == "live"


async def test_token_of_no_session_is_refused_for_good(
    context: BrowserContext, meeting: str, executable: str
) -> None:
    with running(API_KEYS=KEY, ALLOWED_ORIGINS=meeting) as service:
        visitor = await enter(context, meeting)
        reason = await visitor.page.evaluate(
            """(service) => join(service, { sessionId: "nobody", token: "nothing" }).then(
              () => null, (error) => error.reason)""",
            service.url,
        )
        assert reason == "unauthorized"
        assert await visitor.page.evaluate("diary") == ["connecting", "failed: unauthorized"]


async def test_service_that_cannot_be_reached_is_given_up(
    context: BrowserContext, meeting: str, executable: str
) -> None:
    with running(ALLOWED_ORIGINS=meeting) as service:
        visitor = await enter(context, meeting)
        reason = await visitor.page.evaluate(
            """([service, nowhere]) => join(service, { baseUrl: nowhere, patienceMs: 300 }).then(
              () => null, (error) => error.reason)""",
            [service.url, f"http://127.0.0.1:{free_port()}"],
        )
        assert reason == "network"
        assert await visitor.page.evaluate("diary.at(-1)") == "failed: network"


async def test_token_opens_the_session_again_on_a_restarted_service(
    context: BrowserContext, meeting: str, executable: str
) -> None:
    settings = {"API_KEYS": KEY, "ALLOWED_ORIGINS": meeting, "TOKEN_SECRETS": "s" * 32}
    with running(**settings) as first:
        session = open_session(first, {"effect": {"type": "color", "color": "#274c77"}})
        visitor = await enter(context, meeting)
        options = {"sessionId": session["id"], "token": session["token"]}
        await visitor.page.evaluate(
            "([service, options]) => join(service, options)", [first.url, options]
        )
        # Not what the token was minted with: the client brings it to the new process.
        await visitor.page.evaluate("processed.setEffect({ type: 'color', color: '#b42828' })")
        await visitor.until_color(ROOM, RED)
        first.kill()
        await visitor.until("processed.state === 'reconnecting'")
        with running(first.port, **settings):
            await visitor.until("processed.state === 'live'")
            await visitor.until_color(ROOM, RED)
            assert await visitor.page.evaluate("processed.sessionId") == session["id"]


async def test_audio_comes_back_beside_the_picture(
    context: BrowserContext, meeting: str, executable: str
) -> None:
    with running(ALLOWED_ORIGINS=meeting) as service:
        visitor = await enter(context, meeting)
        await visitor.page.evaluate("service => join(service, { audio: true })", service.url)
        kinds = await visitor.page.evaluate("processed.stream.getTracks().map(({ kind }) => kind)")
        assert sorted(kinds) == ["audio", "video"]
        await visitor.until("!processed.stream.getAudioTracks()[0].muted")


async def test_start_that_is_given_up_leaves_no_session(
    context: BrowserContext, meeting: str, executable: str
) -> None:
    with running(ALLOWED_ORIGINS=meeting) as service:
        visitor = await enter(context, meeting)

        async def abort_before_the_answer(route: Route) -> None:
            answer = await route.fetch()
            await visitor.page.evaluate("leave.abort()")
            await route.fulfill(response=answer)

        await visitor.page.route(f"{service.url}/v1/sessions", abort_before_the_answer, times=1)
        reason = await visitor.page.evaluate(
            """(service) => {
              globalThis.leave = new AbortController();
              return join(service, { signal: leave.signal }).then(
                () => null, (error) => error.reason);
            }""",
            service.url,
        )
        assert reason == "stopped"
        await visitor.until(
            "(await (await fetch(`${service}/v1/sessions`)).json()).sessions.length === 0",
            service=service.url,
        )


async def test_start_that_is_given_up_while_it_negotiates_ends(
    context: BrowserContext, meeting: str, executable: str
) -> None:
    with running(ALLOWED_ORIGINS=meeting) as service:
        visitor = await enter(context, meeting)

        async def abort_before_the_offer(route: Route) -> None:
            await visitor.page.evaluate("leave.abort()")
            await route.abort()

        await visitor.page.route(f"{service.url}/v1/sessions/*/rtc", abort_before_the_offer)
        reason = await visitor.page.evaluate(
            """(service) => {
              globalThis.leave = new AbortController();
              return join(service, { signal: leave.signal }).then(
                () => null, (error) => error.reason);
            }""",
            service.url,
        )
        assert reason == "stopped"
        assert await visitor.page.evaluate("diary") == ["connecting", "closed: stopped"]
        await visitor.until(
            "(await (await fetch(`${service}/v1/sessions`)).json()).sessions.length === 0",
            service=service.url,
        )


class Slow(Front):
    """A front whose answer to the opening of a session is on its way for as long as is wished."""

    opened: asyncio.Event
    go_on: asyncio.Event

    async def handle(self, request: web.Request) -> web.StreamResponse:
        answer = await super().handle(request)
        if request.method == "POST" and request.path == "/v1/sessions":
            self.opened.set()
            await self.go_on.wait()
        return answer


async def none_left(service: Service) -> None:
    async with asyncio.timeout(10):
        while sessions_of(service):  # noqa: ASYNC110 (nothing tells when one is gone)
            await asyncio.sleep(0.05)


def sessions_of(service: Service) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{service.url}/v1/sessions", timeout=10) as answer:
        found: list[dict[str, Any]] = json.load(answer)["sessions"]
        return found


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_page_that_goes_while_it_opens_a_session_leaves_none(
    context: BrowserContext, meeting: str, executable: str, elsewhere: bool
) -> None:
    """The service has opened it, and the page never hears of its id."""
    with running(ALLOWED_ORIGINS=meeting) as service:
        async with front(service.url, kind=Slow) as before:
            assert isinstance(before, Slow)
            before.opened, before.go_on = asyncio.Event(), asyncio.Event()
            visitor = await visit(context, before.url)
            if elsewhere:
                visitor = await enter(context, meeting)
            else:
                await visitor.open("blank")
            await visitor.page.evaluate(
                """async (service) => {
                  const { start } = await import(`${service}/client.js`);
                  const camera = await navigator.mediaDevices.getUserMedia({ video: true });
                  start(camera, { baseUrl: service }).catch(() => undefined);
                }""",
                before.url,
            )
            async with asyncio.timeout(20):
                await before.opened.wait()
            assert [each["state"] for each in sessions_of(service)] == ["created"]
            await visitor.page.goto("about:blank")
            await none_left(service)
            before.go_on.set()


async def test_a_page_that_goes_while_it_is_live_leaves_no_session(
    context: BrowserContext, meeting: str, executable: str
) -> None:
    with running(ALLOWED_ORIGINS=meeting) as service:
        for leave in ("about:blank", "close", "reload"):
            visitor = await enter(context, meeting)
            await visitor.page.evaluate(
                """(service) => join(service, { session: { metadata: { room: "1" } } })""",
                service.url,
            )
            (found,) = sessions_of(service)
            assert found["metadata"].keys() == {"room", "client"}
            if leave == "close":
                await visitor.page.close()
            elif leave == "reload":
                await visitor.page.reload()
            else:
                await visitor.page.goto(leave)
            await none_left(service)
