"""WHIP and WHEP with clients that are not ours: libwebrtc in Node and Chromium, each in each part.

A person sways in a room; the session's effect is green. What is watched must be green where the
room was, and must show the face where the face is.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import cv2
import numpy as np
import pytest

from loadtest.wrtc import install
from tests.browser.camera_film import FACE, FPS, ROOM, write_film
from tests.browser.visitor import chromium
from tests.running import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.browser.camera_film import Box
    from tests.running import Service

pytestmark = [pytest.mark.browser]

HERE = Path(__file__).parent
KEY = "a-platform-key-of-interop"
GREEN = (0, 177, 64)
WIDTH, HEIGHT = 640, 360
HEADER_BYTES = len(b"FRAME\n")
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def executable() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium on this machine")


@pytest.fixture(scope="module")
def modules() -> Path:
    try:
        return install.install()
    except install.NotInstalled as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running(
        API_KEYS=KEY,
        TOKEN_SECRETS="s" * 32,
        CPU_CORES="20",
        LOWEST_QUALITY="full",
        # The clients send from whatever address this machine has.
        PEER_NETWORKS="0.0.0.0/0",
    ) as started:
        yield started


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "camera.y4m"
    write_film(path, WIDTH, HEIGHT)
    return path


@pytest.fixture(scope="module")
def raw_film(film: Path) -> Path:
    """The same without its headers."""
    _, _, frames = film.read_bytes().partition(b"\n")
    size = HEADER_BYTES + WIDTH * HEIGHT * 3 // 2
    planes = [frames[at + HEADER_BYTES : at + size] for at in range(0, len(frames), size)]
    path = film.with_suffix(".i420")
    path.write_bytes(b"".join(planes))
    return path


class Api:
    """The platform's backend."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http, self._url = http, url

    async def open(self) -> dict[str, Any]:
        body = {"effect": {"type": "color", "color": "#00b140"}}
        async with self._http.post(f"{self._url}/v1/sessions", json=body) as answer:
            assert answer.status == 201
            opened: dict[str, Any] = await answer.json()
            return opened

    async def look(self, session: dict[str, Any]) -> dict[str, Any]:
        async with self._http.get(f"{self._url}/v1/sessions/{session['id']}") as answer:
            told: dict[str, Any] = await answer.json()
            return told


@pytest.fixture
async def api(service: Service) -> AsyncIterator[Api]:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        yield Api(http, service.url)


class Node:
    """One peer of libwebrtc."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def told(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(TIMEOUT_S):
            line = await self._process.stdout.readline()
        assert line, "the Node process ended"
        told: dict[str, Any] = json.loads(line)
        return told

    async def leave(self) -> int:
        """The status of its DELETE."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return int((await self.told())["left"])


@asynccontextmanager
async def node(modules: Path, **asked: object) -> AsyncIterator[Node]:
    process = await asyncio.create_subprocess_exec(
        "node",
        str(HERE / "wrtc.mjs"),
        json.dumps({"modules": str(modules), **asked}),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Node(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        # The transports of pipes are closed a turn after the process is gone.
        await asyncio.sleep(0)


def mean_of(rgb: np.ndarray[Any, Any], box: Box) -> tuple[float, ...]:
    height, width = rgb.shape[:2]
    rows = slice(int(box.top * height), int(box.bottom * height))
    part = rgb[rows, int(box.left * width) : int(box.right * width)]
    return tuple(float(value) for value in part.reshape(-1, 3).mean(axis=0))


def require_person_on_green(room: tuple[float, ...], face: tuple[float, ...]) -> None:
    assert max(abs(a - b) for a, b in zip(room, GREEN, strict=True)) < 15, room
    red, green, blue = face
    assert red > green + 15, face
    assert green > blue, face


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
        async with node(modules, **watched) as watcher:
            told = await watcher.told()
            planes = np.frombuffer(keep.read_bytes(), np.uint8)
            planes = planes.reshape(told["height"] * 3 // 2, told["width"])
            rgb = cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420)
            require_person_on_green(mean_of(rgb, ROOM), mean_of(rgb, FACE))
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
            assert await watcher.leave() == 200
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
    async with node(modules, **playing) as player, chromium(executable, film) as context:
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
        assert await player.leave() == 200
        now = await api.look(session)
        assert (now["state"], len(now["viewers"])) == ("created", 1)


def vars_of(box: Box) -> dict[str, float]:
    return {"left": box.left, "top": box.top, "right": box.right, "bottom": box.bottom}
