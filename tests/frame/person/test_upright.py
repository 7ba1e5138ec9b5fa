"""A turned square of a frame comes out upright, and points of it go back where they came from."""

from __future__ import annotations

from math import radians

import cv2
import numpy as np
import pytest

from service.frame.grid import Grid
from service.frame.person.upright import Square, UprightCutter
from service.frame.planes import view
from tests.frame.person.made import grid_of
from tests.frame.portrait import astronaut
from tests.frame.scenes import U8, frame_of

FACE = (220.0, 115.0)  # of the astronaut, px of the picture


def turned(angle: float) -> U8:
    """The astronaut turned around her face, clockwise."""
    middle = (FACE[0] - 0.5, FACE[1] - 0.5)  # OpenCV counts from the first pixel's middle
    back = cv2.getRotationMatrix2D(middle, -np.degrees(angle), 1.0)
    return np.asarray(cv2.warpAffine(astronaut(), back, (512, 512)), np.uint8)


def cut(picture: U8, square: Square, side: int = 96) -> U8:
    return UprightCutter(side).cut(grid_of(picture), square).copy()


def around_face(side: float, angle: float = 0.0) -> Square:
    """In the grid, which is 320 wide."""
    return Square(FACE[0] * 320 / 512, FACE[1] * 320 / 512, side, angle)


def test_a_level_square_is_a_part_of_the_picture() -> None:
    found = cut(astronaut(), around_face(60.0))  # 60 of the grid are 96 of the picture
    left, top = round(FACE[0] - 48), round(FACE[1] - 48)
    part = astronaut()[top : top + 96, left : left + 96]
    assert cv2.absdiff(found, part).mean() < 4, "conversion and chroma's halving"


@pytest.mark.parametrize("degrees", [-90, -25, 40, 180])
def test_a_turned_picture_comes_out_upright(degrees: float) -> None:
    angle = radians(degrees)
    upright = cut(astronaut(), around_face(60.0))
    found = cut(turned(angle), around_face(60.0, angle))
    assert cv2.absdiff(found, upright).mean() < 5
    assert cv2.absdiff(cut(turned(angle), around_face(60.0)), upright).mean() > 20


def test_other_colours_than_the_usual_are_converted() -> None:
    full = frame_of(astronaut()).reformat(
        format="yuvj420p", src_colorspace="ITU601", dst_colorspace="ITU601", dst_color_range="JPEG"
    )
    grid = Grid(view(full))
    assert grid.colour != grid_of(astronaut()).colour
    found = UprightCutter(96).cut(grid, around_face(60.0))
    assert cv2.absdiff(found, cut(astronaut(), around_face(60.0))).mean() < 4


def test_outside_the_picture_its_border_goes_on() -> None:
    picture = np.full((180, 320, 3), 128, np.uint8)
    found = cut(picture, Square(0.0, 0.0, 100.0, 0.3))
    assert int(found.max()) - int(found.min()) <= 2


def test_points_go_back() -> None:
    square = Square(x=100.0, y=50.0, side=48.0, angle=radians(90))
    points = np.array([[96, 96, 8], [192, 96, 0], [96, 0, -4]], np.float32)
    expected = [[100, 50, 2], [100, 74, 0], [124, 50, -1]]
    np.testing.assert_allclose(square.to_grid(points, 192), expected, atol=1e-4)
