"""The region is around the person, within the frame, and everything when nobody is there."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.frame.region import WHOLE, Region, RegionParameters
from tests.frame.scenes import figure

ASPECT = 256 / 144


@given(
    width=st.sampled_from([(320, 180), (180, 320), (320, 240), (320, 320)]),
    x=st.floats(0.0, 1.0),
    y=st.floats(0.0, 1.2),
)
def test_the_region_holds_the_person_and_keeps_to_the_frame(
    width: tuple[int, int], x: float, y: float
) -> None:
    alpha = figure(*width, centre=(x, y))
    region = Region()
    region.jump(alpha, ASPECT)
    left, top, right, bottom = region.box
    assert 0.0 <= left < right <= 1.0 + 1e-9
    assert 0.0 <= top < bottom <= 1.0 + 1e-9
    rows, columns = np.nonzero(alpha)
    if region.box == WHOLE or len(rows) < 200:
        return
    assert left - 0.02 <= columns.min() / width[0]
    assert columns.max() / width[0] <= right + 0.02
    assert top - 0.03 <= rows.min() / width[1]
    assert rows.max() / width[1] <= bottom + 0.03


def test_the_input_is_not_distorted_too_much() -> None:
    narrow = np.zeros((180, 320), np.uint8)
    narrow[20:180, 150:170] = 255
    region = Region()
    region.jump(narrow, ASPECT)
    left, top, right, bottom = region.box
    stretch = (right - left) * 320 / ((bottom - top) * 180) / ASPECT
    assert stretch > RegionParameters().narrowest - 0.01


def test_nobody_means_everywhere() -> None:
    region = Region()
    region.jump(figure(320, 180), ASPECT)
    assert region.box != WHOLE
    region.jump(np.zeros((180, 320), np.uint8), ASPECT)
    assert region.box == WHOLE


def test_the_region_follows_smoothly() -> None:
    region = Region()
    region.jump(figure(320, 180, centre=(0.3, 0.6)), ASPECT)
    before = region.box[0]
    lefts = []
    for _ in range(30):
        region.follow(figure(320, 180, centre=(0.7, 0.6)), ASPECT)
        lefts.append(region.box[0])
    steps = np.diff([before, *lefts])
    assert steps.min() >= -1e-9
    assert steps.max() < 0.15
    region.jump(figure(320, 180, centre=(0.7, 0.6)), ASPECT)
    assert abs(lefts[-1] - region.box[0]) < 0.01
