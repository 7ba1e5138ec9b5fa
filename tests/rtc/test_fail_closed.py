"""Tries to get a picture of the camera out past the gate, by every fault that can be injected.

The client sends a picture with a bright square; a leak would show it. What must come back is the
colour alone, whatever stands in the pipeline's place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from service.frame.look import Look
from service.frame.pipeline import Composited, Pipeline, Stages, Untouched
from service.policy.effects import Nothing
from service.rtc.showing import Shown, ShownUntouched
from tests.peers import Camera, Client
from tests.rtc.pictures import luma, moving_picture
from tests.rtc.stand import GREEN, connected
from tests.rtc.test_peer import is_green

if TYPE_CHECKING:
    import av

    from service.rtc.showing import AnyShown
    from service.rtc.track import VideoTrack
    from service.session.looks import Looks

pytestmark = [pytest.mark.peer, pytest.mark.model]

MakePipeline = Callable[[Look], Pipeline]


class Traitor:
    """Stands in a pipeline's place and does what it is told to every third frame."""

    def __init__(self, inner: Pipeline, fault: Callable[[Pipeline, av.VideoFrame], Any]) -> None:
        self._inner = inner
        self._fault = fault
        self._count = 0

    def change(self, look: Look) -> None:
        self._inner.change(look)

    def process(self, frame: av.VideoFrame) -> Any:
        self._count += 1
        if self._count % 3 == 0:
            return self._fault(self._inner, frame)
        return self._inner.process(frame)

    @property
    def away(self) -> bool:
        return self._inner.away

    def closed(self, width: int, height: int) -> Composited:
        return self._inner.closed(width, height)


def an_untouched(_inner: Pipeline, frame: av.VideoFrame) -> Untouched:
    return Untouched(frame, Look(Nothing()), Stages())


def the_camera_itself(_inner: Pipeline, frame: av.VideoFrame) -> av.VideoFrame:
    return frame


def a_composited_of_the_camera(inner: Pipeline, frame: av.VideoFrame) -> Composited:
    made = cast("Composited", inner.process(frame))
    made.frame = frame
    return made


class Onlooker:
    """Is shown what viewers are shown."""

    watched = True

    def __init__(self) -> None:
        self.seen: list[AnyShown] = []
        self.allowed: Callable[[], bool] = lambda: True

    def show(self, shown: AnyShown) -> None:
        if isinstance(shown, ShownUntouched):
            assert self.allowed(), "the camera is shown while an effect is on"
            assert shown.wanted()
        self.seen.append(shown)

    def hear(self, packet: object, mime_type: str) -> None: ...


class Disguised(Composited):
    """A subclass that says it is composited and is not."""

    def __init__(self, frame: av.VideoFrame) -> None:
        self.frame, self.look, self.stages = frame, GREEN, Stages()

    def release(self) -> None: ...


def a_disguise(_inner: Pipeline, frame: av.VideoFrame) -> Composited:
    return Disguised(frame)


def nothing(_inner: Pipeline, _frame: av.VideoFrame) -> None:
    return None


def an_error(_inner: Pipeline, _frame: av.VideoFrame) -> None:
    raise MemoryError("injected")


FAULTS = {
    "untouched": (an_untouched, False),
    "raw frame": (the_camera_itself, True),
    "camera in a composited": (a_composited_of_the_camera, True),
    "disguise": (a_disguise, True),
    "nothing": (nothing, False),
    "error": (an_error, False),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_fault_gets_the_camera_out(fault: str, make_pipeline: MakePipeline) -> None:
    betray, counted = FAULTS[fault]

    def make(look: Look) -> Pipeline:
        return Traitor(make_pipeline(look), betray)  # type: ignore[return-value]

    client, onlooker = Client(Camera(moving_picture), keep=200), Onlooker()
    async with connected(client, make, showing=onlooker) as both:
        await client.frames(30)
        await both.counts.more("sent", 10)
        assert all(is_green(frame) for frame in client.video.frames)
        assert len(onlooker.seen) > 10
        assert all(is_green(shown.picture.frame) for shown in onlooker.seen)
        # What only a defect can do is counted; what ends as a closed picture is not.
        assert (both.counts.raw > 0) is counted


async def test_a_closed_picture_that_fails_too_sends_nothing(make_pipeline: MakePipeline) -> None:
    class Hopeless(Traitor):
        def closed(self, width: int, height: int) -> Composited:
            raise RuntimeError("injected")

    def make(look: Look) -> Pipeline:
        return Hopeless(make_pipeline(look), an_error)  # type: ignore[return-value]

    client = Client(Camera(moving_picture), keep=200)
    async with connected(client, make) as both:
        await client.frames(20)
        assert all(is_green(frame) for frame in client.video.frames)
        assert both.counts.frames["received"] > both.counts.frames["sent"]


async def test_the_very_first_frame_is_closed_already(make_pipeline: MakePipeline) -> None:
    client = Client(Camera(moving_picture), keep=200)
    async with connected(client, make_pipeline):
        await client.frames(1)
        assert is_green(client.video.frames[0])


async def test_an_effect_that_comes_on_between_encoding_and_sending_withholds_the_picture(
    make_pipeline: MakePipeline,
) -> None:
    client, onlooker = Client(Camera(moving_picture), keep=300), Onlooker()
    look = Look(Nothing())
    async with connected(client, make_pipeline, look=look, showing=onlooker) as both:
        (track,) = both.peer.tracks.values()
        await client.frames(5)
        onlooker.allowed = lambda: both.looks.all is look
        switch_inside_the_job(track, both.looks)
        await both.counts.more("sent", 20)
        assert type(onlooker.seen[0]) is ShownUntouched
        assert type(onlooker.seen[-1]) is Shown
        assert both.counts.dropped["effect_changed"] == 1
        await client.wait_for(lambda: is_green(client.video.frames[-1]))
        greens = [is_green(frame) for frame in client.video.frames]
        assert greens == sorted(greens), "the camera came back after the effect was on"


def switch_inside_the_job(track: VideoTrack, looks: Looks) -> None:
    """Switch the effect on when the next picture has just been encoded."""
    encode = track._encode

    def encode_then_switch(*args: Any, **kwargs: Any) -> None:
        encode(*args, **kwargs)
        track._encode = encode  # type: ignore[method-assign]
        looks.set_all(GREEN)

    track._encode = encode_then_switch  # type: ignore[method-assign]


def test_the_square_would_show() -> None:
    """The check itself: a picture of the camera is not taken for the colour."""
    assert not is_green(moving_picture(3))
    assert int(np.ptp(luma(moving_picture(3)))) > 100


async def test_a_fault_in_the_job_or_the_sender_does_not_end_the_track(
    make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(Camera(moving_picture), keep=200)
    async with connected(client, make_pipeline) as both:
        (track,) = both.peer.tracks.values()
        await client.frames(5)
        decode, send_frame = track._decode, track._sender.send_frame
        faults = iter([True, False, False, True])

        def decode_badly(*args: Any) -> Any:
            if next(faults, False):
                raise RuntimeError("injected")
            return decode(*args)

        failures = iter([True])

        def send_badly(*args: Any, **kwargs: Any) -> None:
            if next(failures, False):
                raise OSError("injected")
            send_frame(*args, **kwargs)

        monkeypatch.setattr(track, "_decode", decode_badly)
        monkeypatch.setattr(track._sender, "send_frame", send_badly)
        await both.counts.more("sent", 30)
        await client.frames(20)
        assert both.counts.dropped["fault"] >= 2
        assert all(is_green(frame) for frame in client.video.frames)
