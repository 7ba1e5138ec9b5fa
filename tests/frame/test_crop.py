"""A window of picture, chroma and mask is cut along one line, and stays as it is while it can."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from service.frame.colour import Colour
from service.frame.crop import Crop, MaskCrop
from service.frame.framing import Window
from service.frame.grid import grid_size
from service.frame.mask import Mask
from service.frame.planes import Planes

if TYPE_CHECKING:
    from tests.frame.scenes import U8

WINDOWS = [Window(0.2, 0.1, 0.6), Window(0.313, 0.077, 0.5717), Window(0.0, 0.45, 0.55)]


def ramps(width: int, height: int, *, down: bool) -> U8:
    """A value at each pixel's centre that tells its place, 0 to 250 from edge to edge."""
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    place = np.repeat(y[:, None], width, 1) if down else np.repeat(x[None, :], height, 0)
    return np.rint(250 * place).astype(np.uint8)


@pytest.mark.parametrize("size", [(640, 360), (360, 640), (1280, 720)])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("down", [False, True])
def test_all_planes_show_the_same_place(
    size: tuple[int, int], window: Window, *, down: bool
) -> None:
    width, height = size
    chroma = ramps(width // 2, height // 2, down=down)
    planes = Planes(ramps(*size, down=down), chroma, chroma.copy(), Colour())
    mask = Mask(ramps(*grid_size(*size), down=down))
    cut, alpha = Crop().whole(planes, window), MaskCrop().cut(mask, window).alpha
    first = window.top if down else window.left
    for plane in (*cut.each(), alpha):
        rows, columns = plane.shape
        fractions = (np.arange(rows if down else columns) + 0.5) / (rows if down else columns)
        expected = 250 * (first + window.size * fractions)
        found = plane[:, columns // 2] if down else plane[rows // 2]
        # Half a step of the ramp, rounded twice, and the last pixel, which has no neighbour.
        inner = slice(2, -2)
        assert np.abs(found.astype(float) - expected)[inner].max() <= 1.6
        assert plane.shape == (planes.y.shape if plane is cut.y else plane.shape)


def test_a_hard_edge_is_in_the_same_place_in_picture_and_mask() -> None:
    size, window = (640, 360), Window(0.21, 0.13, 0.5)
    luma = np.zeros((360, 640), np.uint8)
    luma[:, 300:] = 255
    alpha = np.asarray(cv2.resize(luma, grid_size(*size), interpolation=cv2.INTER_AREA), np.uint8)
    grey = np.full((180, 320), 128, np.uint8)
    cut = Crop().whole(Planes(luma, grey, grey, Colour()), window)
    found = MaskCrop().cut(Mask(alpha), window).alpha
    fine = np.asarray(cv2.resize(found, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    edges = [int(np.argmax(row > 127)) for row in (cut.y[180], fine[180])]
    assert abs(edges[0] - (300 - 0.21 * 640) / 0.5) <= 1
    assert abs(edges[0] - edges[1]) <= 1


def test_a_mask_is_numbered_anew_only_when_it_or_the_window_is_another() -> None:
    crop, mask = MaskCrop(), Mask(ramps(320, 180, down=False), version=7, age_frames=3)
    first = crop.cut(mask, WINDOWS[0])
    assert first.age_frames == 3
    assert first.version is not None
    assert first.version < 0  # no number that a mask of the matte could have
    assert crop.cut(mask, WINDOWS[0]).version == first.version
    versions = {
        first.version,
        crop.cut(mask, WINDOWS[1]).version,
        crop.cut(replace(mask, version=8), WINDOWS[1]).version,
        crop.cut(replace(mask, version=None), WINDOWS[1]).version,
        crop.cut(replace(mask, version=None), WINDOWS[1]).version,
    }
    assert len(versions) == 5


def test_a_still_picture_is_cut_once() -> None:
    grey = np.full((180, 320), 128, np.uint8)
    planes = Planes(ramps(640, 360, down=False), grey, grey, Colour())
    crop = Crop()
    first = crop.whole(planes, WINDOWS[0])
    assert crop.whole(planes, WINDOWS[0]) is first
    assert crop.whole(planes, WINDOWS[1]) is not first
    assert crop.whole(replace(planes), WINDOWS[1]) is not crop.whole(planes, WINDOWS[1])


@pytest.mark.parametrize("window", WINDOWS)
def test_a_part_of_it_is_what_it_is_in_the_whole(window: Window) -> None:
    random = np.random.default_rng(6)
    luma = cv2.blur(random.integers(0, 256, (360, 640)).astype(np.uint8), (5, 5))
    chroma = cv2.blur(random.integers(0, 256, (180, 320)).astype(np.uint8), (5, 5))
    planes = Planes(np.asarray(luma), np.asarray(chroma), np.asarray(chroma), Colour())
    whole, part = Crop().whole(planes, window), Crop().cut(planes, window, (120, 46, 500, 360))
    for number, (one, other) in enumerate(zip(whole.each(), part.each(), strict=True)):
        shift = int(number > 0)
        box = slice(46 >> shift, 360 >> shift), slice(120 >> shift, 500 >> shift)
        assert np.abs(one[box].astype(int) - other[box]).max() <= 4  # a 32nd of a pixel
