"""What the tests with other people's clients have in common: the platform, peers as processes of
their own, and how a watched picture is judged."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from tests.browser.camera_film import FACE, ROOM, Box

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import aiohttp
    from numpy.typing import NDArray

    Rgb = NDArray[np.uint8]
    """H x W x 3, RGB, 0..255."""

HERE = Path(__file__).parent
KEY = "a-platform-key-of-interop"
GREEN = (0, 177, 64)
COLOR = {"type": "color", "color": "#00b140"}
WIDTH, HEIGHT = 640, 360
TIMEOUT_S = 60
SHELVES = Box(0.8, 0.05, 0.97, 0.5)
"""Room too, on the other side of the person."""
NEAR_GREEN = 60
"""No channel of a pixel of the backdrop is further from it, however it was encoded; all that is in
the film's room is."""
MOST_STRAYS = 0.005
"""So much of the backdrop may be further off all the same: a codec's ringing, never a room."""


class Api:
    """The platform's backend."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http, self._url = http, url

    async def open(self, *, effect: dict[str, str] = COLOR, allows: str = "color") -> Any:
        body = {"effect": effect, "allowed_effects": ["color", allows]}
        async with self._http.post(f"{self._url}/v1/sessions", json=body) as answer:
            assert answer.status == 201
            return await answer.json()

    async def change(self, session: dict[str, Any], effect: dict[str, str]) -> None:
        url, body = f"{self._url}/v1/sessions/{session['id']}", {"effect": effect}
        async with self._http.patch(url, json=body) as answer:
            assert answer.status == 200, await answer.text()

    async def look(self, session: dict[str, Any]) -> dict[str, Any]:
        async with self._http.get(f"{self._url}/v1/sessions/{session['id']}") as answer:
            told: dict[str, Any] = await answer.json()
            return told


class Stranger:
    """A client that is not ours, as a process: a line when it has what it was asked for, and one
    when it has left."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def told(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(TIMEOUT_S):
            line = await self._process.stdout.readline()
        assert line, "the client ended"
        told: dict[str, Any] = json.loads(line)
        return told

    async def leave(self) -> dict[str, Any]:
        """What it says of that; `left` is the status of its DELETE."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return await self.told()


@asynccontextmanager
async def stranger(*command: str, **asked: object) -> AsyncIterator[Stranger]:
    process = await asyncio.create_subprocess_exec(
        *command,
        json.dumps(asked),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Stranger(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        # The transports of pipes are closed a turn after the process is gone.
        await asyncio.sleep(0)


def libwebrtc(modules: Path, **asked: object) -> Any:
    """One peer of libwebrtc in Node."""
    return stranger("node", str(HERE / "wrtc.mjs"), modules=str(modules), **asked)


def pictures(path: Path, width: int, height: int) -> list[Rgb]:
    """Those of a raw I420 file."""
    planes = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, height * 3 // 2, width)
    return [np.asarray(cv2.cvtColor(one, cv2.COLOR_YUV2RGB_I420), np.uint8) for one in planes]


def mean_of(rgb: Rgb, box: Box) -> tuple[float, ...]:
    return tuple(float(value) for value in _part(rgb, box).reshape(-1, 3).mean(axis=0))


def require_person_on_green(room: tuple[float, ...], face: tuple[float, ...]) -> None:
    assert max(abs(a - b) for a, b in zip(room, GREEN, strict=True)) < 15, room
    red, green, blue = face
    assert red > green + 15, face
    assert green > blue, face


def shows_room(rgb: Rgb) -> bool:
    """Whether anything of the film's room is to be seen beside the person."""
    parts = [_part(rgb, box).astype(int) for box in (ROOM, SHELVES)]
    off = [np.abs(part - GREEN).max(axis=-1) > NEAR_GREEN for part in parts]
    return max(float(one.mean()) for one in off) > MOST_STRAYS


def require_person_on_green_throughout(seen: Sequence[Rgb]) -> None:
    """No picture shows the room, the first one neither; the last ones show the person."""
    assert [number for number, rgb in enumerate(seen) if shows_room(rgb)] == []
    for rgb in seen[len(seen) // 2 :]:
        require_person_on_green(mean_of(rgb, ROOM), mean_of(rgb, FACE))


def _part(rgb: Rgb, box: Box) -> Rgb:
    height, width = rgb.shape[:2]
    rows = slice(int(box.top * height), int(box.bottom * height))
    return rgb[rows, int(box.left * width) : int(box.right * width)]
