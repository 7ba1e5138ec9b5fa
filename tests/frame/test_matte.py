"""The matte over time: steady where nothing moves, quick where something does, fresh when it must
be; and on the test media as good as docs/models.md says."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from service.frame.grid import Grid
from service.frame.mask import MAX_AGE_FRAMES, Refusal
from service.frame.matte import Matte, MatteParameters
from service.frame.models import Models
from service.frame.pipeline import Look, Pipeline
from service.frame.planes import view
from service.modelcards import MODELS_DIRECTORY
from service.policy.effects import Color
from tests.frame import metrics
from tests.frame.scenes import U8, figure, frame_of, room, scene

if TYPE_CHECKING:
    from pathlib import Path

ASPECT = 256 / 144
PERSON = figure(320, 180)


def grid_of(rgb: U8) -> Grid:
    return Grid(view(frame_of(rgb)))


def shown(matte: Matte, grid: Grid, answer: U8, now_s: float | None) -> U8:
    """One frame in which the network, if asked, gives that answer; its alpha."""
    if matte.observe(grid, now_s):
        matte.answer(answer.copy(), None)
    return matte.mask(0.5, ASPECT).alpha.copy()


def test_the_first_frame_is_the_networks_answer() -> None:
    alpha = shown(Matte(), grid_of(scene(640, 360)), PERSON, 0.0)
    assert metrics.iou(alpha, PERSON) > 97


def test_a_still_picture_asks_the_network_every_tenth_frame() -> None:
    matte, grid = Matte(), grid_of(scene(640, 360))
    asked = []
    for index in range(25):
        asked.append(matte.observe(grid, index / 30))
        if asked[-1]:
            matte.answer(PERSON.copy(), None)
        matte.mask(0.5, ASPECT)
    skipped = MatteParameters().most_skipped
    assert [i for i, was in enumerate(asked) if was] == [0, skipped + 1, 2 * (skipped + 1)]


def versions(matte: Matte, pictures: list[U8], start: int) -> list[int | None]:
    """Of the mask in each of these frames, the network giving the same answer throughout."""
    found = []
    for index, rgb in enumerate(pictures, start):
        if matte.observe(grid_of(rgb), index / 30):
            matte.answer(PERSON.copy(), None)
        found.append(matte.mask(0.5, ASPECT).version)
    return found


def settled(matte: Matte, rgb: U8) -> int:
    """Show it until a mask may be kept; frames shown."""
    frames = MatteParameters().settled + 20
    versions(matte, [rgb] * frames, 0)
    return frames


def test_a_mask_is_kept_while_nothing_moves_but_not_for_long() -> None:
    matte, rgb = Matte(), scene(640, 360)
    kept = versions(matte, [rgb] * 60, settled(matte, rgb))
    runs = [len(list(same)) for _, same in itertools.groupby(kept)]
    assert max(runs) == MatteParameters().most_held + 1
    assert len(runs) < 20


def test_movement_inside_the_person_keeps_the_mask_and_at_the_edge_makes_a_new_one() -> None:
    rgb = scene(640, 360)
    ys, xs = np.nonzero(PERSON > 250)
    middle = 2 * int(ys.mean()), 2 * int(xs.mean())
    edge = 2 * int(ys.mean()), 2 * int(xs.max())
    for (y, x), stays in ((middle, True), (edge, False)):
        matte = Matte()
        start = settled(matte, rgb)
        # Right after a new mask, so that its time is not over by itself.
        before = versions(matte, [rgb], start)[0]
        while (newer := versions(matte, [rgb], start := start + 1)[0]) == before:
            pass
        other = rgb.copy()
        other[y - 16 : y + 16, x - 16 : x + 16] ^= 96
        assert (versions(matte, [other], start + 1)[0] == newer) is stays


def test_another_edge_makes_a_new_mask_at_once() -> None:
    matte, rgb = Matte(), scene(640, 360)
    start = settled(matte, rgb)
    found = []
    for index in range(start, start + 4):
        if matte.observe(grid_of(rgb), index / 30):
            matte.answer(PERSON.copy(), None)
        found.append(matte.mask(float(index % 2), ASPECT).version)
    assert len(set(found)) == len(found)


def test_movement_asks_the_network() -> None:
    matte = Matte()
    for index in range(5):
        grid = grid_of(scene(640, 360, centre=(0.4 + 0.02 * index, 0.6)))
        assert matte.observe(grid, index / 30)
        matte.answer(PERSON.copy(), None)
        matte.mask(0.5, ASPECT)


def test_flicker_of_the_network_is_smoothed_where_nothing_moves() -> None:
    """Noise alone moves: the network is asked each time and flickers; the matte hardly does."""
    rng = np.random.default_rng(5)
    matte = Matte()
    alphas = []
    for index in range(20):
        noisy = scene(640, 360).astype(int) + rng.normal(0, 3, (360, 640, 3))
        grid = grid_of(np.clip(noisy, 0, 255).astype(np.uint8))
        answer = np.where(PERSON > 0, 255 if index % 2 else 140, 0).astype(np.uint8)
        matte.observe(grid, index / 30)
        matte.answer(answer, None)
        alphas.append(matte.mask(0.5, ASPECT).alpha.astype(int))
    changes = [float(np.abs(b - a).mean()) for a, b in itertools.pairwise(alphas[15:])]
    flicker = (255 - 140) * float((PERSON > 0).mean())
    assert max(changes) < 0.3 * flicker


def test_where_something_moves_the_new_counts_at_once() -> None:
    matte = Matte()
    for index, x in enumerate((0.3, 0.3, 0.7)):
        alpha = shown(
            matte,
            grid_of(scene(640, 360, centre=(x, 0.6))),
            figure(320, 180, centre=(x, 0.6)),
            index / 30,
        )
    assert metrics.iou(alpha, figure(320, 180, centre=(0.7, 0.6))) > 95


@pytest.mark.parametrize("now_s", [0.7, -0.5])
def test_a_gap_in_time_starts_afresh(now_s: float) -> None:
    matte, grid = Matte(), grid_of(scene(640, 360))
    shown(matte, grid, PERSON, 0.0)
    assert matte.observe(grid, now_s)
    assert matte.fresh


def test_a_short_pause_does_not() -> None:
    matte, grid = Matte(), grid_of(scene(640, 360))
    shown(matte, grid, PERSON, 0.0)
    matte.observe(grid, 0.4)
    assert not matte.fresh


def test_a_cut_starts_afresh() -> None:
    matte = Matte()
    shown(matte, grid_of(scene(640, 360)), PERSON, 0.0)
    other = 255 - scene(640, 360)
    assert matte.observe(grid_of(np.asarray(other, np.uint8)), 1 / 30)
    assert matte.fresh


def test_another_size_starts_afresh() -> None:
    matte = Matte()
    shown(matte, grid_of(scene(640, 360)), PERSON, 0.0)
    alpha = shown(matte, grid_of(scene(360, 640)), figure(180, 320), 1 / 30)
    assert alpha.shape == (320, 180)
    assert metrics.iou(alpha, figure(180, 320)) > 97


def test_a_mask_without_new_answers_grows_old() -> None:
    """As when nobody answers: the age is what composite.py refuses it by."""
    matte, grid = Matte(), grid_of(scene(640, 360))
    shown(matte, grid, PERSON, None)
    ages = []
    for _ in range(MAX_AGE_FRAMES + 1):
        matte.observe(grid, None)
        ages.append(matte.mask(0.5, ASPECT))
    assert ages[MAX_AGE_FRAMES - 1].refusal(640, 360) is None
    assert ages[MAX_AGE_FRAMES].refusal(640, 360) is Refusal.STALE
    matte.observe(grid, None)
    assert matte.fresh


def test_an_empty_answer_is_empty() -> None:
    matte, grid = Matte(), grid_of(room(640, 360))
    alpha = shown(matte, grid, np.zeros_like(PERSON), 0.0)
    assert matte.empty()
    assert not alpha.any()


@dataclass
class Figures:
    """Of one clip."""

    mad: list[float] = field(default_factory=list)
    iou: list[float] = field(default_factory=list)
    dtssd: list[float] = field(default_factory=list)
    kept_out: list[float] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)


WARM_UP = 5  # frames of a clip that the matte figures leave out
SETTLED = 30  # from this frame on the person must be there
EVERY = 6  # leak figures need RGB: each sixth frame is enough


def measured(clip: Path, networks: Models) -> Figures:
    pipeline = Pipeline(networks, Look(Color("#00b140")))
    figures = Figures()
    before: tuple[U8, U8] | None = None
    truth = metrics.gray_frames(clip.with_suffix(".alpha.mkv"))
    with av.open(str(clip)) as container:
        for index, (frame, true) in enumerate(zip(container.decode(video=0), truth, strict=True)):
            result = pipeline.process(frame)
            found = pipeline.alpha()
            if index >= WARM_UP:
                figures.mad.append(metrics.mad(found, true))
                figures.iou.append(metrics.iou(found, true))
                if before is not None:
                    figures.dtssd.append(metrics.dtssd((before[0], found), (before[1], true)))
            before = (found, true)
            if index % EVERY == 0:
                rgb = np.asarray(result.frame.to_ndarray(format="rgb24"), np.uint8)
                colour = (0x00, 0xB1, 0x40)
                figures.kept_out.append(metrics.background_kept_out(rgb, colour, true))
                if index >= SETTLED:
                    figures.kept.append(metrics.person_kept(rgb, colour, true))
            result.release()
    return figures


@pytest.mark.media
@pytest.mark.model
def test_quality_on_the_test_media(media: Path) -> None:
    networks = Models.load(MODELS_DIRECTORY)
    clips = sorted((media / "matte").glob("*.mp4"))
    assert clips
    all_figures = [measured(clip, networks) for clip in clips]

    def means(name: str) -> list[float]:
        return [float(np.mean(getattr(figures, name))) for figures in all_figures]

    assert np.mean(means("mad")) <= 18
    assert np.mean(means("iou")) >= 94
    assert np.mean(means("dtssd")) <= 2.5
    assert min(means("iou")) >= 88
    assert np.mean(means("kept_out")) >= 98
    assert min(means("kept_out")) >= 94
    assert np.mean([figures.kept_out[0] for figures in all_figures]) >= 98
    assert min(means("kept")) >= 97


@pytest.mark.media
@pytest.mark.model
def test_the_same_frames_give_the_same_matte(media: Path) -> None:
    networks = Models.load(MODELS_DIRECTORY)
    clip = sorted((media / "matte").glob("*.mp4"))[0]
    runs = []
    for _ in range(2):
        pipeline = Pipeline(networks, Look(Color("#00b140")))
        with av.open(str(clip)) as container:
            alphas = []
            for _, frame in zip(range(12), container.decode(video=0), strict=False):
                pipeline.process(frame).release()
                alphas.append(pipeline.alpha().tobytes())
        runs.append(alphas)
    assert runs[0] == runs[1]
