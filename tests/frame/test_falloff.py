"""Blur that grows with the distance: more far away, and nowhere less than without it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from service.frame.blur import BlurredRoom
from service.frame.composite import Composited, Kind
from service.frame.grid import Grid, grid_size
from service.frame.look import Look
from service.frame.mask import Mask
from service.frame.pipeline import Pipeline
from service.frame.planes import view
from service.policy.effects import Blur
from tests.frame.scenes import ORANGE, U8, KeyNetworks, bytes_of, figure, frame_of, room, scene
from tests.frame.test_blur import contrast_above, page_of_text

SIZES = [(640, 360), (360, 640)]


def at_left(size: tuple[int, int]) -> tuple[U8, U8]:
    """A person near the left edge: where they are in the frame, and the alpha."""
    person = figure(*size, centre=(0.12, 0.6))
    alpha = cv2.resize(person, grid_size(*size), interpolation=cv2.INTER_AREA)
    return person, np.asarray(alpha, np.uint8)


def shown(rgb: U8, alpha: U8, strength: float, falloff: float) -> U8:
    height, width = rgb.shape[:2]
    blurred = BlurredRoom()
    grid = Grid(view(frame_of(rgb)))
    return blurred.behind(grid, Mask(alpha), strength, (width, height), falloff=falloff).y.copy()


@pytest.mark.parametrize("size", SIZES)
def test_far_away_more_is_gone_and_beside_the_person_nothing_changes(
    size: tuple[int, int],
) -> None:
    width, height = size
    across = np.arange(width) // (max(size) // 6) % 2 * 200 + 20
    wall = np.repeat(np.repeat(across[None, :, None], height, 0), 3, 2).astype(np.uint8)
    person, alpha = at_left(size)
    wall[person > 0] = ORANGE
    plain, falling = shown(wall, alpha, 0.0, 0.0), shown(wall, alpha, 0.0, 1.0)
    near = cv2.dilate(person, np.ones((9, 9), np.uint8)) - person > 0
    assert np.abs(plain.astype(int) - falling)[near].mean() < 1.5
    far = slice(None), slice(int(0.75 * width), None)
    assert float(falling[far].std()) < 0.5 * float(plain[far].std())
    assert float(plain[far].std()) > 10  # there was something left to blur


@pytest.mark.parametrize("falloff", [0.3, 1.0])
@pytest.mark.parametrize("letter_px", [20, 40])
def test_no_more_can_be_read_than_without_it(letter_px: int, falloff: float) -> None:
    page = page_of_text(letter_px)
    _, alpha = at_left((640, 360))
    needed = 2.0 / letter_px
    original = contrast_above(view(frame_of(page)).y, needed)
    assert original > 20
    assert contrast_above(shown(page, alpha, 0.0, falloff), needed) < 0.03 * original


def test_the_person_does_not_bleed_into_the_room() -> None:
    grey = np.full((360, 640, 3), 110, np.uint8)
    picture = grey.copy()
    person, alpha = at_left((640, 360))
    picture[person > 0] = ORANGE
    expected = view(frame_of(grey)).y
    found = shown(picture, alpha, 0.6, 1.0)
    assert np.abs(found.astype(int) - expected)[person == 0].max() <= 3


def test_a_still_noisy_room_is_the_same_bit_for_bit() -> None:
    rng = np.random.default_rng(3)
    rgb, blurred = room(640, 360), BlurredRoom()
    _, alpha = at_left((640, 360))
    seen = []
    for _ in range(12):
        noisy = np.clip(rgb + rng.normal(0, 4, rgb.shape), 0, 255).astype(np.uint8)
        planes = blurred.behind(
            Grid(view(frame_of(noisy))), Mask(alpha), 0.6, (640, 360), falloff=1.0
        )
        seen.append(bytes_of(planes))
    assert len(set(seen[2:])) == 1


def test_a_pipeline_obeys_it_and_turns_with_the_camera() -> None:
    pipeline = Pipeline(KeyNetworks(), Look(Blur(0.0, falloff=1.0)))
    plain = Pipeline(KeyNetworks(), Look(Blur(0.0)))
    for index, size in enumerate([(640, 360), (360, 640), (640, 360)]):
        frame = frame_of(scene(*size, centre=(0.3, 0.6)), index=index)
        with_it, without = pipeline.process(frame), plain.process(frame)
        assert (with_it.frame.width, with_it.frame.height) == size
        assert isinstance(with_it, Composited)
        assert with_it.kind is Kind.MATTE
        one, other = (view(each.frame).y.astype(int) for each in (with_it, without))
        person = figure(*size, centre=(0.3, 0.6)) > 0
        inner = cv2.erode(person.astype(np.uint8), np.ones((25, 25))) > 0
        assert np.array_equal(one[inner], other[inner])
        assert not np.array_equal(one, other)
        with_it.release()
        without.release()
