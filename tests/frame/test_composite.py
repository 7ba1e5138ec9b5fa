"""Only composite.py makes a frame that may be sent, and the arithmetic at its ends is exact."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.frame.background import PlaneCache, flat
from service.frame.colour import Colour
from service.frame.composite import Composited, Compositor, Kind, Sharer, Timing, Untouched
from service.frame.grid import grid_size
from service.frame.look import Look
from service.frame.mask import Mask, Refusal
from service.frame.planes import FramePool, OutputFrame, Planes, view
from service.frame.stages import StageClock, Stages
from service.policy.effects import Color, Image, Nothing
from tests.frame.scenes import U8, figure, frame_of, room

LOOK = Look(Color("#00b140"))


def composed(source: Planes, alpha: U8, compositor: Compositor) -> Composited:
    behind = flat("#00b140", source.size, source.colour, PlaneCache())
    return compositor.matte(
        source,
        lambda: behind,
        lambda: behind,
        Mask(alpha),
        look=LOOK,
        timing=Timing(7, Fraction(1, 90000)),
        clock=StageClock(),
    )


@given(
    width=st.integers(16, 350).map(lambda half: 2 * half),
    height=st.integers(16, 250).map(lambda half: 2 * half),
    x=st.floats(0.0, 1.0),
)
def test_any_size_gives_what_blending_the_whole_frame_would(
    width: int, height: int, x: float
) -> None:
    """The work is done in the person's box only; nobody must see that."""
    source = view(frame_of(room(width, height)))
    columns, rows = grid_size(width, height)
    soft = cv2.blur(figure(columns, rows, centre=(x, 0.6)), (9, 9))
    alpha = np.asarray(soft, np.uint8)
    assume(Mask(alpha).refusal(width, height) is None)
    result = composed(source, alpha, Compositor())
    assert result.kind is Kind.MATTE
    out = view(result.frame)
    still = flat("#00b140", (width, height), Colour(), PlaneCache())
    for plane, behind, mixed in zip(source.each(), still.each(), out.each(), strict=True):
        full = cv2.resize(alpha, plane.shape[::-1], interpolation=cv2.INTER_LINEAR) / 255.0
        expected = plane * full + behind * (1.0 - full)
        # Enlarging a part rounds its sampling points in other places: one step of alpha.
        assert float(np.abs(mixed - expected).max()) <= 3.0
        assert np.array_equal(mixed[full == 0.0], behind[full == 0.0])
        assert np.array_equal(mixed[full == 1.0], plane[full == 1.0])


def test_time_is_carried_over_and_the_frame_goes_back_once() -> None:
    source = view(frame_of(room(64, 48)))
    compositor = Compositor()
    first = composed(source, figure(64, 48), compositor)
    assert (first.frame.pts, first.frame.time_base) == (7, Fraction(1, 90000))
    assert first.look is LOOK
    assert first.stages.composite.wall_s > 0
    second = composed(source, figure(64, 48), compositor)
    assert second.frame is not first.frame
    kept = first.frame
    first.release()
    first.release()
    third = composed(source, figure(64, 48), compositor)
    fourth = composed(source, figure(64, 48), compositor)
    assert third.frame is kept
    assert fourth.frame is not kept


@pytest.mark.parametrize(
    ("mask", "refusal"),
    [
        (Mask(np.zeros((48, 64), np.uint8)), Refusal.NO_PERSON),
        (Mask(np.full((48, 64), 255, np.uint8)), Refusal.ALL_PERSON),
        (Mask(figure(48, 64)), Refusal.WRONG_SIZE),
        (Mask(figure(64, 48).astype(np.float32) / 255), Refusal.WRONG_SIZE),  # type: ignore[arg-type]
        (Mask(figure(64, 48), age_s=0.51), Refusal.STALE),
        (Mask(figure(64, 48), age_s=float("nan")), Refusal.STALE),
        (Mask(figure(64, 48), age_frames=16), Refusal.STALE),
        (None, Refusal.FAULT),
    ],
)
def test_without_a_good_mask_the_background_goes_out_alone(
    mask: Mask | None, refusal: Refusal
) -> None:
    source = view(frame_of(room(64, 48)))
    behind = flat("#00b140", (64, 48), Colour(), PlaneCache())

    def unused() -> Planes:
        raise AssertionError("the background behind a person is not for a closed frame")

    result = Compositor().matte(
        source, unused, lambda: behind, mask, look=LOOK, timing=Timing(), clock=StageClock()
    )
    assert (result.kind, result.refusal) == (Kind.CLOSED, refusal)
    for plane, still in zip(view(result.frame).each(), behind.each(), strict=True):
        assert np.array_equal(plane, still)


@pytest.mark.parametrize("key", [None, object(), 1])
def test_nobody_else_makes_a_composited_frame(key: object) -> None:
    with pytest.raises(TypeError, match=r"only service\.frame\.composite"):
        Composited(
            key,
            frame=OutputFrame(4, 4).frame,
            output=None,
            pool=FramePool(),
            look=LOOK,
            kind=Kind.MATTE,
            refusal=None,
            stages=Stages(),
        )


def test_a_share_keeps_its_pixels_whatever_becomes_of_the_original() -> None:
    source = view(frame_of(room(64, 48)))
    compositor, sharer = Compositor(), Sharer()
    behind = flat("#00b140", source.size, source.colour, PlaneCache())
    how = {"look": LOOK, "timing": Timing(7, Fraction(1, 90000)), "clock": StageClock()}
    original = compositor.closed(behind, **how)  # type: ignore[arg-type]
    share = sharer.share(original)
    again = sharer.share(share)
    assert (type(share), share.kind, share.frame.pts) == (Composited, Kind.CLOSED, 7)
    assert share.frame.planes[0].buffer_ptr == original.frame.planes[0].buffer_ptr
    assert (share.frame.color_range, share.frame.colorspace) == (
        original.frame.color_range,
        original.frame.colorspace,
    )
    share.frame.pts, share.frame.pict_type = 9, 1
    assert (original.frame.pts, int(original.frame.pict_type)) == (7, 0)
    share.release()
    original.release()
    # The pool gives the same frame out again, and another colour is laid into it.
    red = flat("#ff0000", source.size, source.colour, PlaneCache())
    reused = compositor.closed(red, **how)  # type: ignore[arg-type]
    assert reused.frame is original.frame
    for plane, green in zip(view(again.frame).each(), behind.each(), strict=True):
        assert np.array_equal(plane, green)


@pytest.mark.parametrize("other", ["a frame", "untouched"])
def test_nothing_else_is_shared(other: str) -> None:
    frame = frame_of(room(64, 48))
    untouched = Untouched(frame, Look(Nothing()), Stages())
    with pytest.raises(TypeError, match="only a Composited"):
        Sharer().share(frame if other == "a frame" else untouched)  # type: ignore[arg-type]


def test_the_camera_is_shared_as_what_it_is() -> None:
    untouched = Untouched(frame_of(room(64, 48)), Look(Nothing()), Stages())
    untouched.frame.time_base = Fraction(1, 90000)
    share = Sharer().share_untouched(untouched)
    assert (type(share), share.look) == (Untouched, untouched.look)
    assert share.frame is not untouched.frame
    assert share.frame.planes[0].buffer_ptr == untouched.frame.planes[0].buffer_ptr
    source = view(untouched.frame)
    behind = flat("#00b140", source.size, source.colour, PlaneCache())
    timing = Timing(7, Fraction(1, 90000))
    composed = Compositor().closed(behind, look=LOOK, timing=timing, clock=StageClock())
    for other in (composed, untouched.frame):
        with pytest.raises(TypeError, match="only an Untouched"):
            Sharer().share_untouched(other)  # type: ignore[arg-type]


def test_an_untouched_frame_needs_a_look_without_an_effect() -> None:
    frame = frame_of(room(64, 48))
    with pytest.raises(TypeError, match="without an effect"):
        Untouched(frame, LOOK, Stages())
    untouched = Untouched(frame, Look(Nothing()), Stages())
    untouched.release()
    assert untouched.frame is frame


def test_an_image_look_needs_its_picture() -> None:
    with pytest.raises(ValueError, match="picture"):
        Look(Image("office"))
