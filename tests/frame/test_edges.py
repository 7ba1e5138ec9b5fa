"""A coarse edge moves to where the picture has one; flat parts stay flat."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from service.frame.edges import EdgeParameters, Edges


def test_the_edge_moves_to_the_pictures_edge() -> None:
    luma = np.full((180, 320), 60, np.uint8)
    luma[:, 160:] = 180
    coarse = np.zeros((180, 320), np.uint8)
    coarse[:, 162:] = 255  # 2 px off
    coarse = np.asarray(cv2.blur(coarse, (5, 5)), np.uint8)
    out = np.empty_like(coarse)
    Edges().refine(luma, coarse, 0.5, out)
    middle = out[90]
    before = int(np.abs(coarse[90].astype(int) - (luma[90] > 100) * 255).sum())
    after = int(np.abs(middle.astype(int) - (luma[90] > 100) * 255).sum())
    assert after < 0.8 * before
    assert not middle[:140].any()
    assert (middle[180:] == 255).all()


@pytest.mark.parametrize(("edge", "width_px"), [(0.0, 6), (0.5, 10), (1.0, 15)])
def test_the_edge_option_sets_the_width(edge: float, width_px: int) -> None:
    luma = np.full((180, 320), 60, np.uint8)
    ramp = np.clip((np.arange(320) - 150) * 16, 0, 255).astype(np.uint8)
    out = np.empty((180, 320), np.uint8)
    Edges().refine(luma, np.tile(ramp, (180, 1)), edge, out)
    assert abs(int(((out[90] > 0) & (out[90] < 255)).sum()) - width_px) <= 2


def test_low_and_high_stay_in_order() -> None:
    for edge in (0.0, 0.5, 1.0):
        low, high = EdgeParameters().stretch(edge)
        assert 0.0 < low < high < 1.0


@pytest.mark.parametrize("alpha", [np.zeros((40, 60), np.uint8), np.eye(40, 60, dtype=np.uint8)])
def test_nobody_and_specks_become_nothing(
    alpha: np.ndarray[tuple[int, int], np.dtype[np.uint8]],
) -> None:
    out = np.full((40, 60), 9, np.uint8)
    Edges().refine(np.full((40, 60), 90, np.uint8), alpha, 0.5, out)
    assert not out.any()
