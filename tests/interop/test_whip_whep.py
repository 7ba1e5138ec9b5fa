"""WHIP and WHEP with clients that are not ours: libwebrtc in Node and Chromium, each in each part.

A person sways in a room; the session's effect is green. What is watched must be green where the
room was, and must show the face where the face is.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.browser.camera_film import FACE, FPS, ROOM
from tests.browser.visitor import chromium
from tests.interop.stand import (
    HEIGHT,
    HERE,
    WIDTH,
    libwebrtc,
    pictures,
    require_person_on_green,
    require_person_on_green_throughout,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser.camera_film import Box
    from tests.interop.stand import Api
    from tests.running import Service

pytestmark = [pytest.mark.browser]


@pytest.fixture(scope="module")
def executable() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium on this machine")


async def test_chromium_sends_and_libwebrtc_watches(
    api: Api, service: Service, modules: Path, film: Path, executable: str, tmp_path: Path
) -> None:
    session = await api.open()
    keep = tmp_path / "watched.i420"
    async with chromium(executable, film) as context:
        page = await context.new_page()
        await page.add_init_script(path=HERE / "chromium.js")
        await page.goto(service.url)
        sent = await page.evaluate("(token) => publish(token)", session["token"])
        assert sent["location"].startswith(f"/v1/sessions/{session['id']}/rtc/")
        assert (sent["trickled"], sent["offered"]) == (204, False)
        watched = {
            "role": "watch",
            "url": service.url + session["whep_url"],
            "token": session["viewer_token"],
            "frames": 20,
            "keep": str(keep),
        }
        async with libwebrtc(modules, **watched) as watcher:
            told = await watcher.told()
            require_person_on_green_throughout(pictures(keep, told["width"], told["height"]))
            now = await api.look(session)
            (viewer,) = now["viewers"]
            assert viewer["state"] == "live"
            assert viewer["frames"]["sent"] >= 20
            assert now["tracks"][0]["frames"]["raw"] == 0
            # Nothing is sent back to the camera.
            received = await page.evaluate(
                "async () => [...(await sending.getStats()).values()]"
                ".filter(({type}) => type === 'inbound-rtp').length"
            )
            assert received == 0
            assert (await watcher.leave())["left"] == 200
        assert (await api.look(session))["viewers"] == []


async def test_libwebrtc_sends_and_chromium_watches(
    api: Api, service: Service, modules: Path, film: Path, raw_film: Path, executable: str
) -> None:
    session = await api.open()
    playing = {
        "role": "play",
        "url": f"{service.url}/v1/whip",
        "token": session["token"],
        "film": str(raw_film),
        "width": WIDTH,
        "height": HEIGHT,
        "fps": FPS,
    }
    async with libwebrtc(modules, **playing) as player, chromium(executable, film) as context:
        await player.told()
        page = await context.new_page()
        await page.add_init_script(path=HERE / "chromium.js")
        await page.goto(service.url)
        told = await page.evaluate(
            "([url, token]) => watch(url, token, 20)", [session["whep_url"], session["token"]]
        )
        assert told["location"].startswith(f"{session['whep_url']}/")
        assert (told["trickled"], told["offered"]) == (204, False)
        seen = [
            await page.evaluate("(box) => look('watched', box)", vars_of(box))
            for box in (ROOM, FACE)
        ]
        require_person_on_green(*(tuple(one["mean"]) for one in seen))
        # The camera ends its ingest: the session goes on, and so does whoever watches.
        assert (await player.leave())["left"] == 200
        now = await api.look(session)
        assert (now["state"], len(now["viewers"])) == ("created", 1)


def vars_of(box: Box) -> dict[str, float]:
    return {"left": box.left, "top": box.top, "right": box.right, "bottom": box.bottom}
