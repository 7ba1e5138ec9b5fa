"""The small picture that all decisions are made on: 320 px along the longer side.

A Grid is built once a frame from the frame's planes by exact 2x area halvings (the only fast case
of INTER_AREA). The levels in between are kept: person.py cuts the network's input out of the one
that fits best, and blur.py starts from the grid itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from service.frame.colour import Colour, rgb_of_yuv

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from service.frame.planes import U8, Planes

GRID_PX = 320
"""Longer side. At 256 edges lose a tenth of their sharpness, at 480 all steps cost twice."""


SMALLEST_PX = 32
"""Shorter side from which the grid is halved for finding movement."""


def grid_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) of the grid for a frame: even, the longer side at most GRID_PX."""
    longer = max(width, height)
    if longer <= GRID_PX:
        return width, height
    return tuple(max(2, round(side * GRID_PX / longer / 2) * 2) for side in (width, height))  # type: ignore[return-value]


class Grid:
    """One frame at grid size. Nothing in it is written to later; finer levels are views or copies.

    Only what every frame needs is made at once: in most frames little moves, and then nobody asks
    for colour. What is asked for later is made from the frame's planes, which must be valid still.
    """

    __slots__ = ("_planes", "_smooth", "_u", "_v", "_y", "coarse", "colour", "size", "y")

    def __init__(self, planes: Planes) -> None:
        self._planes = planes
        self.colour: Colour = planes.colour
        self.size = grid_size(planes.width, planes.height)
        """(width, height)"""
        self._y = _levels(planes.y, self.size)
        self._u: list[U8] | None = None
        self._v: list[U8] | None = None
        self._smooth: U8 | None = None
        self.y: U8 = self._y[-1]
        """H x W, as u and v are."""
        self.coarse: U8 = half(self.y) if min(self.y.shape) > SMALLEST_PX else self.y
        """y at half the grid, for finding movement: noise is averaged away, at a quarter of the
        cost. The grid itself when that is too small to be halved."""

    @property
    def u(self) -> U8:
        return self._chroma()[0][-1]

    @property
    def v(self) -> U8:
        return self._chroma()[1][-1]

    @property
    def smooth(self) -> U8:
        """y after a 3x3 mean, for comparing with the plate: one pixel's noise does not count."""
        if self._smooth is None:
            self._smooth = np.asarray(cv2.blur(self.y, (3, 3)), np.uint8)
        return self._smooth

    @property
    def levels(self) -> tuple[list[U8], list[U8], list[U8]]:
        """Per plane, finest (the frame's own) first, the grid last."""
        return self._y, *self._chroma()

    def _chroma(self) -> tuple[list[U8], list[U8]]:
        if self._u is None or self._v is None:
            self._u = _levels(self._planes.u, self.size)
            self._v = _levels(self._planes.v, self.size)
        return self._u, self._v


def _levels(plane: U8, size: tuple[int, int]) -> list[U8]:
    width, height = size
    chain = [plane]
    while plane.shape[1] >= 2 * width and plane.shape[0] >= 2 * height:
        plane = half(plane)
        chain.append(plane)
    if plane.shape != (height, width):
        # Less than a factor of two is left: linear is fast and hardly aliases.
        chain.append(np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR), np.uint8))
    return chain


def half(plane: U8) -> U8:
    """Half the size, each pixel the mean of four; an odd last row or column is left out."""
    height, width = plane.shape[0] & ~1, plane.shape[1] & ~1
    smaller = np.empty((height // 2, width // 2), np.uint8)
    cv2.resize(
        plane[:height, :width], (width // 2, height // 2), smaller, interpolation=cv2.INTER_AREA
    )
    return smaller


def square_around(
    x: float, y: float, side_px: float, size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """A square around a point (fractions of the picture), pushed into the picture and no larger
    than it; left, top, right, bottom as fractions. size: (width, height) in the px of side_px."""
    width, height = size
    side_px = min(side_px, width, height)
    across, down = side_px / width, side_px / height
    left = min(max(x - across / 2, 0.0), 1.0 - across)
    top = min(max(y - down / 2, 0.0), 1.0 - down)
    return left, top, left + across, top + down


class Cutter:
    """Cuts a part of a frame out as RGB at a network's input size, into buffers of its own.

    The size must be even. Chroma stays at half of it when the frame is BT.601 in limited range,
    which nearly all are: OpenCV has one conversion for that case, and it takes 4:2:0.
    """

    def __init__(self, width: int, height: int) -> None:
        self._size = (width, height)
        self._i420 = np.empty((height * 3 // 2, width), np.uint8)
        chroma = self._i420.reshape(-1)[width * height :].reshape(2, height // 2, width // 2)
        self._small = (self._i420[:height], chroma[0], chroma[1])
        self._large = [np.empty((height, width), np.uint8) for _ in range(3)]
        self._merged = np.empty((height, width, 3), np.uint8)
        self._rgb = np.empty((height, width, 3), np.uint8)

    def cut(self, grid: Grid, box: tuple[float, float, float, float]) -> NDArray[np.uint8]:
        """box: left, top, right, bottom as fractions. The result is valid until the next cut."""
        if grid.colour == Colour():
            for chain, part in zip(grid.levels, self._small, strict=True):
                _cut(chain, box, part)
            cv2.cvtColor(self._i420, cv2.COLOR_YUV2RGB_I420, dst=self._rgb)
        else:
            for chain, part in zip(grid.levels, self._large, strict=True):
                _cut(chain, box, part)
            cv2.merge(self._large, dst=self._merged)
            rgb_of_yuv(self._merged, grid.colour, self._rgb)
        return self._rgb


def _cut(chain: list[U8], box: tuple[float, float, float, float], into: U8) -> None:
    """From the coarsest level that still has into's resolution: no aliasing, least reading."""
    height, width = into.shape
    left, top, right, bottom = box
    plane = next(
        (p for p in reversed(chain) if (right - left) * p.shape[1] >= 0.95 * width), chain[0]
    )
    rows, columns = plane.shape
    x0, x1 = round(left * columns), max(round(right * columns), round(left * columns) + 1)
    y0, y1 = round(top * rows), max(round(bottom * rows), round(top * rows) + 1)
    cv2.resize(plane[y0:y1, x0:x1], (width, height), dst=into, interpolation=cv2.INTER_LINEAR)
