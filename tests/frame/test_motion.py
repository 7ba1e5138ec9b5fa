"""A mask goes along with the picture; a bumped camera is told from a person who moves."""

from __future__ import annotations

import cv2
import numpy as np

from service.frame.grid import Grid
from service.frame.motion import Flow, brightened, camera_shift, light_change, shifted
from service.frame.planes import view
from tests.frame.portrait import astronaut
from tests.frame.scenes import U8, figure, frame_of, scene


def coarse(rgb: U8) -> U8:
    return Grid(view(frame_of(rgb))).coarse


def test_a_mask_is_carried_with_what_it_covers() -> None:
    portrait = cv2.resize(astronaut(), (360, 360))
    pictures, masks = [], []
    for x in (100, 110):
        picture = np.full((360, 640, 3), 120, np.uint8)
        picture[:, x : x + 360] = portrait
        pictures.append(coarse(picture))
        mask = np.zeros((180, 320), np.uint8)
        mask[40:170, x // 2 + 30 : x // 2 + 120] = 255
        masks.append(mask)
    carried = Flow().carry(masks[0], *pictures)
    held = np.abs(masks[0].astype(int) - masks[1]).mean()
    assert np.abs(carried.astype(int) - masks[1]).mean() < 0.6 * held


def test_a_flow_that_explains_nothing_is_not_believed() -> None:
    """Stripes that repeat and a figure without any detail: dense flow finds all kinds of things."""
    before, now = (scene(640, 360, centre=(x, 0.6)) for x in (0.5, 0.515))
    mask, true = (figure(320, 180, centre=(x, 0.6)) for x in (0.5, 0.515))
    carried = Flow().carry(mask, coarse(before), coarse(now))
    held = np.abs(mask.astype(int) - true).mean()
    assert np.abs(carried.astype(int) - true).mean() < 1.5 * held


def test_a_bumped_camera_is_measured() -> None:
    picture = np.asarray(cv2.resize(astronaut(), (700, 400)), np.uint8)
    before, now = picture[20:380, 30:670], picture[12:372, 40:680]
    shift = camera_shift(coarse(before), coarse(now))
    assert shift is not None
    # 4 px of the frame are one of half the grid.
    assert abs(shift[0] * 4 + 10) < 1.5
    assert abs(shift[1] * 4 - 8) < 1.5


def test_a_person_who_moves_is_no_bump() -> None:
    before, now = (scene(640, 360, centre=(x, 0.6)) for x in (0.4, 0.55))
    assert camera_shift(coarse(before), coarse(now)) is None


def test_another_picture_is_no_bump() -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.integers(0, 255, (90, 160), np.uint8) for _ in range(2))
    assert camera_shift(a, b) is None


def test_what_comes_in_from_outside_is_nothing() -> None:
    moved = shifted(np.full((10, 20), 7, np.uint8), 3, -2)
    assert (moved[:8, 3:] == 7).all()
    assert not moved[8:].any()
    assert not moved[:, :3].any()


def test_another_light_is_told_from_another_picture() -> None:
    person = coarse(np.asarray(cv2.resize(astronaut(), (640, 360)), np.uint8))
    dark = brightened(person, 0.6)
    gain = light_change(person, dark)
    assert gain is not None
    assert abs(gain - 0.6) < 0.02
    assert light_change(person, np.ascontiguousarray(person[:, ::-1])) is None


def test_a_picture_that_goes_black_is_a_cut() -> None:
    person = coarse(np.asarray(cv2.resize(astronaut(), (640, 360)), np.uint8))
    black = np.full_like(person, 16)
    assert light_change(person, np.zeros_like(person)) is None
    assert light_change(black, person) is None
