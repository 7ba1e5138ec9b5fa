"""A dark face gets light, gently and without a flicker; nothing else changes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from service.frame.colour import Colour
from service.frame.faces import Face
from service.frame.grid import Grid
from service.frame.light import MOST, TARGET, Light, brightness, power_for
from service.frame.look import Look
from service.frame.planes import Planes, view
from service.policy.effects import Color
from tests.frame.scenes import U8, rgb_of
from tests.frame.sitting import pipeline_of, played, sitting

FACE = Face(0.4, 0.3, 0.6, 0.7, 0.9, ())
FPS = 30
GREEN = (0, 177, 64)


def flat(level: int, *, full_range: bool = False) -> Planes:
    grey = np.full((180, 320), 128, np.uint8)
    return Planes(np.full((360, 640), level, np.uint8), grey, grey, Colour(full_range=full_range))


def settled(level: int, light: float) -> Light:
    one = Light()
    for index in range(8 * FPS):
        one.follow(Grid(flat(level)), [FACE], index / FPS, light)
    return one


def test_a_dark_face_comes_nearer_to_the_target_and_no_further_than_may_be() -> None:
    for face in (0.1, 0.2, 0.3, 0.4):
        lifted = face ** power_for(face)
        assert face < lifted <= TARGET + 1e-9
        assert power_for(face) >= MOST
    assert power_for(0.4) == pytest.approx(np.log(TARGET) / np.log(0.4))
    assert power_for(TARGET) == power_for(0.8) == 1.0


@pytest.mark.parametrize("full_range", [False, True])
def test_brightness_is_that_of_the_range(*, full_range: bool) -> None:
    half = 128 if full_range else 126
    found = brightness(Grid(flat(half, full_range=full_range)), FACE)
    assert abs(found - 0.5) < 0.01
    assert 0 < brightness(Grid(flat(0)), FACE) < brightness(Grid(flat(255)), FACE) < 1


@pytest.mark.parametrize("full_range", [False, True])
def test_the_curve_keeps_order_black_and_white(*, full_range: bool) -> None:
    one = settled(60, 1.0)
    luma, chroma = one._curves(Colour(full_range=full_range))
    steps = np.diff(luma.reshape(-1).astype(int))
    assert steps.min() >= 0
    black, white = (0, 255) if full_range else (16, 235)
    assert (luma[0, black], luma[0, white], chroma[0, 128]) == (black, white, 128)
    assert luma[0, (black + white) // 3] > (black + white) // 3 + 15


def test_it_comes_slowly_and_half_of_it_is_half() -> None:
    one = Light()
    powers = []
    for index in range(8 * FPS):
        one.follow(Grid(flat(60)), [FACE], index / FPS, 1.0)
        powers.append(one.power)
    assert np.abs(np.diff(powers)).max() < 0.02
    assert len(set(powers[-FPS:])) == 1
    assert 1 - settled(60, 0.5).power == pytest.approx((1 - powers[-1]) / 2)


def test_noise_and_a_lost_face_change_nothing() -> None:
    one = settled(70, 1.0)
    before = one.power
    random = np.random.default_rng(2)
    for index in range(5 * FPS):
        level = 70 + round(random.normal(0, 1.5))
        one.follow(Grid(flat(level)), [FACE] if index % 3 else [], 8 + index / FPS, 1.0)
        assert one.power == before


def test_another_light_in_the_room_is_followed_without_a_jump() -> None:
    one = settled(60, 1.0)
    powers = [one.power]
    for index in range(8 * FPS):
        one.follow(Grid(flat(150)), [FACE], 8 + index / FPS, 1.0)
        powers.append(one.power)
    assert powers[-1] == 1.0
    assert np.abs(np.diff(powers)).max() < 0.02


def of_person(rgb: U8) -> U8:
    """Where the person surely is, in a picture before green."""
    person = (np.abs(rgb.astype(int) - GREEN).sum(axis=2) > 120).astype(np.uint8)
    return np.asarray(cv2.erode(person, np.ones((9, 9), np.uint8)) > 0)


@pytest.mark.parametrize("size", [(640, 360), (360, 640)])
def test_a_dark_person_is_lit_and_the_background_stays(size: tuple[int, int]) -> None:
    upright = size[0] < size[1]
    dark = sitting(size, head=0.6 if upright else 0.42, tall=0.18 if upright else 0.3, light=0.35)
    shown, means, luma = [], [], []
    for light in (0.0, 1.0):
        pipeline = pipeline_of(Look(Color("#00b140", light=light)))
        for result in played(pipeline, [dark] * 100):
            last, last_luma = rgb_of(result.frame), view(result.frame).y.copy()
            if light:
                means.append(float(last_luma[of_person(last)].mean()))
        shown.append(last)
        luma.append(last_luma)
    plain, lit = shown
    person = of_person(plain)
    assert lit[person].mean() > 1.25 * plain[person].mean()
    away = pipeline.alpha() == 0
    assert away.mean() > 0.3
    assert np.array_equal(luma[0][away], luma[1][away])
    assert np.abs(np.diff(means[45:])).max() < 1.5  # levels of 255, from frame to frame


def test_a_well_lit_person_is_not_touched() -> None:
    bright = sitting((640, 360), head=0.42, tall=0.3, light=1.25)
    found = [
        [view(result.frame).y.tobytes() for result in played(pipeline_of(look), [bright] * 45)][-1]
        for look in (Look(Color("#00b140")), Look(Color("#00b140", light=1.0)))
    ]
    assert found[0] == found[1]
