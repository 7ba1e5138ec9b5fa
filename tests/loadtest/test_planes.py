"""Planes are the picture's own memory, and green is what swscale makes of it."""

from __future__ import annotations

import av
import numpy as np
import pytest

from loadtest.planes import GREEN, GREEN_YUV, planes_of, yuv_of


@pytest.mark.parametrize("colour", [GREEN, "#000000", "#ffffff", "#c83214"])
def test_a_colour_is_what_swscale_makes_of_it(colour: str) -> None:
    rgb = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    picture = av.VideoFrame.from_ndarray(
        np.full((16, 16, 3), rgb, np.uint8), format="rgb24"
    ).reformat(format="yuv420p")
    found = [int(plane[4, 4]) for plane in planes_of(picture)]
    assert np.abs(np.subtract(found, yuv_of(colour))).max() <= 1


def test_green_is_far_from_grey() -> None:
    assert GREEN_YUV[1] < 110
    assert GREEN_YUV[2] < 80


def test_planes_are_the_pictures_own_memory() -> None:
    picture = av.VideoFrame(38, 22, "yuv420p")  # rows of 38 bytes are padded
    planes = planes_of(picture)
    assert [plane.shape for plane in planes] == [(22, 38), (11, 19), (11, 19)]
    for level, plane in zip((10, 20, 30), planes, strict=True):
        plane[:] = level
    packed = picture.to_ndarray()
    assert (packed[:22] == 10).all()
    assert set(np.unique(packed[22:])) == {20, 30}
