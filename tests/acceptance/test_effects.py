"""One call through every effect of its own kind, over loopback: what comes back, pixel by pixel.

The camera shows the tests' portrait, dark and aside, before a room of stripes. The effect is
changed by PATCH while the call goes on; the camera is turned upright in the middle of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import numpy as np
import pytest

from tests.frame.reels import BLUE, GREEN, RED, reel
from tests.frame.scenes import U8, frame_of, rgb_of
from tests.frame.sitting import sitting
from tests.peers import Camera, Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import av

    from tests.running import Service

pytestmark = [pytest.mark.peer, pytest.mark.model, pytest.mark.timeout(180)]

KEY = (0, 177, 64)
COLOR = {"type": "color", "color": "#00b140"}
ALLOWED = ["blur", "image", "color", "packed"]
LANDSCAPE, UPRIGHT = (640, 360), (360, 640)
WAIT_S = 60.0


class Call:
    """A session, its camera and what came back last."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.shots = {
            size: frame_of(sitting(size, x=0.4, head=head, tall=tall, light=0.4))
            for size, head, tall in ((LANDSCAPE, 0.42, 0.28), (UPRIGHT, 0.5, 0.2))
        }
        self.size = LANDSCAPE
        self.client = Client(Camera(self._draw, fps=20), codec="VP8")
        self._http = http
        self._path = ""

    def _draw(self, number: int) -> av.VideoFrame:
        frame = self.shots[self.size].reformat(format="yuv420p")
        frame.pts = number
        return frame

    async def begin(self) -> None:
        body = {"effect": COLOR, "allowed_effects": ALLOWED, "audio": False}
        async with self._http.post("/v1/sessions", json=body) as answer:
            session = await answer.json()
        self._path = f"/v1/sessions/{session['id']}"
        offer = await self.client.offer()
        headers = {"Content-Type": "application/sdp"}
        async with self._http.post(session["rtc_url"], data=offer, headers=headers) as answer:
            await self.client.accept(await answer.text())
        await self.client.frames(5, timeout_s=WAIT_S)

    async def show(self, **effect: object) -> None:
        async with self._http.patch(self._path, json={"effect": effect}) as answer:
            assert answer.status == 200, await answer.text()
            shown = (await answer.json())["effect"]
            assert {**shown, **effect} == shown

    async def bring(self, film: bytes) -> None:
        headers = {"Content-Type": "video/mp4"}
        path = f"{self._path}/background"
        async with self._http.put(path, data=film, headers=headers) as answer:
            assert answer.status == 200, await answer.text()

    async def until(self, seen: Callable[[U8], bool]) -> U8:
        """The first picture of which that is true."""
        await self.client.wait_for(lambda: seen(self.picture()), timeout_s=WAIT_S)
        return self.picture()

    def picture(self) -> U8:
        return rgb_of(self.client.video.frames[-1])

    async def tracks(self) -> list[dict[str, Any]]:
        async with self._http.get(self._path) as answer:
            found: list[dict[str, Any]] = (await answer.json())["tracks"]
            return found


@pytest.fixture
async def call(service: Service) -> AsyncIterator[Call]:
    async with aiohttp.ClientSession(service.url) as http:
        one = Call(http)
        try:
            await one.begin()
            yield one
        finally:
            await one.client.close()


def near(part: U8, color: tuple[int, int, int], levels: float = 16) -> bool:
    """In the mean of a part of a picture; codecs and 4:2:0 take some levels."""
    return bool(np.abs(part.reshape(-1, 3).astype(float).mean(axis=0) - color).max() < levels)


def shows(color: tuple[int, int, int]) -> Callable[[U8], bool]:
    return lambda rgb: near(rgb[:60, :60], color)


def composed(packed: U8) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Before the key colour, by docs/api.md's rule."""
    half = packed.shape[1] // 2
    left, alpha = packed[:, :half].astype(float), packed[:, half:].astype(float) / 255
    return np.asarray(left + (1 - alpha) * KEY)


def person_of(rgb: U8) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.asarray(np.abs(rgb.astype(int) - KEY).sum(axis=2) > 90)


def level_of(rgb: U8) -> float:
    """Of the person's pixels; 0 where there is nobody."""
    person = person_of(rgb)
    return float(rgb[person].mean()) if person.any() else 0.0


def middle_of(rgb: U8) -> float:
    """Of the person's head, of the picture's width; 0 where there is nobody."""
    person = person_of(rgb)
    top = int(np.argmax(person.sum(axis=1) > 6))
    columns = np.flatnonzero(person[top : top + rgb.shape[0] // 6].any(axis=0))
    return float(columns.mean()) / float(rgb.shape[1]) if columns.size else 0.0


async def test_every_effect_in_one_call(call: Call, service: Service) -> None:
    plain = await call.until(lambda rgb: near(rgb[:60, 560:], KEY) and person_of(rgb).mean() > 0.1)
    size, level = person_of(plain).mean(), level_of(plain)
    assert middle_of(plain) < 0.45

    await call.show(**COLOR, light=1.0)
    lit = await call.until(lambda rgb: level_of(rgb) > 1.2 * level)
    assert near(lit[:60, 560:], KEY)

    await call.show(**COLOR, light=1.0, framing=1.0)
    framed = await call.until(
        lambda rgb: abs(middle_of(rgb) - 0.5) < 0.04 and person_of(rgb).mean() > 1.3 * size
    )
    assert framed.shape == plain.shape
    assert near(framed[:60, :60], KEY)
    assert near(framed[:60, 580:], KEY)

    await call.show(type="packed")
    # The light goes and the window comes back as slowly as they came.
    packed = await call.until(
        lambda rgb: rgb.shape[1] == 1280 and np.abs(composed(rgb) - plain).mean() < 6
    )
    left, alpha = packed[:, :640].astype(float), packed[:, 640:].astype(float) / 255
    assert left[:60, 560:].max() < 24
    assert alpha[:60, 560:].max() < 0.1
    assert alpha[300, 250].min() > 0.9

    call.size = UPRIGHT
    upright = await call.until(lambda rgb: rgb.shape[:2] == (640, 2 * 360))
    assert upright[:60, 300:360].max() < 24
    await call.show(type="blur", strength=0.0, falloff=1.0)
    blurred = await call.until(lambda rgb: rgb.shape[:2] == (640, 360) and rgb.mean() > 40)
    stripes = rgb_of(call.shots[UPRIGHT])[:80].mean(axis=(0, 2))
    assert stripes.std() > 20
    assert blurred[:80].mean(axis=(0, 2)).std() < 0.2 * stripes.std()

    await call.bring(reel(each=10))
    await call.show(type="image", background="session")
    for color in (RED, GREEN, BLUE, RED):
        await call.until(shows(color))

    (track,) = await call.tracks()
    assert track["frames"]["raw"] == 0
    assert track["frames"]["sent"] > 100
    async with aiohttp.ClientSession(service.url) as http, http.get("/metrics") as answer:
        assert "backcloth_raw_frames_total 0.0" in (await answer.text()).splitlines()


async def test_what_is_no_film_leaves_the_call_as_it_is(call: Call) -> None:
    await call.until(lambda rgb: near(rgb[:60, 560:], KEY))
    with pytest.raises(AssertionError, match="cannot be decoded as MP4 or WebM"):
        await call.bring(reel()[:700])
    shown = call.client.video.total
    async with asyncio.timeout(WAIT_S):
        await call.client.frames(10)
    assert call.client.video.total > shown
    assert near(call.picture()[:60, 560:], KEY)
