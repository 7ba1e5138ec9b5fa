"""Cuts a square out of a frame that is turned until what is in it stands upright.

grid.py's Cutter for squares at an angle, which networks of faces want to see. Used by facemesh.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin
from typing import TYPE_CHECKING

import cv2
import numpy as np

from service.frame.colour import Colour, rgb_of_yuv

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from service.frame.grid import Grid
    from service.frame.planes import U8

ENOUGH = 0.95
"""Of the network's resolution: a level of the frame that has as much is read, not a finer one."""


@dataclass(frozen=True, slots=True)
class Square:
    """A square in grid px; it may reach out of the picture."""

    x: float
    y: float
    """Its middle."""
    side: float
    angle: float
    """Radians, clockwise, by which its upper edge is turned from level."""

    def to_grid(self, points: NDArray[np.float32], side_px: int) -> NDArray[np.float32]:
        """N x 3 points in px of the cut square, of that side, to grid px; z by the scale alone."""
        scale = self.side / side_px
        c, s = scale * cos(self.angle), scale * sin(self.angle)
        x, y = points[:, 0] - side_px / 2, points[:, 1] - side_px / 2
        moved = (self.x + c * x - s * y, self.y + s * x + c * y, scale * points[:, 2])
        return np.stack(moved, axis=1, dtype=np.float32)


class UprightCutter:
    """Cuts squares as RGB at a network's input size, into buffers of its own.

    The side must be even. As in grid.py chroma stays at half of it for BT.601 in limited range.
    """

    def __init__(self, side_px: int) -> None:
        self._side = side_px
        self._i420 = np.empty((side_px * 3 // 2, side_px), np.uint8)
        half = side_px // 2
        chroma = self._i420.reshape(-1)[side_px * side_px :].reshape(2, half, half)
        self._small = (self._i420[:side_px], chroma[0], chroma[1])
        self._large = [np.empty((side_px, side_px), np.uint8) for _ in range(3)]
        self._merged = np.empty((side_px, side_px, 3), np.uint8)
        self._rgb = np.empty((side_px, side_px, 3), np.uint8)

    def cut(self, grid: Grid, square: Square) -> U8:
        """Side x side x 3, valid until the next cut; the picture's border goes on outside it."""
        columns = grid.size[0]
        if grid.colour == Colour():
            for chain, part in zip(grid.levels, self._small, strict=True):
                _cut(chain, columns, square, part)
            cv2.cvtColor(self._i420, cv2.COLOR_YUV2RGB_I420, dst=self._rgb)
        else:
            for chain, part in zip(grid.levels, self._large, strict=True):
                _cut(chain, columns, square, part)
            cv2.merge(self._large, dst=self._merged)
            rgb_of_yuv(self._merged, grid.colour, self._rgb)
        return self._rgb


def _cut(chain: list[U8], grid_columns: int, square: Square, into: U8) -> None:
    """From the coarsest level that still has into's resolution: no aliasing, least reading."""
    side = into.shape[0]
    share = square.side / grid_columns  # of the picture's width
    plane = next((p for p in reversed(chain) if share * p.shape[1] >= ENOUGH * side), chain[0])
    finer = plane.shape[1] / grid_columns
    scale = finer * square.side / side
    c, s = scale * cos(square.angle), scale * sin(square.angle)
    # Centres of px: the middle of the cut, side / 2 - 0.5, comes from the middle of the square.
    middle = side / 2 - 0.5
    back = np.array(
        [
            [c, -s, finer * square.x - 0.5 - (c - s) * middle],
            [s, c, finer * square.y - 0.5 - (s + c) * middle],
        ]
    )
    cv2.warpAffine(
        plane,
        back,
        (side, side),
        dst=into,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
