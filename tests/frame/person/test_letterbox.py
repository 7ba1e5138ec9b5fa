"""A whole picture in a network's input keeps its proportions."""

from __future__ import annotations

import numpy as np
import pytest

from service.frame.person.letterbox import Letterbox
from tests.frame.person.made import blank, grid_of


@pytest.mark.parametrize(
    ("size", "inner"),
    [
        ((640, 360), (256, 144)),
        ((640, 480), (192, 144)),
        ((360, 640), (80, 144)),
        ((640, 160), (256, 64)),
        ((64, 64), (144, 144)),
    ],
)
def test_proportions(size: tuple[int, int], inner: tuple[int, int]) -> None:
    box = Letterbox(256, 144)
    picture = box.cut(blank(*size))
    assert picture.shape == (144, 256, 3)
    assert box.inner == inner
    assert picture[inner[1] :].max(initial=0) == 0
    assert picture[:, inner[0] :].max(initial=0) == 0
    assert picture[: inner[1], : inner[0]].mean() > 20


def test_another_size_leaves_nothing_of_the_one_before() -> None:
    box = Letterbox(256, 144)
    white = np.full((360, 640, 3), 255, np.uint8)
    box.cut(grid_of(white))
    after = box.cut(grid_of(np.ascontiguousarray(white.swapaxes(0, 1))))
    assert after[:, 80:].max() == 0


@pytest.mark.parametrize("size", [(2, 2), (1280, 2)])
def test_the_smallest_pictures(size: tuple[int, int]) -> None:
    assert Letterbox(513, 289).cut(blank(*size)).shape == (289, 513, 3)
