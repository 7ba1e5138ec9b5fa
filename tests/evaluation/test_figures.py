"""Each figure on arrays small enough to be worked out by hand."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from service.evaluation import figures
from service.evaluation.figures import U8, Figures, Tally, frame_figures, mean

SIDE = 20


def flat(value: int) -> U8:
    return np.full((SIDE, SIDE), value, np.uint8)


def half() -> U8:
    """Person from column 10 on, with a hard edge."""
    true = flat(0)
    true[:, 10:] = 255
    return true


def quarter(value: int, other: int = 0) -> U8:
    made = flat(other)
    made[:10, :10] = value
    return made


def test_mad_is_the_mean_error() -> None:
    # A fifth of full scale, wrong on a quarter of the pixels.
    assert figures.mad(quarter(51), flat(0)) == pytest.approx(1000 * 0.2 / 4)
    assert figures.mad(flat(0), quarter(51)) == pytest.approx(1000 * 0.2 / 4)
    assert figures.mad(half(), half()) == 0


def test_mse_is_the_mean_squared_error() -> None:
    assert figures.mse(quarter(51), flat(0)) == pytest.approx(1000 * 0.2**2 / 4)
    assert figures.mse(flat(0), flat(255)) == pytest.approx(1000)


def test_iou_counts_pixels_above_half() -> None:
    found = flat(0)
    found[:, 5:15] = 128  # 10 columns, 5 of which are among the 10 true ones
    assert figures.iou(found, half()) == pytest.approx(100 * 5 / 15)
    assert figures.iou(flat(127), half()) == 0
    assert figures.iou(flat(0), flat(127)) == 100


@pytest.mark.parametrize(("column", "error"), [(4, 0.0), (5, 20.0), (14, 20.0), (15, 0.0)])
def test_the_band_reaches_four_pixels_from_a_hard_edge(column: int, error: float) -> None:
    # Columns 9 and 10 are the edge, so the band is columns 5 to 14: one of ten is wrong by 0.2.
    found = half()
    found[:, column] = 51 if column < 10 else 204
    assert figures.band(found, half()) == pytest.approx(error)


def test_soft_pixels_are_edge() -> None:
    true = flat(0)
    true[10, 10] = 1
    on_the_rim, outside = true.copy(), true.copy()
    on_the_rim[10, 14] = 255
    outside[10, 15] = 255
    assert (figures.band(on_the_rim, true) or 0) > 0
    assert figures.band(outside, true) == 0


@pytest.mark.parametrize("value", [0, 255])
def test_there_is_no_band_without_an_edge(value: int) -> None:
    assert figures.band(flat(100), flat(value)) is None


@pytest.mark.parametrize(
    ("found", "true", "leak"), [(255, 0, 25), (128, 5, 25), (127, 5, 0), (255, 6, 0), (0, 0, 0)]
)
def test_leak_is_sure_background_shown_as_person(found: int, true: int, leak: float) -> None:
    assert figures.leak(quarter(found), quarter(true)) == leak


@pytest.mark.parametrize(
    ("found", "true", "hole"),
    [(0, 255, 25), (127, 250, 25), (128, 250, 0), (0, 249, 0), (255, 255, 0)],
)
def test_hole_is_sure_person_cut_out(found: int, true: int, hole: float) -> None:
    assert figures.hole(quarter(found, 255), quarter(true, 255)) == hole


def test_dtssd_is_the_change_that_is_not_the_truths() -> None:
    still = (flat(0), flat(0))
    assert figures.dtssd((flat(0), quarter(51)), still) == pytest.approx(100 * (0.2**2 / 4) ** 0.5)
    assert figures.dtssd((flat(51), flat(51)), still) == 0  # wrong, but steadily
    assert figures.dtssd((flat(0), half()), (flat(0), half())) == 0  # changes as the truth does
    # From 0.2 too little to 0.2 too much.
    changes = (flat(100), flat(151)), (flat(151), flat(100))
    assert figures.dtssd(*changes) == pytest.approx(40)


def test_a_frame_has_every_figure() -> None:
    # Half the frame is person, all of which is missing; it was there in the frame before.
    got = frame_figures(flat(0), half(), (half(), half()), 1.5)
    assert asdict(got) == pytest.approx(
        {
            "mad": 500,
            "mse": 500,
            "iou": 0,
            "band": 500,
            "leak": 0,
            "hole": 50,
            "dtssd": 100 * 0.5**0.5,
            "cpu_ms": 1.5,
        }
    )
    assert frame_figures(flat(255), flat(0), None, 0.0).leak == 100
    assert frame_figures(flat(255), flat(0), None, 0.0).dtssd is None


def of(value: float, band: float | None = None) -> Figures:
    return Figures(value, value, value, band, value, value, None, value)


def test_means_leave_out_what_could_not_be_measured() -> None:
    got = mean([of(1, 10), of(2), of(6, 20)])
    assert (got.mad, got.band, got.dtssd) == (3, 15, None)


def test_there_is_no_mean_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        Tally().mean()
