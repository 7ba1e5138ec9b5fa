"""One viewer's pictures: the newest wins, a PLI is answered by a keyframe, only Composited pass."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from aiortc.rtp import RTCP_PSFB_PLI, RtcpPsfbPacket

from service.frame.background import PlaneCache, flat
from service.frame.colour import Colour
from service.frame.composite import Composited, Compositor, Timing, Untouched
from service.frame.look import Look
from service.frame.stages import StageClock, Stages
from service.policy.effects import Color, Nothing
from service.rtc.codecs import Codec, depayload, vp8_is_keyframe
from service.rtc.screen import Screen, Timeline
from service.rtc.sender import Sender
from service.rtc.showing import Shown
from service.rtc.timestamps import LONGEST_STEP_TICKS, NOMINAL_STEP_TICKS
from tests.rtc.counts import Counts
from tests.rtc.pictures import moving_picture
from tests.rtc.wire import VP8, Wire, send_parameters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GREEN = Look(Color("#00b140"))


def green(number: int) -> Composited:
    behind = flat("#00b140", (320, 180), Colour(), PlaneCache())
    timing = Timing(number * 3000, Fraction(1, 90000))
    return Compositor().closed(behind, look=GREEN, timing=timing, clock=StageClock())


class Stand:
    """A screen whose sender is on a wire that remembers."""

    def __init__(self, screen: Screen, wire: Wire, sender: Sender, counts: Counts) -> None:
        self.screen, self.wire, self.sender, self.counts = screen, wire, sender, counts
        self.paused = False
        self._number = 0

    def show(self) -> None:
        self._number += 1
        self.screen.show(Shown(green(self._number), self._number * 3000, 0.0))

    async def done(self, count: int) -> None:
        await self.counts.viewed(count)

    def keyframes(self) -> list[bool]:
        """Of each picture that was sent, whether it is a keyframe."""
        firsts, start = [], True
        for packet in self.wire.rtp():
            if start:
                firsts.append(vp8_is_keyframe(depayload(Codec.VP8, packet.payload)))
            start = bool(packet.marker)
        return firsts


@asynccontextmanager
async def stand() -> AsyncIterator[tuple[Stand, ThreadPoolExecutor]]:
    wire, counts = Wire(), Counts()
    sender = Sender("video", wire.as_transport(), counts)
    with ThreadPoolExecutor(1) as executor:
        made: Stand
        screen = Screen(
            sender=sender, executor=executor, counters=counts, paused=lambda: made.paused
        )
        made = Stand(screen, wire, sender, counts)
        await sender.send(send_parameters(VP8))
        running = asyncio.create_task(screen.run())
        try:
            yield made, executor
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await sender.stop()
            screen.release()


async def test_the_newest_wins() -> None:
    async with stand() as (one, executor):
        hold = threading.Event()
        executor.submit(hold.wait)
        one.show()
        await asyncio.sleep(0)  # its job waits for the thread
        for _ in range(4):
            one.show()
        assert one.screen.frames == {"sent": 0, "dropped": 3}
        hold.set()
        await one.done(5)
        assert one.screen.frames == {"sent": 2, "dropped": 3}
        packets = one.wire.rtp()
        assert packets[-1].timestamp - packets[0].timestamp == 4 * 3000
        assert one.screen.cpu_seconds > 0


async def test_a_pli_is_answered_by_a_keyframe_and_nothing_else_is() -> None:
    async with stand() as (one, _):
        for count in range(1, 4):
            one.show()
            await one.done(count)
        pli = RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=1, media_ssrc=one.sender._ssrc)
        one.sender.rtcp_received(pli)
        for count in range(4, 6):
            one.show()
            await one.done(count)
        assert one.keyframes() == [True, False, False, True, False]


async def test_nothing_is_worked_on_for_one_that_is_not_heard_of() -> None:
    async with stand() as (one, _):
        one.paused = True
        one.show()
        await asyncio.sleep(0)
        assert one.screen.frames == {"sent": 0, "dropped": 0}
        one.paused = False
        one.show()
        await one.done(1)
        assert one.screen.frames == {"sent": 1, "dropped": 0}


async def test_after_its_end_nothing_is_encoded() -> None:
    async with stand() as (one, _):
        one.screen.release()
        one.show()
        await one.done(1)
        assert one.screen.frames == {"sent": 0, "dropped": 1}


def test_nothing_but_a_composed_picture_is_shown() -> None:
    camera = Untouched(moving_picture(0), Look(Nothing()), Stages())
    for other in (camera, moving_picture(0), None):
        with pytest.raises(TypeError, match="only composed pictures"):
            Shown(other, 0, 0.0)  # type: ignore[arg-type]


def test_times_grow_whatever_tracks_count_from() -> None:
    timeline = Timeline()
    assert [timeline.place(pts) for pts in (9000, 12000, 15000)] == [0, 3000, 6000]
    # Another track, a pause that is too long, and a picture that repeats its time.
    steps = (0, 3000, 3000 + LONGEST_STEP_TICKS + 1, 3000 + LONGEST_STEP_TICKS + 1)
    placed = [timeline.place(pts) for pts in steps]
    assert placed[0] == 6000 + NOMINAL_STEP_TICKS
    assert placed[1] == placed[0] + 3000
    assert placed[2:] == [placed[1] + NOMINAL_STEP_TICKS, placed[1] + 2 * NOMINAL_STEP_TICKS]
