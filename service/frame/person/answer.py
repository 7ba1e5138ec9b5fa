"""A network's answer as a mask: checked for being one at all, and put where it belongs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from service.frame.mask import MOST_PERSON, MaskFault, Refusal
from service.frame.region import WHOLE, Box

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from service.frame.grid import Grid
    from service.frame.planes import U8

NOISE = 3  # of 255: what the networks say of plain background


def alpha_of(answer: NDArray[np.float32], width: int, height: int) -> U8:
    """height x width probabilities, 0..1, in any shape of that many, as 0..255.

    Raises MaskFault when there are more or fewer, when one is not a number, and when they say
    that all but a rim is person.
    """
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
    return alpha


def pasted(alpha: U8, grid: Grid, box: Box) -> U8:
    """alpha, which is of that box, at the grid's size; nobody outside. Writes to alpha."""
    columns, rows = grid.size
    cv2.threshold(alpha, NOISE, 0, cv2.THRESH_TOZERO, dst=alpha)
    if box == WHOLE:
        whole = cv2.resize(alpha, (columns, rows), interpolation=cv2.INTER_LINEAR)
        return np.asarray(whole, np.uint8)
    left, top, right, bottom = box
    x0, x1 = round(left * columns), max(round(right * columns), round(left * columns) + 1)
    y0, y1 = round(top * rows), max(round(bottom * rows), round(top * rows) + 1)
    grown = np.zeros((rows, columns), np.uint8)
    cv2.resize(alpha, (x1 - x0, y1 - y0), dst=grown[y0:y1, x0:x1], interpolation=cv2.INTER_LINEAR)
    return grown
