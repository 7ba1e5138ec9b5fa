"""A whole picture at a network's fixed size: its proportions kept, black beside or under it.

Used by the models that are always shown the whole picture, whatever its shape: posenet.py, rvm.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from service.frame.grid import Cutter
from service.frame.region import WHOLE

if TYPE_CHECKING:
    from service.frame.grid import Grid
    from service.frame.planes import U8


class Letterbox:
    """Fits pictures into width x height px, at the upper left, into a buffer of its own."""

    def __init__(self, width: int, height: int) -> None:
        self._picture = np.zeros((height, width, 3), np.uint8)
        self._shape = (0, 0)
        self._cutter = Cutter(2, 2)
        self.inner = (2, 2)
        """Width and height of the last picture within the network's."""

    def cut(self, grid: Grid) -> U8:
        """Height x width x 3 RGB, valid until the next cut."""
        if grid.size != self._shape:
            self._shape = grid.size
            self.inner = self._fitted(*grid.size)
            self._cutter = Cutter(*self.inner)
            self._picture[:] = 0
        width, height = self.inner
        self._picture[:height, :width] = self._cutter.cut(grid, WHOLE)
        return self._picture

    def _fitted(self, width: int, height: int) -> tuple[int, int]:
        """Even, as a Cutter wants it."""
        rows, columns = self._picture.shape[:2]
        scale = min(columns / width, rows / height)
        return max(2, round(scale * width) & ~1), max(2, round(scale * height) & ~1)
