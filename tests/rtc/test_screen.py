"""One viewer's pictures: the newest wins, a PLI is answered by a keyframe, the camera as it came
leaves while the session has no effect, and not a packet later."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from aiortc import clock
from aiortc.rtp import RTCP_PSFB_PLI, RTCP_RTPFB_NACK, RtcpPsfbPacket, RtcpRtpfbPacket

from service.frame.background import PlaneCache, flat
from service.frame.colour import Colour
from service.frame.composite import Composited, Compositor, Timing, Untouched
from service.frame.look import Look
from service.frame.stages import StageClock, Stages
from service.policy.effects import Color, Nothing
from service.rtc.codecs import Codec, Encoder, depayload, vp8_is_keyframe
from service.rtc.screen import Screen, Timeline
from service.rtc.sender import Sender
from service.rtc.showing import Shown, ShownUntouched
from service.rtc.timestamps import LONGEST_STEP_TICKS, NOMINAL_STEP_TICKS
from service.workers import Workers
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
        self.raw_wanted = True
        self._number = 0

    def show(self) -> None:
        self._number += 1
        self.screen.show(Shown(green(self._number), self._number * 3000, 0.0))

    def show_raw(self) -> None:
        self._number += 1
        pts = self._number * 3000
        frame, composed = moving_picture(self._number), green(self._number).frame
        # Or the encoder would begin anew for that alone.
        frame.color_range, frame.colorspace = composed.color_range, composed.colorspace
        picture = Untouched(frame, Look(Nothing()), Stages())
        self.screen.show(ShownUntouched(picture, lambda: self.raw_wanted, pts, 0.0))

    def asks_again(self) -> int:
        """How many packets are sent again when the viewer has lost all there were."""
        before = len(self.wire.sent)
        lost = [packet.sequence_number for packet in self.wire.rtp()]
        self.sender.rtcp_received(
            RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=self.sender._ssrc, lost=lost)
        )
        return len(self.wire.sent) - before

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
async def stand() -> AsyncIterator[tuple[Stand, Workers]]:
    wire, counts = Wire(), Counts()
    sender = Sender("video", wire.as_transport(), counts)
    with Workers(lambda: 1.0, cpus=1) as workers:
        made: Stand
        screen = Screen(sender=sender, workers=workers, counters=counts, paused=lambda: made.paused)
        made = Stand(screen, wire, sender, counts)
        await sender.send(send_parameters(VP8))
        running = asyncio.create_task(screen.run())
        try:
            yield made, workers
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await sender.stop()
            screen.release()


async def test_the_newest_wins() -> None:
    async with stand() as (one, workers):
        hold = threading.Event()
        workers.submit(hold.wait)
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


async def test_reports_place_a_picture_when_it_came_in() -> None:
    """So does sound, which waits for nothing: lips stay in step."""
    async with stand() as (one, _):
        came_s = time.monotonic() - 2.0
        one.screen.show(Shown(green(1), 3000, came_s))
        await one.done(1)
        ntp, timestamp = one.sender._report_time()
        ahead_s = (timestamp - one.wire.rtp()[0].timestamp) % (1 << 32) / 90_000
        placed_s = (clock.current_ntp_time() - ntp) / (1 << 32) + ahead_s
        assert placed_s == pytest.approx(time.monotonic() - came_s, abs=0.1)


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


async def test_without_an_effect_the_camera_is_sent_and_covered_by_a_keyframe() -> None:
    async with stand() as (one, _):
        for count in range(1, 4):
            one.show_raw()
            await one.done(count)
        one.raw_wanted = False
        for count in range(4, 6):
            one.show()
            await one.done(count)
        one.raw_wanted = True
        one.show_raw()
        await one.done(6)
        assert one.keyframes() == [True, False, False, True, False, False]
        assert one.screen.frames == {"sent": 6, "dropped": 0}


async def test_an_effect_that_comes_on_while_the_camera_waits_its_turn() -> None:
    async with stand() as (one, workers):
        hold = threading.Event()
        workers.submit(hold.wait)
        one.show_raw()
        await asyncio.sleep(0)  # its job waits for the thread
        one.raw_wanted = False
        hold.set()
        await one.done(1)
        assert one.screen.frames == {"sent": 0, "dropped": 1}
        assert one.wire.rtp() == []
        assert one.screen.cpu_seconds == 0, "it is not even encoded"
        assert one.counts.stages == {}


async def test_an_effect_that_comes_on_while_the_camera_is_encoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stand() as (one, _):
        encode = Encoder.encode

        def and_switch(self: Encoder, *args: Any, **how: Any) -> list[bytes]:
            payloads = encode(self, *args, **how)
            one.raw_wanted = False
            return payloads

        for count in range(1, 3):
            one.show_raw()
            await one.done(count)
        monkeypatch.setattr(Encoder, "encode", and_switch)
        one.show_raw()
        await one.done(3)
        monkeypatch.undo()
        assert one.screen.frames == {"sent": 2, "dropped": 1}
        assert one.counts.stages["encode"] == 3, "it cost what it cost"
        assert one.counts.stages_cpu_s["encode"] == pytest.approx(one.screen.cpu_seconds)
        # What the viewer was never sent is not predicted from, not by the camera either.
        one.raw_wanted = True
        one.show_raw()
        await one.done(4)
        assert one.keyframes() == [True, False, True]


async def test_what_was_lost_of_the_camera_stays_lost_once_an_effect_is_on() -> None:
    async with stand() as (one, _):
        one.show_raw()
        await one.done(1)
        assert one.asks_again() > 0
        one.raw_wanted = False
        assert one.asks_again() == 0
        one.show()
        await one.done(2)
        # From the first composed picture on such pictures alone come again, whatever is wanted.
        one.raw_wanted = True
        times = [packet.timestamp for packet in one.wire.rtp()]
        assert one.asks_again() == times.count(times[-1]) > 0


async def test_an_encoder_that_fails_on_the_camera_leaves_nothing_to_refer_to(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with stand() as (one, _):
        one.show_raw()
        await one.done(1)
        keyframes = []

        def fails(_self: Encoder, _frame: object, *, keyframe: bool, bitrate_bps: int) -> None:
            keyframes.append(keyframe)
            raise ValueError("injected")

        monkeypatch.setattr(Encoder, "encode", fails)
        for count in range(2, 4):
            one.show()
            await one.done(count)
        assert keyframes == [True, True], "the picture that covers the camera is still owed"
    (line,) = caplog.records
    assert line.getMessage() == "a fault in a viewer's encoder cost a picture"
    assert "ValueError: injected" in caplog.text


async def test_a_picture_of_the_camera_that_was_encoded_and_lost_is_covered_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stand() as (one, _):
        one.show()
        await one.done(1)

        def fails(_self: Encoder, _data: bytes) -> list[bytes]:
            raise ValueError("injected")

        monkeypatch.setattr(Encoder, "_packetise", fails)
        one.show_raw()
        await one.done(2)
        monkeypatch.undo()
        one.show()
        await one.done(3)
        assert one.keyframes() == [True, True]


def test_each_kind_of_picture_is_shown_as_what_it_is() -> None:
    camera = Untouched(moving_picture(0), Look(Nothing()), Stages())
    for other in (camera, moving_picture(0), None):
        with pytest.raises(TypeError, match="only composed pictures"):
            Shown(other, 0, 0.0)  # type: ignore[arg-type]
    for another in (green(0), moving_picture(0), None):
        with pytest.raises(TypeError, match="only an untouched picture"):
            ShownUntouched(another, lambda: True, 0, 0.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="without an effect only"):
        Untouched(moving_picture(0), GREEN, Stages())


def test_times_grow_whatever_tracks_count_from() -> None:
    timeline = Timeline()
    assert [timeline.place(pts) for pts in (9000, 12000, 15000)] == [0, 3000, 6000]
    # Another track, a pause that is too long, and a picture that repeats its time.
    steps = (0, 3000, 3000 + LONGEST_STEP_TICKS + 1, 3000 + LONGEST_STEP_TICKS + 1)
    placed = [timeline.place(pts) for pts in steps]
    assert placed[0] == 6000 + NOMINAL_STEP_TICKS
    assert placed[1] == placed[0] + 3000
    assert placed[2:] == [placed[1] + NOMINAL_STEP_TICKS, placed[1] + 2 * NOMINAL_STEP_TICKS]
