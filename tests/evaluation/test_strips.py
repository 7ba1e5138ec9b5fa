"""The pictures of a clip's worst frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from service.evaluation.figures import U8, frame_figures
from service.evaluation.strips import APART, LABEL_PX, PANE_PX, TITLES, Strip
from service.footage import ClipError
from tests.frame.scenes import figure, frame_of, scene

if TYPE_CHECKING:
    from pathlib import Path

WIDTH, HEIGHT = 320, 180
PANE_HEIGHT = 144


def offered(strip: Strip, index: int, missing: float) -> None:
    """A frame of whose upper part that share is wrong."""
    true = figure(WIDTH, HEIGHT)
    found = true.copy()
    found[: round(missing * HEIGHT)] = 255 - found[: round(missing * HEIGHT)]
    rgb = scene(WIDTH, HEIGHT)
    figures = frame_figures(found, true, None, 0.0)
    strip.offer(index, frame_of(rgb), true, found, rgb, figures)


def read(path: Path) -> U8:
    picture = cv2.imread(str(path))
    assert picture is not None
    return np.asarray(picture[..., ::-1], np.uint8)


def test_the_worst_frames_are_kept_and_no_neighbours() -> None:
    strip = Strip(2)
    for index, missing in [(0, 0.1), (20, 0.3), (24, 0.4), (40, 0.2), (60, 0.05)]:
        offered(strip, index, missing)
    # 24 is worse than its neighbour 20; 40 is worse than 0, which it replaces.
    assert strip.indices == [24, 40]


def test_a_frame_between_two_takes_the_place_of_both() -> None:
    strip = Strip(4)
    offered(strip, 0, 0.1)
    offered(strip, APART, 0.1)
    offered(strip, APART // 2, 0.05)
    assert strip.indices == [0, APART]
    offered(strip, APART // 2, 0.2)
    assert strip.indices == [APART // 2]


@pytest.mark.parametrize("rows", [1, 3])
def test_a_picture_is_small_and_has_a_row_a_frame(tmp_path: Path, rows: int) -> None:
    strip = Strip(rows)
    for index in range(rows):
        offered(strip, index * APART, 0.2)
    strip.write(tmp_path / "a.png", "a")
    picture = read(tmp_path / "a.png")
    assert picture.shape == (
        2 * LABEL_PX + rows * (LABEL_PX + PANE_HEIGHT),
        len(TITLES) * PANE_PX,
        3,
    )


def test_the_error_map_is_red_for_leaks_and_blue_for_holes(tmp_path: Path) -> None:
    strip = Strip(1)
    offered(strip, 0, 1.0)  # all is the wrong way round
    strip.write(tmp_path / "a.png", "a")
    errors = read(tmp_path / "a.png")[3 * LABEL_PX :, 4 * PANE_PX :].astype(int)
    room, body = errors[5, 5], errors[110, 128]
    assert room[0] == 255 > room[2] + 100
    assert body[2] == 255 > body[0] + 100


def test_a_picture_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    strip = Strip(1)
    offered(strip, 0, 0.1)
    with pytest.raises(ClipError, match="cannot be written"):
        strip.write(tmp_path / "no folder" / "a.png", "a")
