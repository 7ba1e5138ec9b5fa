"""Which files of a folder are measured, and their frames with the alpha that belongs to them.

A clip is NAME.mp4 with NAME.alpha.mkv beside it, a still is NAME.jpg with NAME.png; whatever has no
partner is left alone. Frames are read one by one, so that memory does not grow with a clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from service.footage import ClipError, frames

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import av

    from service.evaluation.figures import U8


@dataclass(frozen=True, slots=True)
class Pair:
    """Something to be measured."""

    name: str
    picture: Path
    alpha: Path
    still: bool
    """One picture: nothing of it is left out, and it cannot flicker."""


def find_pairs(folder: Path) -> list[Pair]:
    """Clips first, then stills, each by name. Raises ClipError when there are none."""
    if not folder.is_dir():
        raise ClipError(f"{folder} is not a folder")
    pairs = [
        *_pairs(folder, ".mp4", ".alpha.mkv", still=False),
        *_pairs(folder, ".jpg", ".png", still=True),
    ]
    if not pairs:
        raise ClipError(
            f"{folder} has no NAME.mp4 with a NAME.alpha.mkv, and no NAME.jpg with a NAME.png"
        )
    return pairs


def _pairs(folder: Path, picture: str, alpha: str, *, still: bool) -> list[Pair]:
    named = ((path, folder / (path.stem + alpha)) for path in sorted(folder.glob("*" + picture)))
    return [Pair(path.stem, path, truth, still) for path, truth in named if truth.is_file()]


def read(pair: Pair, limit: int | None = None) -> Iterator[tuple[av.VideoFrame, U8]]:
    """Each frame and its true alpha, H x W uint8; at most limit of them.

    Raises ClipError, which names the file, for what cannot be decoded, for an alpha that is no
    gray picture or has another size than its frame, and when one file ends before the other.
    """
    truth = frames(pair.alpha)
    count = 0
    for frame, _ in frames(pair.picture):
        if count == limit:
            return
        found = next(truth, None)
        if found is None:
            raise ClipError(f"{pair.alpha} has {count} frames, {pair.picture.name} has more")
        yield frame, _gray(found[0], frame, pair)
        count += 1
    if count == 0:
        raise ClipError(f"{pair.picture} has no video frames")
    if next(truth, None) is not None:
        raise ClipError(f"{pair.alpha} has more frames than {pair.picture.name}, which has {count}")


def _gray(alpha: av.VideoFrame, frame: av.VideoFrame, pair: Pair) -> U8:
    if not alpha.format.name.startswith("gray"):
        raise ClipError(f"{pair.alpha} is {alpha.format.name}: an alpha must be gray")
    if (alpha.width, alpha.height) != (frame.width, frame.height):
        raise ClipError(
            f"{pair.alpha} is {alpha.width}x{alpha.height}, "
            f"{pair.picture.name} is {frame.width}x{frame.height}"
        )
    return np.asarray(alpha.to_ndarray(format="gray"), np.uint8)
