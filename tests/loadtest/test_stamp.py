"""Frame numbers survive what servers do to pictures, and are not seen where there are none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest import stamp
from loadtest.stamp import NUMBERS, Place

SIZES = [(640, 360), (1280, 720), (360, 640), (320, 180), (322, 242)]


@pytest.mark.parametrize(("width", "height"), SIZES)
@given(number=st.integers(0, NUMBERS - 1), x=st.floats(0, 1), y=st.floats(0, 1))
def test_what_is_drawn_is_read(width: int, height: int, number: int, x: float, y: float) -> None:
    luma = np.full((height, width), 120, np.uint8)
    stamp.draw(luma, number, Place(x, y))
    assert stamp.read(luma, Place(x, y)) == number


@given(number=st.integers(0, NUMBERS - 1))
def test_a_dull_and_soft_copy_is_read(number: int) -> None:
    luma = np.full((360, 640), 40, np.uint8)
    stamp.draw(luma, number, Place())
    dull = cv2.GaussianBlur((luma * 0.6 + 50).astype(np.uint8), (0, 0), 2.0)
    assert stamp.read(np.asarray(dull, np.uint8), Place()) == number


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_plain_picture_has_no_number(level: int) -> None:
    assert stamp.read(np.full((360, 640), level, np.uint8), Place()) is None


def test_a_covered_row_has_no_number() -> None:
    luma = np.full((360, 640), 120, np.uint8)
    stamp.draw(luma, 693, Place())
    luma[:, :320] = 90
    assert stamp.read(luma, Place()) is None


def test_a_row_that_is_blurred_away_has_no_number() -> None:
    luma = np.full((360, 640), 120, np.uint8)
    stamp.draw(luma, 693, Place())
    assert stamp.read(np.asarray(cv2.GaussianBlur(luma, (0, 0), 14), np.uint8), Place()) is None


def test_one_wrong_cell_is_no_number() -> None:
    luma = np.full((360, 640), 120, np.uint8)
    stamp.draw(luma, 693, Place())
    other = np.full((360, 640), 120, np.uint8)
    stamp.draw(other, 692, Place())
    # 692 and 693 differ in one bit and in the parity: take the first cell from the other.
    middle = 320 - 13 * 12 // 2 + 2 * 12
    luma[:, middle : middle + 12] = other[:, middle : middle + 12]
    assert stamp.read(luma, Place()) is None


@pytest.mark.parametrize("shares", [(-0.1, 0.5), (0.5, 1.1)])
def test_a_place_is_inside_the_picture(shares: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="shares"):
        Place(*shares)
