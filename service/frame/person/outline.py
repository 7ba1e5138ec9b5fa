"""`blazeface`: head and shoulders drawn from the face's box and key points, bellFace's way.

The face network is the only one that runs, and attention.py runs it. What it says of a face is
turned into an average person's outline (figure.py), and the picture's own colours pull the outline
to the real edge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from service.frame.person.colours import Colours
from service.frame.person.figure import SHRINK, Figure, heads_of
from service.frame.person.source import FaceUse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.frame.faces import Face
    from service.frame.grid import Grid
    from service.frame.planes import U8
    from service.frame.region import Box


class Outline:
    """People drawn around their faces."""

    looks_closer = False
    faces = FaceUse.ALWAYS

    def __init__(self) -> None:
        self._figure = Figure()
        self._colours = Colours()

    def reset(self) -> None:
        self._colours.reset()

    def input_aspect(self, grid: Grid) -> float:
        """The face network is shown the whole picture."""
        width, height = grid.size
        return width / height

    def probability(self, grid: Grid, box: Box, faces: Sequence[Face]) -> U8:
        width, height = grid.size
        canvas = max(1, width // SHRINK), max(1, height // SHRINK)
        heads = heads_of(faces, canvas)
        if not heads:
            return np.zeros((height, width), np.uint8)
        return self._colours.weigh(self._figure.logits(heads, *canvas), grid)
