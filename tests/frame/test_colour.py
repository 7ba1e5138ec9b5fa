"""Colours survive the way into planes and back, in every meaning that planes can have."""

from __future__ import annotations

import av
import numpy as np
import pytest

from service.frame.colour import Colour, Matrix, rgb_of_yuv, yuv_of_rgb
from tests.frame.scenes import room

MEANINGS = [Colour(matrix, full_range=full) for matrix in Matrix for full in (False, True)]


@pytest.mark.parametrize("colour", MEANINGS, ids=str)
def test_rgb_comes_back(colour: Colour) -> None:
    rgb = room(40, 30)
    rgb[0, :6] = [(0, 177, 64), (255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 0, 255), (1, 2, 3)]
    back = rgb_of_yuv(yuv_of_rgb(rgb, colour), colour, np.empty_like(rgb))
    assert int(np.abs(back.astype(int) - rgb).max()) <= 2


@pytest.mark.parametrize("colour", MEANINGS, ids=str)
def test_numbers_are_those_of_ffmpeg(colour: Colour) -> None:
    rgb = np.full((16, 16, 3), (0, 177, 64), np.uint8)
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
        format="yuv444p",
        dst_colorspace="ITU709" if colour.matrix is Matrix.BT709 else "ITU601",
        dst_color_range="JPEG" if colour.full_range else "MPEG",
    )
    theirs = [int(np.frombuffer(memoryview(plane), np.uint8)[0]) for plane in frame.planes]
    ours = [int(value) for value in yuv_of_rgb(rgb, colour)[0, 0]]
    assert ours == pytest.approx(theirs, abs=1)
