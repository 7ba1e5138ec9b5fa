"""The colours of the people and of the room, which pull a drawn outline to the real edge.

An outline is right in the middle of a person and right in the corners of the room. What colours
are there tells how likely each colour in between is a person's: two histograms and the logarithm
of their ratio, added to the outline's logit. What comes out teaches the histograms again, so that
they grow better from frame to frame. Used by outline.py, facemesh.py and posenet.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from service.frame.person.answer import alpha_of_logits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from service.frame.grid import Grid
    from service.frame.planes import U8

LUMA_BITS, CHROMA_BITS = 3, 5
BINS = 1 << (LUMA_BITS + 2 * CHROMA_BITS)
"""8 shades of 32 x 32 hues: finer ones are too rarely met to be learned from one picture."""


@dataclass(frozen=True, slots=True)
class ColourParameters:
    certainty: float = 10.0
    """Power of the probability by which a cell teaches: only what is nearly sure counts. At 3 a
    tenth more of the error is left."""
    least: float = 5e-5
    """Share added to each colour's: one that nobody has seen says nothing."""
    first_passes: int = 3
    """Over the first picture; from then on one a picture. A fourth gains one part in fifty."""
    period: int = 3
    """Pictures between two from which is learned: learning from each would add half to the
    cost of the others."""
    rate: float = 0.4
    """Share of such a picture in what is known: follows a change of light in a third of a second.
    """
    smoothing_px: int = 3
    """Of half the grid: one cell's noise is no edge."""


class Colours:
    """What one track's people and room look like."""

    def __init__(self, parameters: ColourParameters | None = None) -> None:
        p = self._p = parameters or ColourParameters()
        share = np.arange(256) / 255.0
        self._person_weight = share**p.certainty
        self._room_weight = (1.0 - share) ** p.certainty
        steps = np.arange(256)
        hue = np.clip((steps - 64) >> 2, 0, (1 << CHROMA_BITS) - 1)  # 64..192: the rest is rare
        shade = steps >> (8 - LUMA_BITS)
        self._tables = tuple(
            table.astype(np.uint16).reshape(1, 256)
            for table in (shade << 2 * CHROMA_BITS, hue << CHROMA_BITS, hue)
        )
        self.reset()

    def reset(self) -> None:
        self._person: NDArray[np.float64] | None = None
        self._room = np.zeros(BINS)
        self._evidence = np.zeros(BINS, np.float32)
        self._frames = 0

    def weigh(self, logits: NDArray[np.float32], grid: Grid) -> U8:
        """Alpha at the grid's size from an outline's logits, of any size, and this picture's
        colours. Raises MaskFault when it is not a mask."""
        width, height = grid.size
        half = max(1, width // 2), max(1, height // 2)
        logits = np.asarray(cv2.resize(logits, half, interpolation=cv2.INTER_LINEAR), np.float32)
        bins = self._bins(grid, *logits.shape)
        if self._person is None:
            self._learn(bins, alpha_of_logits(logits, *half), 1.0)
            for _ in range(self._p.first_passes - 1):
                self._learn(bins, self._weighed(logits, bins), 1.0)
        alpha = self._weighed(logits, bins)
        self._frames += 1
        if self._frames % self._p.period == 0:
            self._learn(bins, alpha, self._p.rate)
        grown = cv2.resize(alpha, grid.size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(grown, np.uint8)

    def _bins(self, grid: Grid, height: int, width: int) -> NDArray[np.uint16]:
        """Each cell's colour as the histograms' index, height x width."""
        shade, u, v = (
            cv2.LUT(cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA), table)
            for plane, table in zip((grid.y, grid.u, grid.v), self._tables, strict=True)
        )
        return np.asarray(cv2.add(cv2.add(shade, u, dst=shade), v, dst=shade), np.uint16)

    def _weighed(self, logits: NDArray[np.float32], bins: NDArray[np.uint16]) -> U8:
        height, width = logits.shape
        side = self._p.smoothing_px
        evidence = cv2.blur(np.take(self._evidence, bins), (side, side))
        return alpha_of_logits(np.asarray(cv2.add(evidence, logits), np.float32), width, height)

    def _learn(self, bins: NDArray[np.uint16], alpha: U8, rate: float) -> None:
        """From a quarter of the cells: they tell the same."""
        some, sure = bins[::2, ::2].reshape(-1), alpha[::2, ::2].reshape(-1)
        person = _histogram(some, self._person_weight[sure])
        room = _histogram(some, self._room_weight[sure])
        if self._person is None:
            self._person, self._room = person, room
        else:
            self._person += rate * (person - self._person)
            self._room += rate * (room - self._room)
        ratio = (self._person + self._p.least) / (self._room + self._p.least)
        self._evidence = np.log(ratio.astype(np.float32))


def _histogram(bins: NDArray[np.uint16], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each colour's share; all of them 0 where nothing is sure."""
    counted = np.bincount(bins, weights, BINS)
    return counted / max(float(weights.sum()), 1e-9)
