"""A model's answer as a mask: checked for being one at all, and put where it belongs."""

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
MOST_LOGIT = 8.0
"""Either way: 0.9997 is as sure as 8 bits can say."""
_STEPS = 255.0 / (2.0 * MOST_LOGIT)
_SIGMOID = np.rint(255.0 / (1.0 + np.exp(MOST_LOGIT - np.arange(256) / _STEPS))).astype(np.uint8)


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


def alpha_of_logits(logits: NDArray[np.float32], width: int, height: int) -> U8:
    """height x width logits of a person, in any shape of that many, as 0..255.

    Raises MaskFault when there are more or fewer, when one is not a number, and when they say
    that all but a rim is person.
    """
    cells = np.asarray(logits, np.float32).reshape(-1)
    if cells.size != width * height:
        raise MaskFault(Refusal.WRONG_SIZE)
    total = float(cells.sum(dtype=np.float64))
    if not np.isfinite(total):  # one NaN or infinity makes the sum one
        raise MaskFault(Refusal.NOT_A_NUMBER)
    least = np.maximum(cells.reshape(height, width), np.float32(-MOST_LOGIT))
    # 256 steps of a sixteenth and a table in place of exp(); logits over the most saturate.
    steps = cv2.convertScaleAbs(least, alpha=_STEPS, beta=_STEPS * MOST_LOGIT)
    alpha = np.asarray(cv2.LUT(steps, _SIGMOID), np.uint8)
    if float(cv2.mean(alpha)[0]) > MOST_PERSON * 255:
        raise MaskFault(Refusal.ALL_PERSON)
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
