"""A session between the two sides of a server that is not ours: libwebrtc, in Node.

It plays a film of a person who sways in a room and keeps what it is sent: that must be green where
the room was, from the first picture on, and show the face where the face is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.browser.camera_film import FPS
from tests.interop.stand import (
    COLOR,
    HEIGHT,
    HERE,
    KEY,
    WIDTH,
    Api,
    pictures,
    require_person_on_green_throughout,
    stranger,
)
from tests.running import free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.interop.stand import Stranger
    from tests.running import Service

pytestmark = [pytest.mark.browser]

TOKEN = "bearer-of-the-other-server"


@pytest.fixture
def beside() -> Iterator[Service]:
    with running(
        API_KEYS=KEY,
        CPU_CORES="20",
        LOWEST_QUALITY="full",
        PEER_NETWORKS="0.0.0.0/0",
        SFU_NETWORKS="127.0.0.0/8",
        SFU_SILENCE_S="3",
        SFU_RETRY_S="0.2",
        SFU_RETRY_MAX_S="1",
        LOG_LEVEL="debug",
    ) as started:
        yield started


async def until(other: Stranger, name: str, times: int = 1) -> dict[str, Any]:
    """The line that tells so, for the last of so many times."""
    while True:
        told = await other.told()
        times -= name in told
        if not times:
            return told


async def test_libwebrtc_is_pulled_from_and_pushed_to(
    beside: Service, modules: Path, raw_film: Path, tmp_path: Path
) -> None:
    port, keep = free_port(), tmp_path / "kept.i420"
    asked = {
        "modules": str(modules),
        "port": port,
        "token": TOKEN,
        "film": str(raw_film),
        "width": WIDTH,
        "height": HEIGHT,
        "fps": FPS,
        "keep": str(keep),
        "frames": 20,
    }
    body = {
        "effect": COLOR,
        "pull": {"url": f"http://127.0.0.1:{port}/whep", "token": TOKEN},
        "push": {"url": f"http://127.0.0.1:{port}/whip", "token": TOKEN},
    }

    def server() -> Any:
        return stranger("node", str(HERE / "sfu.mjs"), **asked)

    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        api = Api(http, beside.url)
        async with server() as other:
            await until(other, "listening")
            async with http.post(f"{beside.url}/v1/sessions", json=body) as answer:
                assert answer.status == 201
                session = await answer.json()
            kept = await until(other, "kept")
            require_person_on_green_throughout(pictures(keep, kept["width"], kept["height"]))
        # It was killed without a word; another one comes in its place.
        keep.unlink()
        async with server() as other:
            kept = await until(other, "kept")
            require_person_on_green_throughout(pictures(keep, kept["width"], kept["height"]))
            now = await api.look(session)
            assert (now["pull"]["state"], now["push"]["state"]) == ("live", "live")
            assert now["pull"]["attempts"] > 1
            assert now["tracks"][0]["frames"]["raw"] == 0
            async with http.delete(f"{beside.url}/v1/sessions/{session['id']}") as answer:
                assert answer.status == 204
            await until(other, "left", times=2)
    text = json.dumps([session, now]) + "".join(beside.lines)
    assert TOKEN not in text
    assert '/whep"' not in text.replace(session["whep_url"], "")
