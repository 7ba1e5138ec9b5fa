"""The grid is the frame, smaller; a network's input is cut out of it in the right colours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.frame.grid import GRID_PX, Cutter, Grid, grid_size
from service.frame.planes import view
from tests.frame.scenes import ORANGE, figure, frame_of, scene


@given(width=st.integers(2, 4096), height=st.integers(2, 4096))
def test_grid_sizes_are_bounded_even_and_of_the_frames_shape(width: int, height: int) -> None:
    columns, rows = grid_size(width, height)
    assert 2 <= columns <= max(GRID_PX, 2)
    assert 2 <= rows <= max(GRID_PX, 2)
    if max(width, height) > GRID_PX:
        assert max(columns, rows) == GRID_PX
        assert columns % 2 == rows % 2 == 0
        assert abs(min(columns, rows) - min(width, height) * GRID_PX / max(width, height)) <= 2


@pytest.mark.parametrize(
    "size", [(640, 360), (1280, 720), (1920, 1080), (854, 480), (360, 640), (400, 300), (100, 80)]
)
def test_all_planes_meet_on_the_grid(size: tuple[int, int]) -> None:
    source = view(frame_of(scene(*size)))
    grid = Grid(source)
    columns, rows = grid_size(*size)
    for plane, original in zip((grid.y, grid.u, grid.v), source.each(), strict=True):
        assert plane.shape == (rows, columns)
        assert abs(float(plane.mean()) - float(original.mean())) < 2
    assert all(chain[0] is plane for chain, plane in zip(grid.levels, source.each(), strict=True))


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p"])
def test_a_cut_is_rgb_of_that_part(pix_fmt: str) -> None:
    frame = frame_of(scene(640, 360))
    if pix_fmt == "yuvj420p":
        frame = frame.reformat(format="yuvj420p", dst_color_range="JPEG", src_color_range="MPEG")
    grid = Grid(view(frame))
    rgb = Cutter(64, 36).cut(grid, (0.45, 0.7, 0.55, 0.9))  # inside the person
    assert rgb.shape == (36, 64, 3)
    assert float(np.abs(rgb.astype(int) - ORANGE).max()) <= 6
    whole = Cutter(256, 144).cut(grid, (0.0, 0.0, 1.0, 1.0)).astype(int)
    found = whole[..., 0] - whole[..., 2] > 100
    expected = figure(256, 144) > 0
    assert (found == expected).mean() > 0.98
