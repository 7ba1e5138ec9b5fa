"""Person probability of a frame, at the grid's size, from the network that fits its shape.

Gets the grid and the region to look at; returns what the network says, checked for being a mask
at all. Time, edges and components are matte.py's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np

from service.frame.grid import Cutter, Grid
from service.frame.mask import MOST_PERSON, MaskFault, Refusal
from service.frame.region import WHOLE, Box

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from service.frame.planes import U8

LANDSCAPE = ("selfie_landscape", 256, 144)
GENERAL = ("selfie_general", 256, 256)
NOISE = 3  # of 255: what the networks say of plain background


class Network(Protocol):
    """What models.py offers; tests bring their own."""

    def run(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]: ...


class Networks(Protocol):
    """Networks by name."""

    def __getitem__(self, name: str) -> Network: ...


class Person:
    """The person network of one track."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._cutters: dict[str, Cutter] = {}

    @staticmethod
    def input_aspect(grid: Grid) -> float:
        """Width over height, in px, of the input of the network used for this frame."""
        _, width, height = _choice(grid)
        return width / height

    def probability(self, grid: Grid, box: Box) -> U8:
        """H x W of the grid, 0..255; outside the box nobody is.

        Raises MaskFault when the network's answer is not a mask: not a number, of a wrong size,
        or person all over.
        """
        name, width, height = _choice(grid)
        cutter = self._cutters.get(name)
        if cutter is None:
            cutter = self._cutters[name] = Cutter(width, height)
        answer = self._networks[name].run(cutter.cut(grid, box))[0]
        probability = np.asarray(answer).reshape(-1)
        if probability.size != width * height:
            raise MaskFault(Refusal.WRONG_SIZE)
        total = float(probability.sum())
        if not np.isfinite(total):  # one NaN or infinity makes the sum one
            raise MaskFault(Refusal.NOT_A_NUMBER)
        if total > MOST_PERSON * probability.size:
            raise MaskFault(Refusal.ALL_PERSON)
        cells = np.clip(probability.reshape(height, width), 0.0, 1.0, dtype=np.float32)
        alpha: U8 = cv2.convertScaleAbs(cells, alpha=255.0)
        return _pasted(alpha, grid, box)


def _choice(grid: Grid) -> tuple[str, int, int]:
    width, height = grid.size
    # The landscape network costs 1.4 ms where the general one costs 2.6, and is the better one even
    # on a 512x480 clip (MAD 40 against 55).
    return LANDSCAPE if width > height else GENERAL


def _pasted(alpha: U8, grid: Grid, box: Box) -> U8:
    columns, rows = grid.size
    cv2.threshold(alpha, NOISE, 0, cv2.THRESH_TOZERO, dst=alpha)
    if box == WHOLE:
        whole = cv2.resize(alpha, (columns, rows), interpolation=cv2.INTER_LINEAR)
        return np.asarray(whole, np.uint8)
    left, top, right, bottom = box
    x0, x1 = round(left * columns), max(round(right * columns), round(left * columns) + 1)
    y0, y1 = round(top * rows), max(round(bottom * rows), round(top * rows) + 1)
    pasted = np.zeros((rows, columns), np.uint8)
    cv2.resize(alpha, (x1 - x0, y1 - y0), dst=pasted[y0:y1, x0:x1], interpolation=cv2.INTER_LINEAR)
    return pasted
