"""`bodypix`: a segmenter of whole bodies, MobileNetV1 0.50 with stride 16, for comparison.

Its answer is coarse (15 x 20 cells of 16 px): what is finer comes from matte.py alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from service.frame.grid import Cutter
from service.frame.mask import MaskFault, Refusal
from service.frame.person.answer import alpha_of_logits, pasted
from service.frame.person.source import FaceUse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from service.frame.faces import Face
    from service.frame.grid import Grid
    from service.frame.person.source import Networks
    from service.frame.planes import U8
    from service.frame.region import Box

INPUT_WIDTH, INPUT_HEIGHT = 320, 240
STRIDE = 16
FIRST_PX = 15
"""Column and row of the pixel that the first cell speaks of: TensorFlow pads an even input at its
right and lower end only, which moves the cells of each halving by half of a pixel of its own."""
COLUMNS, ROWS = 20, 15
FINER = 4
"""Logits are interpolated to so many cells a cell: between them the person's edge is a line."""


class BodyPix:
    """The segmenter, shown a part of the frame."""

    looks_closer = True
    faces = FaceUse.NEVER

    def __init__(self, networks: Networks) -> None:
        self._network = networks["bodypix"]
        self._cutter = Cutter(INPUT_WIDTH, INPUT_HEIGHT)

    def reset(self) -> None:
        """It knows nothing of the frames before."""

    def input_aspect(self, grid: Grid) -> float:
        return INPUT_WIDTH / INPUT_HEIGHT

    def probability(self, grid: Grid, box: Box, faces: Sequence[Face]) -> U8:
        answer = self._network.run(self._cutter.cut(grid, box))[0]
        if answer.size != ROWS * COLUMNS:
            raise MaskFault(Refusal.WRONG_SIZE)
        logits = _spread(answer.reshape(ROWS, COLUMNS))
        return pasted(alpha_of_logits(logits, FINER * COLUMNS, FINER * ROWS), grid, box)


def _spread(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """FINER times as many cells over the whole of the input.

    The network's cells do not reach the input's upper and left end: the outermost go on there.
    """
    step = 1.0 / FINER
    # The middle of the first new cell, in the network's.
    first = ((STRIDE * step - 1.0) / 2 - FIRST_PX) / STRIDE
    back = np.array([[step, 0.0, first], [0.0, step, first]])
    size = (FINER * COLUMNS, FINER * ROWS)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    spread = cv2.warpAffine(logits, back, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(spread, np.float32)
