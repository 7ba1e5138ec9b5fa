"""What is measured, and what is wrong with files that do not belong together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from service.evaluation.clips import Pair, find_pairs, read
from service.footage import ClipError
from tests.evaluation.films import HEIGHT, WIDTH, still, walk, write
from tests.frame.scenes import U8, figure

if TYPE_CHECKING:
    from pathlib import Path

FRAMES = 4


def gray(width: int = WIDTH, height: int = HEIGHT) -> U8:
    return np.zeros((height, width), np.uint8)


def only(folder: Path) -> Pair:
    (pair,) = find_pairs(folder)
    return pair


def test_clips_come_before_stills_and_strays_are_left_alone(tmp_path: Path) -> None:
    for name in ("b.mp4", "b.alpha.mkv", "a.mp4", "a.alpha.mkv", "c.jpg", "c.png"):
        (tmp_path / name).touch()
    for stray in ("d.mp4", "e.alpha.mkv", "f.jpg", "g.png", "h.txt"):
        (tmp_path / stray).touch()
    pairs = find_pairs(tmp_path)
    assert [(pair.name, pair.still) for pair in pairs] == [("a", False), ("b", False), ("c", True)]
    assert pairs[0].alpha == tmp_path / "a.alpha.mkv"


def test_a_folder_without_pairs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match=re.escape(f"{tmp_path} has no NAME.mp4")):
        find_pairs(tmp_path)
    with pytest.raises(ClipError, match="is not a folder"):
        find_pairs(tmp_path / "none")


def test_frames_come_with_their_alpha(tmp_path: Path) -> None:
    walk(tmp_path, "a", FRAMES)
    got = list(read(only(tmp_path)))
    assert len(got) == FRAMES
    for index, (frame, true) in enumerate(got):
        assert (frame.width, frame.height) == (WIDTH, HEIGHT)
        assert np.array_equal(true, figure(WIDTH, HEIGHT, centre=(0.4 + 0.01 * index, 0.6)))


def test_a_limit_ends_a_clip_early(tmp_path: Path) -> None:
    walk(tmp_path, "a", FRAMES, alphas=[gray()] * 3)
    assert len(list(read(only(tmp_path), limit=3))) == 3


def test_a_still_is_a_clip_of_one_frame(tmp_path: Path) -> None:
    still(tmp_path, "a")
    ((frame, true),) = read(only(tmp_path))
    assert (frame.width, frame.height) == (WIDTH, HEIGHT)
    assert np.array_equal(true, figure(WIDTH, HEIGHT))


@pytest.mark.parametrize(
    ("alphas", "message"),
    [
        ([gray()] * (FRAMES - 1), "a.alpha.mkv has 3 frames, a.mp4 has more"),
        ([gray()] * (FRAMES + 1), "a.alpha.mkv has more frames than a.mp4, which has 4"),
        ([gray(64, 48)] * FRAMES, "a.alpha.mkv is 64x48, a.mp4 is 320x180"),
    ],
)
def test_an_alpha_of_another_clip_is_named(tmp_path: Path, alphas: list[U8], message: str) -> None:
    walk(tmp_path, "a", FRAMES, alphas=alphas)
    for limit in (None, FRAMES + 1):
        with pytest.raises(ClipError, match=re.escape(message)):
            list(read(only(tmp_path), limit))


def test_an_alpha_with_colour_is_named(tmp_path: Path) -> None:
    walk(tmp_path, "a", FRAMES)
    write(tmp_path / "a.alpha.mkv", [gray()] * FRAMES, pix_fmt="yuv420p")
    with pytest.raises(ClipError, match=re.escape("a.alpha.mkv is yuv420p")):
        list(read(only(tmp_path)))


@pytest.mark.parametrize("broken", ["a.mp4", "a.alpha.mkv"])
def test_a_broken_file_is_named(tmp_path: Path, broken: str) -> None:
    walk(tmp_path, "a", FRAMES)
    (tmp_path / broken).write_bytes(b"not a video at all" * 50)
    with pytest.raises(ClipError, match=re.escape(f"{broken} cannot be decoded")):
        list(read(only(tmp_path)))
