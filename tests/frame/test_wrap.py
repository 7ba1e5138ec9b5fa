"""The background's light falls on the outline, and nowhere else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from service.frame.look import Look
from service.frame.pipeline import Pipeline
from service.frame.wrap import MOST, light, rim
from service.policy.effects import Color
from tests.frame.scenes import U8, KeyNetworks, figure, frame_of, rgb_of, scene

PERSON = figure(320, 180)


def inside(px: int) -> U8:
    return np.asarray(cv2.erode(PERSON, np.ones((2 * px + 1, 2 * px + 1), np.uint8)), np.uint8)


def test_it_lies_just_inside_the_outline() -> None:
    found = rim(PERSON, 1.0)
    assert not found[PERSON == 0].any()
    assert not found[inside(8) > 0].any()
    edge = (PERSON > 0) & (inside(1) == 0)
    assert 0.5 * MOST * 255 < found[edge].mean() < MOST * 255


@pytest.mark.parametrize("strength", [0.25, 0.5])
def test_half_the_strength_is_half_the_light(strength: float) -> None:
    ratio = rim(PERSON, strength).astype(float).sum() / rim(PERSON, 1.0).astype(float).sum()
    assert abs(ratio - strength) < 0.02


def test_the_light_has_no_detail_and_the_same_mean() -> None:
    rng = np.random.default_rng(3)
    plane = rng.integers(0, 255, (360, 640)).astype(np.uint8)
    found = light(plane)
    assert found.shape == plane.shape
    assert abs(float(found.mean()) - float(plane.mean())) < 2
    assert found.std() < plane.std() / 8


def test_in_a_frame_the_outline_takes_the_colour_and_the_middle_stays() -> None:
    shown = []
    for strength in (0.0, 1.0):
        look = Look(Color("#0000ff", light_wrap=strength))
        pipeline = Pipeline(KeyNetworks(), look)
        result = pipeline.process(frame_of(scene(640, 360)))
        shown.append(rgb_of(result.frame).astype(int))
        result.release()
    plain, wrapped = shown
    person = cv2.resize(inside(2), (640, 360), interpolation=cv2.INTER_NEAREST) > 0
    deep = cv2.resize(inside(12), (640, 360), interpolation=cv2.INTER_NEAREST) > 0
    band = person & ~deep
    assert (wrapped - plain)[band][:, 2].mean() > 10
    assert abs((wrapped - plain)[deep]).max() <= 3
    room = cv2.dilate(figure(640, 360), np.ones((31, 31), np.uint8)) == 0
    assert abs((wrapped - plain)[room]).max() == 0
