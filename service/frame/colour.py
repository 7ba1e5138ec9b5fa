"""What the numbers of Y, U and V mean: BT.601 or BT.709, limited or full range; and RGB from them.

Backgrounds and colours are converted once into the meaning of the frames they go behind, so that
no frame is ever converted. Used by planes.py, background.py and person.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Matrix(Enum):
    """The luma weights (kr, kb) of a YUV encoding."""

    BT601 = (0.299, 0.114)
    BT709 = (0.2126, 0.0722)


@dataclass(frozen=True, slots=True)
class Colour:
    """Matrix and range of a picture's planes; the default is what video says by saying nothing."""

    matrix: Matrix = Matrix.BT601
    full_range: bool = False


@lru_cache(maxsize=8)
def from_rgb(colour: Colour) -> NDArray[np.float64]:
    """3x4 matrix: [R, G, B, 1] (0..255) to [Y, U, V] (0..255)."""
    kr, kb = colour.matrix.value
    kg = 1.0 - kr - kb
    luma, chroma, offset = (1.0, 1.0, 0.0) if colour.full_range else (219 / 255, 224 / 255, 16.0)
    blue, red = chroma / (2 * (1 - kb)), chroma / (2 * (1 - kr))
    return np.array(
        [
            [luma * kr, luma * kg, luma * kb, offset],
            [-blue * kr, -blue * kg, blue * (1 - kb), 128.0],
            [red * (1 - kr), -red * kg, -red * kb, 128.0],
        ]
    )


@lru_cache(maxsize=8)
def to_rgb(colour: Colour) -> NDArray[np.float64]:
    """3x4 matrix: [Y, U, V, 1] to [R, G, B]."""
    forward = from_rgb(colour)
    back = np.linalg.inv(forward[:, :3])
    return np.hstack([back, -back @ forward[:, 3:]])


def rgb_of_yuv(yuv: NDArray[Any], colour: Colour, out: NDArray[Any]) -> NDArray[Any]:
    """H x W x 3 YUV of any one size to RGB, uint8, into out."""
    cv2.transform(yuv, to_rgb(colour), dst=out)
    return out


def yuv_of_rgb(rgb: NDArray[np.uint8], colour: Colour) -> NDArray[Any]:
    """H x W x 3 RGB to YUV, uint8, chroma at full size."""
    return cv2.transform(rgb, from_rgb(colour))
