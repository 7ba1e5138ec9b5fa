"""What a pooled frame holds from before, and what a mask left in the buffers, is never seen."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service.frame.background import PlaneCache, flat
from service.frame.colour import Colour
from service.frame.composite import Composited, Compositor, Timing
from service.frame.look import Look
from service.frame.mask import Mask
from service.frame.planes import NOTHING, Planes, around, view
from service.frame.stages import StageClock
from service.policy.effects import Color
from tests.frame.scenes import figure, frame_of, room

SIZE = (160, 96)
ROOMS = [view(frame_of(rgb)) for rgb in (room(*SIZE), 255 - room(*SIZE))]
BACKDROPS = [flat(color, SIZE, Colour(), PlaneCache()) for color in ("#00b140", "#203040")]
MASKS = [figure(*SIZE, centre=centre) for centre in ((0.3, 0.6), (0.7, 0.5), (0.5, 0.9))]
NONE = np.zeros(SIZE[::-1], np.uint8)

Step = tuple[int, int, int | None, float]
steps = st.lists(
    st.tuples(
        st.integers(0, len(ROOMS) - 1),
        st.integers(0, len(BACKDROPS) - 1),
        st.one_of(st.none(), st.integers(0, len(MASKS) - 1)),  # None: nobody, closed
        st.sampled_from((0.0, 0.0, 0.5)),
    ),
    min_size=2,
    max_size=12,
)


def composed(compositor: Compositor, step: Step, version: int | None) -> Composited:
    source, backdrop, mask, wrap = step
    behind = BACKDROPS[backdrop]
    return compositor.matte(
        ROOMS[source],
        lambda: behind,
        lambda: behind,
        Mask(NONE if mask is None else MASKS[mask], version=version),
        look=Look(Color("#00b140", light_wrap=wrap)),
        timing=Timing(0, Fraction(1, 90000)),
        clock=StageClock(),
    )


def pixels(planes: Planes) -> bytes:
    return b"".join(np.ascontiguousarray(plane).tobytes() for plane in planes.each())


@given(steps)
@settings(max_examples=150)
def test_a_used_frame_shows_what_a_new_one_would(taken: list[Step]) -> None:
    """Whatever was drawn into it before: the same bits, also under a mask that stays."""
    pooled = Compositor()
    for step in taken:
        # As matte.py numbers them: the same number for the same mask, however often it comes.
        result = composed(pooled, step, version=step[2])
        fresh = composed(Compositor(), step, version=None)
        assert result.kind is fresh.kind
        assert pixels(view(result.frame)) == pixels(view(fresh.frame))
        result.release()


def test_the_background_is_the_same_bit_for_bit_from_frame_to_frame() -> None:
    """An encoder pays for every pixel that changes; outside of the person none does."""
    compositor, shown = Compositor(), []
    for index in range(6):
        result = composed(compositor, (index % 2, 0, index // 2, 0.0), version=index // 2)
        shown.append(view(result.frame).y.copy())
        result.release()
    outside = np.maximum.reduce(MASKS) == 0
    assert outside.mean() > 0.2
    assert all(np.array_equal(frame[outside], shown[0][outside]) for frame in shown)


edges = st.integers(0, 20).map(lambda half: 2 * half)


@given(st.tuples(edges, edges, edges, edges), st.tuples(edges, edges, edges, edges))
def test_around_a_box_lies_every_other_pixel_once(
    outer: tuple[int, int, int, int], inner: tuple[int, int, int, int]
) -> None:
    counted = np.zeros((40, 40), int)
    for left, top, right, bottom in around(outer, inner):
        counted[top:bottom, left:right] += 1
    expected = np.zeros((40, 40), int)
    expected[outer[1] : outer[3], outer[0] : outer[2]] = 1
    expected[inner[1] : inner[3], inner[0] : inner[2]] = 0
    assert np.array_equal(counted, expected)


def test_around_nothing_is_all_of_it() -> None:
    assert around((0, 0, 8, 6), NOTHING) == [(0, 0, 8, 6)]
