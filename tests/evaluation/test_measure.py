"""A clip through the live frame path, with networks that know exactly where the person is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from service.evaluation.clips import find_pairs
from service.evaluation.figures import NAMES
from service.evaluation.measure import Measured, Plan, measure
from service.evaluation.methods import PLAIN
from service.footage import ClipError
from service.frame.look import Look
from service.policy.effects import Color
from tests.evaluation.films import HEIGHT, WIDTH, still, walk, write
from tests.frame.scenes import KeyNetworks, figure, scene

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FRAMES, SKIP = 8, 3
PLAN = Plan(
    looks={"selfie": Look(Color("#00b140", model="selfie"))},
    plain=True,
    every=1,
    skip=SKIP,
    limit=None,
    strips=None,
    worst=4,
)


def measured(folder: Path, plan: Plan = PLAN, networks: KeyNetworks | None = None) -> Measured:
    (pair,) = find_pairs(folder)
    return measure(pair, plan, networks or KeyNetworks())


def test_a_matte_that_is_right_has_good_figures(tmp_path: Path) -> None:
    walk(tmp_path, "walk", FRAMES)
    got = measured(tmp_path)
    assert (got.name, got.still, got.frames) == ("walk", False, FRAMES - SKIP)
    assert (got.width, got.height) == (WIDTH, HEIGHT)
    assert list(got.figures) == ["selfie", PLAIN]
    for figures in got.figures.values():
        assert figures.iou > 90
        assert figures.mad < 30
        assert figures.leak < 1
        assert figures.hole < 1
        assert figures.dtssd is not None
        assert figures.dtssd < 10
        assert figures.cpu_ms > 0


def test_a_matte_that_finds_nobody_cuts_everything_out(tmp_path: Path) -> None:
    walk(tmp_path, "walk", FRAMES)
    networks = KeyNetworks()
    networks.person.answer = np.zeros_like
    got = measured(tmp_path, networks=networks).figures
    for figures in got.values():
        assert (figures.iou, figures.leak) == (0, 0)
        # The whole figure is missing: what is sure of it, which is all, and no less in MAD.
        assert figures.hole > 5
        assert figures.mad == pytest.approx(10 * figures.hole)


def test_a_matte_that_finds_too_much_leaks(tmp_path: Path) -> None:
    walk(tmp_path, "walk", FRAMES)
    networks = KeyNetworks()

    def left_too(found: NDArray[np.float32]) -> NDArray[np.float32]:
        more = found.copy()
        more[:, : more.shape[1] // 4] = 1
        return more

    networks.person.answer = left_too
    figures = measured(tmp_path, networks=networks).figures[PLAIN]
    assert figures.leak == pytest.approx(25, abs=1.5)
    assert figures.hole < 1


def test_the_first_frames_do_not_count(tmp_path: Path) -> None:
    """Of the others each figure is the mean: with a limit of one more, it is that frame's own."""
    walk(tmp_path, "walk", FRAMES)
    singles = [
        measured(tmp_path, replace(PLAN, skip=skip, limit=skip + 1)).figures[PLAIN]
        for skip in range(SKIP, FRAMES)
    ]
    got = measured(tmp_path)
    for name in set(NAMES) - {"cpu_ms"}:
        values = [getattr(single, name) for single in singles]
        assert getattr(got.figures[PLAIN], name) == pytest.approx(np.mean(values)), name


def test_a_clip_that_ends_before_it_counts_is_an_error(tmp_path: Path) -> None:
    walk(tmp_path, "walk", SKIP)
    with pytest.raises(ClipError, match=r"walk\.mp4 has 3 frames, and the first 3 do not count"):
        measured(tmp_path)


def test_a_still_counts_from_its_only_frame(tmp_path: Path) -> None:
    still(tmp_path, "portrait")
    got = measured(tmp_path)
    assert (got.still, got.frames) == (True, 1)
    for figures in got.figures.values():
        assert figures.iou > 90
        assert figures.dtssd is None


def test_an_odd_size_is_measured_whole(tmp_path: Path) -> None:
    write(tmp_path / "odd.alpha.mkv", [figure(321, 181)] * 2)
    write(tmp_path / "odd.mp4", [scene(321, 181)] * 2, pix_fmt="yuv444p")
    got = measured(tmp_path, replace(PLAN, skip=0, strips=tmp_path))
    assert (got.width, got.height) == (321, 181)
    assert got.figures["selfie"].iou > 90
