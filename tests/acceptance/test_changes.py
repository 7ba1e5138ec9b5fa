"""A hundred changes of the effect in a live call, beside other calls: what the picture shows.

Every change is a PATCH to a colour of its own; every picture that comes back is decoded, and its
background is looked up among them. Each must have one colour all over, that of the change before or
of this one, and never the room's. How long after its answer a change was in the picture is told on
standard error; with BACKCLOTH_TEST_QUIET=1, on a machine that does no other work, it is held to
100 ms.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import aiohttp
import numpy as np
import pytest

from loadtest import clip as clips
from tests.acceptance.streaming import decoded
from tests.acceptance.test_resilience import metrics, streaming

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import av
    from numpy.typing import NDArray

    from tests.running import Service

pytestmark = [pytest.mark.peer, pytest.mark.model, pytest.mark.timeout(240)]

FPS = 25
CHANGES = 100
LOAD_CALLS = 2
FRAMES_OF_A_CHANGE = 4
LONGEST_S = 0.1 if os.environ.get("BACKCLOTH_TEST_QUIET") == "1" else 5.0
# Far from each other, and from the room (a light wall), after encoding as well.
PALETTE = ("#b42828", "#28b428", "#2828b4", "#b428b4", "#141414")
RGB = np.array([[int(one[at : at + 2], 16) for at in (1, 3, 5)] for one in PALETTE])
NEAR = 30
LEAST_JUDGED = 0.8
CORNER_PX = 48


@dataclass(frozen=True, slots=True)
class Change:
    """One answered PATCH."""

    color: int
    "Its place in PALETTE."
    answered_s: float


def color_of(frame: av.VideoFrame) -> int:
    """Which colour of the palette the upper corners have, every part of them; -1 for another."""
    rgb = cast("NDArray[np.uint8]", frame.to_ndarray(format="rgb24")).astype(int)
    corners = np.stack([rgb[:CORNER_PX, :CORNER_PX], rgb[:CORNER_PX, -CORNER_PX:]])
    # Blocks of 8 px: a mix of two colours shows in some, the encoder's noise in none.
    blocks = corners.reshape(2, CORNER_PX // 8, 8, CORNER_PX // 8, 8, 3).mean(axis=(2, 4))
    distances = np.abs(blocks[..., None, :] - RGB).max(axis=(0, 1, 2, 4))
    found = int(distances.argmin())
    return found if distances[found] < NEAR else -1


def judged(frames: Iterable[tuple[int, av.VideoFrame]]) -> Iterator[tuple[int, int]]:
    """Numbers and colours of pictures in order. Behind a number that never came a picture may have
    been decoded without its reference: what is of no colour there is not judged."""
    before, doubtful = -1, False
    for number, frame in frames:
        color = color_of(frame)
        doubtful = color < 0 and (doubtful or number != before + 1)
        before = number
        if not doubtful:
            yield number, color


async def test_each_of_a_hundred_changes_is_in_the_picture_at_once(service: Service) -> None:
    film = clips.default_film((640, 360), FPS, seconds=4)
    clip = await asyncio.to_thread(clips.encode, film, clips.Codec.H264, FPS)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(service.url))
        client = await stack.enter_async_context(streaming(service, clip, keep=True))
        async with http.get("/v1/sessions") as answer:
            (session,) = (await answer.json())["sessions"]
        for _ in range(LOAD_CALLS):
            await stack.enter_async_context(streaming(service, clip))
        changes = []
        for number in range(CHANGES):
            color = number % len(PALETTE)
            effect = {"type": "color", "color": PALETTE[color]}
            async with http.patch(f"/v1/sessions/{session['id']}", json={"effect": effect}) as told:
                assert told.status == 200
                changes.append(Change(color, time.monotonic()))
            async with asyncio.timeout(20):
                await client.came_back(len(client.returned) + FRAMES_OF_A_CHANGE)
        returned = {one.number: one.at_s for one in client.returned}
        frames = decoded(client.coded, clips.Codec.H264)
        assert metrics(service)["backcloth_raw_frames_total"] == 0
    assert len(changes) == CHANGES
    seen = [(returned[number], color) for number, color in judged(frames) if number in returned]
    assert len(seen) >= LEAST_JUDGED * len(frames)
    # From the first change's picture on nothing but the palette is seen, and each in its turn.
    seen = seen[next(at for at, (_, color) in enumerate(seen) if color == changes[0].color) :]
    order = [seen[0][1]]
    firsts_s = [seen[0][0]]
    for at_s, color in seen:
        if color != order[-1]:
            order.append(color)
            firsts_s.append(at_s)
    assert order == [one.color for one in changes]
    waits_s = [first - one.answered_s for first, one in zip(firsts_s, changes, strict=True)]
    median, longest = statistics.median(waits_s) * 1e3, max(waits_s) * 1e3
    sys.stderr.write(f"in the picture after the answer: median {median:.0f} ms, {longest:.0f} ms\n")
    assert max(waits_s) <= LONGEST_S
