"""Light on the person: a dark face is brightened gently, the room behind stays as it is.

One curve for all of the person, a power of luma with its ends held, so that black stays black and
nothing clips; chroma goes some of the way along, or skin would turn grey. The curve follows the
face's own brightness over seconds and stands still while that hardly changes: the picture never
pumps. Faces that are bright enough are left alone, and no face is lifted by more than MOST: it is
light that is corrected, not anybody's skin. Used by staging.py.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from service.frame.blend import person_box
from service.frame.planes import U8, Planes, empty

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.frame.colour import Colour
    from service.frame.faces import Face
    from service.frame.grid import Grid

TARGET = 0.48
"""Mean luma of a well lit face, of 0 (black) to 1 (white)."""
MOST = 0.6
"""Least power of luma: a face of .25 comes to .44."""
INNER = 0.2
"""Of a face's box that is left out on each side: hair and room."""
MARGIN = 0.04
"""Change of the power that is wanted from which the curve moves."""
FOLLOW_S = 1.2
"""Time constant of the curve."""
ARRIVED = 0.004
"""Power so near to its goal that it is there: half a level of 255."""
COLOUR = 0.5
"""Share of the lift at the face that its colours are given too."""
LONGEST_STEP_S = 0.2


class Light:
    """Of one track."""

    def __init__(self) -> None:
        self._lit: Planes | None = None
        self._curve: tuple[tuple[float, Colour], U8, U8] | None = None
        self.reset()

    def reset(self) -> None:
        """No correction: it begins anew, and comes in slowly."""
        self.power = self._goal = 1.0
        self._face = TARGET
        self._amount = 0.0
        self._now_s: float | None = None

    def follow(self, grid: Grid, faces: Sequence[Face], now_s: float, light: float) -> None:
        """Another picture, of that media time. light: the effect's option, 0 to 1. Without a face
        the curve stays as it is."""
        step_s = 0.0 if self._now_s is None else min(max(now_s - self._now_s, 0.0), LONGEST_STEP_S)
        self._now_s = now_s
        if faces:
            self._face = brightness(grid, max(faces, key=lambda face: face.area))
        wanted = 1.0 + light * (power_for(self._face) - 1.0)
        if abs(wanted - self._goal) > MARGIN or light != self._amount:
            self._goal, self._amount = wanted, light
        if abs(self.power - self._goal) < ARRIVED:
            self.power = self._goal
        else:
            self.power += (1.0 - math.exp(-step_s / FOLLOW_S)) * (self._goal - self.power)

    def apply(self, source: Planes, alpha: U8) -> Planes:
        """The picture with the curve on it where alpha (the grid's size) is not 0, and anything
        elsewhere; valid until the next one."""
        lit = self._lit
        if lit is None or lit.size != source.size or lit.colour != source.colour:
            lit = self._lit = empty(*source.size, source.colour)
        luma, chroma = self._curves(source.colour)
        left, top, right, bottom = person_box(alpha, *source.size)
        for number, (plane, into) in enumerate(zip(source.each(), lit.each(), strict=True)):
            shift = int(number > 0)
            part = slice(top >> shift, bottom >> shift), slice(left >> shift, right >> shift)
            cv2.LUT(plane[part], chroma if number else luma, dst=into[part])
        return lit

    def _curves(self, colour: Colour) -> tuple[U8, U8]:
        """Tables of luma and of chroma, made anew when the power changes."""
        key = (self.power, colour)
        if self._curve is None or self._curve[0] != key:
            black, white = (0.0, 255.0) if colour.full_range else (16.0, 235.0)
            level = np.arange(256, dtype=np.float64)
            share = np.clip((level - black) / (white - black), 0.0, 1.0)
            luma = np.where(
                (level < black) | (level > white),
                level,
                black + (white - black) * share**self.power,
            )
            lift = self._face ** (self.power - 1.0)
            gain = 1.0 + COLOUR * (lift - 1.0)
            chroma = 128.0 + gain * (level - 128.0)
            self._curve = key, _bytes(luma), _bytes(chroma)
        return self._curve[1], self._curve[2]


def brightness(grid: Grid, face: Face) -> float:
    """Mean luma of a face's middle, 0 (black) to 1 (white)."""
    rows, columns = grid.y.shape
    width, height = face.right - face.left, face.bottom - face.top
    left, right = face.left + INNER * width, face.right - INNER * width
    top, bottom = face.top + INNER * height, face.bottom - INNER * height
    x0 = min(max(round(left * columns), 0), columns - 1)
    y0 = min(max(round(top * rows), 0), rows - 1)
    x1, y1 = max(round(right * columns), x0 + 1), max(round(bottom * rows), y0 + 1)
    level = float(grid.y[y0:y1, x0:x1].mean())
    black, white = (0.0, 255.0) if grid.colour.full_range else (16.0, 235.0)
    return min(max((level - black) / (white - black), 0.02), 0.98)


def power_for(face: float) -> float:
    """The power of luma that brings a face of that brightness to the target, as far as it may."""
    return min(max(math.log(TARGET) / math.log(face), MOST), 1.0)


def _bytes(table: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> U8:
    return np.asarray(np.clip(np.rint(table), 0, 255), np.uint8).reshape(1, 256)
