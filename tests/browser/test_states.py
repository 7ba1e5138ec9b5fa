"""What the page says, and what the returned stream holds, when something is not as it should."""

from __future__ import annotations

import json
import mimetypes
import signal
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.browser.camera_film import FACE, ROOM
from tests.browser.visitor import ALLOWED, DENIED, FAKE_CAMERA, chromium, part, visit
from tests.running import ROOT, running

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import BrowserContext, Route

    from tests.browser.visitor import Visitor
    from tests.running import Service

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

PAGE = ROOT / "service" / "web" / "page"
KEY = "a-platform-key-of-the-tests"
PLACEHOLDER = (59, 64, 72)  # client.js, PLACEHOLDER_COLOR


async def notice(visitor: Visitor) -> str:
    return await visitor.page.locator("#notice-words").inner_text()


async def test_refused_camera(executable: str, film: Path, service: Service) -> None:
    async with chromium(executable, film, *FAKE_CAMERA, *DENIED) as context:
        visitor = await visit(context, service.url)
        await visitor.open()
        await visitor.start()
        await visitor.wait_for_state("problem")
        assert "camera is blocked" in await notice(visitor)
        assert await visitor.page.get_by_role("button", name="Try again").is_visible()
        assert (await visitor.get_json("/v1/sessions"))["sessions"] == []
        await visitor.assert_clean()


async def test_no_camera(executable: str, film: Path, service: Service) -> None:
    async with chromium(executable, film, *ALLOWED) as context:
        visitor = await visit(context, service.url)
        await visitor.open()
        await visitor.start()
        await visitor.wait_for_state("problem")
        assert "No camera found" in await notice(visitor)
        await visitor.assert_clean()


async def test_insecure_address(context: BrowserContext) -> None:
    async def from_disk(route: Route) -> None:
        name = route.request.url.rsplit("/", 1)[1] or "index.html"
        if not (PAGE / name).is_file():
            await route.fulfill(status=404)
            return
        kind = mimetypes.guess_type(name)[0] or "text/javascript"
        await route.fulfill(body=(PAGE / name).read_bytes(), content_type=kind)

    await context.route("http://backcloth.test/**", from_disk)
    visitor = await visit(context, "http://backcloth.test")
    await visitor.open()
    await visitor.wait_for_state("problem")
    assert "not secure" in await notice(visitor)
    assert await visitor.page.get_by_role("button", name="Start").is_disabled()


async def test_nobody_in_view_is_told(context: BrowserContext, service: Service) -> None:
    # A camera before an empty, white room.
    await context.add_init_script(
        """navigator.mediaDevices.getUserMedia = async () => {
          const canvas = Object.assign(document.createElement("canvas"),
            { width: 640, height: 360 });
          const paint = canvas.getContext("2d");
          setInterval(() => {
            paint.fillStyle = "#fff";
            paint.fillRect(0, 0, 640, 360);
          }, 50);
          return canvas.captureStream();
        };"""
    )
    visitor = await visit(context, service.url)
    await visitor.go_live()
    presence = visitor.page.locator("#presence")
    assert await presence.inner_text() == ""
    await presence.filter(has_text="Nobody in view").wait_for(timeout=20_000)
    assert await presence.get_attribute("role") == "status"
    await visitor.page.get_by_role("button", name="Stop").click()
    await visitor.wait_for_state("idle")
    assert not await presence.is_visible()
    await visitor.assert_clean()


async def test_models_that_are_not_installed_are_not_offered(
    context: BrowserContext, executable: str, tmp_path: Path
) -> None:
    shipped = tmp_path / "models"
    shipped.mkdir()
    for file in (ROOT / "models").iterdir():
        if file.suffix in (".onnx", ".toml"):
            (shipped / file.name).symlink_to(file)
    with running(MODELS_DIR=str(shipped)) as service:
        visitor = await visit(context, service.url)
        await visitor.open()
        await visitor.page.get_by_text("Advanced").click()
        model = visitor.page.get_by_role("combobox", name="Outline from")
        rvm = model.locator('option[value="rvm"]')
        await rvm.wait_for(state="attached")
        assert await rvm.is_disabled()
        assert "not installed" in await rvm.inner_text()
        assert await rvm.get_attribute("title") == "python -m service models fetch rvm"
        assert await model.locator('option[value="selfie"]').is_enabled()
        described = visitor.page.locator("#model-missing")
        assert "rvm" in await described.inner_text()
        assert await model.get_attribute("aria-describedby") == "model-missing"
        await visitor.assert_clean()


async def test_full_service_is_told_and_tried_again(
    context: BrowserContext, executable: str
) -> None:
    with running(MAX_SESSIONS="1") as full:
        other = json.load(post(f"{full.url}/v1/sessions"))
        visitor = await visit(context, full.url)
        await visitor.open()
        await visitor.start()
        await visitor.wait_for_state("busy")
        assert "places are taken" in await notice(visitor)
        countdown = visitor.page.locator("#notice-countdown")
        await countdown.filter(has_text="Next try in").wait_for()
        # The place becomes free; nobody presses anything.
        await visitor.page.evaluate(
            "(path) => fetch(path, { method: 'DELETE' })", f"/v1/sessions/{other['id']}"
        )
        await visitor.wait_for_state("live")


async def test_killed_service_shows_nothing_of_the_camera_and_comes_back(
    context: BrowserContext, executable: str
) -> None:
    with running() as first:
        visitor = await visit(context, first.url)
        await visitor.go_live()
        await visitor.choose("Colour")
        await visitor.until_color(ROOM, (14, 111, 100))
        first.kill()
        await visitor.wait_for_state("reconnecting")
        assert "Nothing of your camera is shown" in await notice(visitor)
        await assert_placeholder(visitor)
        with running(first.port):
            await visitor.wait_for_state("live")
            await visitor.until_color(ROOM, (14, 111, 100))


async def test_a_lower_quality_level_is_told_in_words(
    context: BrowserContext, executable: str
) -> None:
    # So small a budget is used up by one session, whatever it is worked on with.
    with running(CPU_CORES="0.02", LOWEST_QUALITY="smaller") as busy:
        visitor = await visit(context, busy.url)
        await visitor.go_live()
        told = visitor.page.locator("#quality")
        await told.filter(has_text="your picture is smaller for a while").wait_for(timeout=20_000)
        assert await told.get_attribute("role") == "status"
        (session,) = (await visitor.get_json("/v1/sessions"))["sessions"]
        assert [track["quality_level"] for track in session["tracks"]] == ["smaller"]
        await visitor.choose("None")
        # The camera as it is keeps its size: nothing is to be told.
        await told.filter(has_text="smaller").wait_for(state="detached", timeout=20_000)
        assert not await told.is_visible()
        await visitor.page.get_by_role("button", name="Stop").click()
        await visitor.wait_for_state("idle")
        await visitor.assert_clean()


async def test_hung_service_is_noticed_and_joined_again(
    context: BrowserContext, executable: str
) -> None:
    with running() as service:
        visitor = await visit(context, service.url)
        await visitor.go_live()
        service.process.send_signal(signal.SIGSTOP)
        try:
            await visitor.wait_for_state("reconnecting")
            await assert_placeholder(visitor)
            await visitor.choose("Colour")
        finally:
            service.process.send_signal(signal.SIGCONT)
        await visitor.wait_for_state("live")
        await visitor.until_color(ROOM, (14, 111, 100))
        # The same session: the process that knows it was there all the time.
        assert len((await visitor.get_json("/v1/sessions"))["sessions"]) == 1


async def assert_placeholder(visitor: Visitor) -> None:
    """The stream itself, not what the page covers it with."""
    await visitor.until(
        'distance(look("returned", box), grey) < 12', box=part(FACE), grey=PLACEHOLDER
    )
    assert await visitor.page.evaluate(
        """(() => {
          const raw = document.getElementById("original").srcObject.getTracks();
          const shown = document.getElementById("returned").srcObject.getTracks();
          return shown.length > 0 && shown.every((each) => !raw.includes(each));
        })()"""
    )


async def test_closed_tab_ends_the_session(context: BrowserContext, service: Service) -> None:
    watcher = await visit(context, service.url)
    await watcher.open()
    visitor = await visit(context, service.url)
    await visitor.go_live()
    assert len((await watcher.get_json("/v1/sessions"))["sessions"]) == 1
    await visitor.page.close(run_before_unload=True)
    await watcher.until('(await (await fetch("/v1/sessions")).json()).sessions.length === 0')


async def test_stop_ends_the_session_and_start_opens_another(visitor: Visitor) -> None:
    await visitor.go_live()
    await visitor.page.get_by_role("button", name="Stop").click()
    await visitor.wait_for_state("idle")
    await visitor.until('(await (await fetch("/v1/sessions")).json()).sessions.length === 0')
    assert await visitor.page.evaluate("document.getElementById('original').srcObject") is None
    await visitor.start()
    await visitor.wait_for_state("live")
    await visitor.assert_clean()


async def test_session_that_the_platform_ends_is_told(visitor: Visitor) -> None:
    await visitor.go_live()
    # The newest: one of the page before this one may still be about to end.
    status = await visitor.page.evaluate(
        """async () => {
          const { sessions } = await (await fetch("/v1/sessions")).json();
          return (await fetch(`/v1/sessions/${sessions.at(-1).id}`, { method: "DELETE" })).status;
        }"""
    )
    assert status == 204
    await visitor.wait_for_state("ended")
    assert "has ended" in await notice(visitor)
    assert await visitor.page.get_by_role("button", name="Start again").is_visible()


async def test_with_keys_the_page_takes_its_session_from_the_fragment(
    context: BrowserContext, executable: str
) -> None:
    with running(API_KEYS=KEY) as keyed:
        visitor = await visit(context, keyed.url)
        await visitor.open()
        await visitor.wait_for_state("problem")
        assert "A session is needed" in await notice(visitor)
        assert await visitor.page.get_by_role("button", name="Start").is_disabled()

        body = {"allowed_effects": ["blur", "color"]}
        session = json.load(post(f"{keyed.url}/v1/sessions", key=KEY, body=body))
        guest = await visit(context, keyed.url)
        await guest.open(f"#session={session['id']}&token={session['token']}")
        await guest.page.locator('label.tile[data-effect^="image:"]').first.wait_for()
        assert "token" not in guest.page.url
        assert await guest.page.evaluate("location.hash") == ""
        await guest.start()
        await guest.wait_for_state("live")
        await guest.choose("Colour")
        await guest.until_color(ROOM, (14, 111, 100))
        # What the session does not allow is not offered.
        await guest.page.locator("label.tile.upload").wait_for(state="hidden")
        offered = await guest.page.locator("label.tile:visible").all_inner_texts()
        assert [each.strip() for each in offered] == ["Blur", "Colour"]
        await guest.assert_clean()


async def test_a_slider_leaves_a_locked_background_as_it_is(
    context: BrowserContext, executable: str
) -> None:
    """Its fit too, which the page does not show: another one would be another background."""
    effect = {"type": "image", "background": "dawn", "fit": "contain"}
    with running(API_KEYS=KEY) as keyed:
        body = {"effect": effect, "lock": "background"}
        session = json.load(post(f"{keyed.url}/v1/sessions", key=KEY, body=body))
        guest = await visit(context, keyed.url)
        await guest.open(f"#session={session['id']}&token={session['token']}")
        await guest.start()
        await guest.wait_for_state("live")
        light = guest.page.get_by_role("slider", name="Light on me")
        await light.focus()
        await light.press("End")
        found = await guest.page.evaluate(
            """async ([path, token]) => {
              const headers = { Authorization: `Bearer ${token}` };
              let effect;
              await until(async () => {
                ({ effect } = await (await fetch(path, { headers })).json());
                return effect.light === 1 || document.getElementById("effect-problem").textContent;
              });
              return effect;
            }""",
            [f"/v1/sessions/{session['id']}", session["token"]],
        )
        assert found == {**session["effect"], "light": 1}
        await guest.assert_clean()


def post(url: str, *, key: str = "", body: object = None) -> urllib.request._UrlopenRet:
    request = urllib.request.Request(
        url,
        data=json.dumps(body or {}).encode(),
        headers={
            "Content-Type": "application/json",
            **({"Authorization": f"Bearer {key}"} if key else {}),
        },
    )
    return urllib.request.urlopen(request, timeout=10)
