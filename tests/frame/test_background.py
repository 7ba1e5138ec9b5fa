"""Backgrounds fill the frame in its shape and colour meaning, and are kept within a bound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.frame.background import PlaneCache, contained, covered, fitted, flat
from service.frame.colour import Colour, Matrix, rgb_of_yuv
from service.frame.picture import Picture
from service.policy.effects import Fit

MEANINGS = [Colour(matrix, full_range=full) for matrix in Matrix for full in (False, True)]


def quarters(width: int, height: int) -> Picture:
    """Left red, right blue, with a white centre line down the middle."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[:, : width // 2] = (200, 30, 30)
    rgb[:, width // 2 :] = (30, 30, 200)
    return Picture(rgb, f"quarters{width}x{height}")


@pytest.mark.parametrize("colour", MEANINGS, ids=str)
@pytest.mark.parametrize("color", ["#00b140", "#000000", "#ffffff", "#123456"])
def test_a_colour_comes_back_as_it_was_asked_for(color: str, colour: Colour) -> None:
    planes = flat(color, (32, 16), colour, PlaneCache())
    assert all(int(np.ptp(plane)) == 0 for plane in planes.each())
    yuv = np.array([[[planes.y[0, 0], planes.u[0, 0], planes.v[0, 0]]]], np.uint8)
    rgb = rgb_of_yuv(yuv, colour, np.empty((1, 1, 3), np.uint8))[0, 0]
    asked = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    assert [int(value) for value in rgb] == pytest.approx(asked, abs=2)


@given(
    picture=st.tuples(st.integers(1, 80), st.integers(1, 80)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    fit=st.sampled_from(list(Fit)),
)
def test_any_picture_fits_any_frame(
    picture: tuple[int, int], size: tuple[int, int], fit: Fit
) -> None:
    width, height = size[0] * 2, size[1] * 2
    rgb = np.full((picture[1], picture[0], 3), 77, np.uint8)
    planes = fitted(Picture(rgb, "any"), fit, (width, height), Colour(), PlaneCache(0))
    assert planes.size == (width, height)
    assert planes.u.shape == planes.v.shape == (height // 2, width // 2)


def test_cover_crops_the_sides_of_a_wide_picture_evenly() -> None:
    rgb = covered(quarters(400, 100).rgb, (100, 100))
    assert rgb.shape == (100, 100, 3)
    assert np.array_equal(rgb[50, 40], (200, 30, 30))
    assert np.array_equal(rgb[50, 60], (30, 30, 200))


def test_contain_shows_all_of_the_picture_on_a_dark_fill() -> None:
    rgb = contained(quarters(400, 100).rgb, (200, 200))
    assert np.array_equal(rgb[100, 5], (200, 30, 30))  # the picture reaches both sides
    assert np.array_equal(rgb[100, 195], (30, 30, 200))
    assert int(rgb[74].max()) < 128  # above it: dark
    assert int(rgb[75, 5].max()) == 200  # 50 px high, in the middle: rows 75 to 124
    assert int(rgb[124, 5].max()) == 200
    assert int(rgb[125].max()) < 128


def test_contain_of_the_same_shape_is_the_picture() -> None:
    picture = quarters(160, 90)
    assert np.array_equal(contained(picture.rgb, (160, 90)), picture.rgb)


def test_planes_are_made_once_and_shared() -> None:
    cache = PlaneCache()
    first = fitted(quarters(40, 30), Fit.COVER, (64, 48), Colour(), cache)
    assert fitted(quarters(40, 30), Fit.COVER, (64, 48), Colour(), cache) is first
    assert fitted(quarters(40, 30), Fit.CONTAIN, (64, 48), Colour(), cache) is not first
    assert fitted(quarters(40, 30), Fit.COVER, (64, 48), MEANINGS[1], cache) is not first
    with pytest.raises(ValueError, match="read-only"):
        first.y[0, 0] = 1


def test_the_cache_keeps_within_its_bound_and_drops_the_least_used() -> None:
    one = 64 * 48 * 3 // 2
    cache = PlaneCache(max_bytes=2 * one)
    first = flat("#000000", (64, 48), Colour(), cache)
    flat("#111111", (64, 48), Colour(), cache)
    flat("#000000", (64, 48), Colour(), cache)  # used again: the other one is the oldest now
    flat("#222222", (64, 48), Colour(), cache)
    assert cache.nbytes == 2 * one
    assert flat("#000000", (64, 48), Colour(), cache) is first


def test_planes_larger_than_the_bound_are_not_kept() -> None:
    cache = PlaneCache(max_bytes=10)
    assert flat("#000000", (64, 48), Colour(), cache).size == (64, 48)
    assert cache.nbytes == 0


def test_the_planes_of_one_picture_can_be_forgotten() -> None:
    cache = PlaneCache()
    gone, kept = quarters(40, 30), Picture(np.zeros((8, 8, 3), np.uint8), "another")
    first = fitted(gone, Fit.COVER, (64, 48), Colour(), cache)
    fitted(gone, Fit.CONTAIN, (64, 48), Colour(), cache)
    stays = fitted(kept, Fit.COVER, (64, 48), Colour(), cache)
    cache.forget(gone.key)
    assert cache.nbytes == stays.nbytes
    assert fitted(kept, Fit.COVER, (64, 48), Colour(), cache) is stays
    assert fitted(gone, Fit.COVER, (64, 48), Colour(), cache) is not first
