"""How good a matte is: the figures of service/evaluation, and those that need the sent picture.

alpha: true and found H x W arrays, 0..255 uint8, of the same size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import cv2
import numpy as np

from service.evaluation.figures import dtssd, iou, mad

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from service.evaluation.figures import U8

__all__ = [
    "background_kept_out",
    "dtssd",
    "gray_frames",
    "iou",
    "mad",
    "person_kept",
]

EDGE_PX = 12
"""Distance from a person's edge from which a pixel must be right (leak figures)."""
COLOUR_TOLERANCE = 48
"""Of 255 per RGB channel: an encoder's own error stays well under it."""


def background_kept_out(rgb: U8, colour: tuple[int, int, int], true: U8) -> float:
    """% of surely-background pixels that came back in the colour."""
    away = cv2.dilate((true > 5).astype(np.uint8), _disc(EDGE_PX)) == 0
    return _share(_is_colour(rgb, colour), away)


def person_kept(rgb: U8, colour: tuple[int, int, int], true: U8) -> float:
    """% of surely-person pixels that did not come back in the colour."""
    inside = cv2.erode((true > 250).astype(np.uint8), _disc(EDGE_PX)) > 0
    return _share(~_is_colour(rgb, colour), inside)


def gray_frames(path: Path) -> Iterator[U8]:
    """The frames of a gray video."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="gray"), np.uint8)


def _is_colour(rgb: U8, colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    off = np.abs(rgb.astype(np.int16) - np.array(colour, np.int16)).max(axis=2)
    return np.asarray(off <= COLOUR_TOLERANCE)


def _share(good: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    return 100.0 * float(good[among].mean()) if among.any() else 100.0


def _disc(radius_px: int) -> U8:
    side = 2 * radius_px + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)
