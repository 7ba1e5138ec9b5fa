"""What pipeline.py asks of a model, and what a model may ask for."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from service.frame.faces import Face
    from service.frame.grid import Grid
    from service.frame.planes import U8
    from service.frame.region import Box


class FaceUse(Enum):
    """How often a model needs to know where the faces are."""

    NEVER = "never"
    SOMETIMES = "sometimes"
    """A few times a second: they decide whose mask it is."""
    ALWAYS = "always"
    """In each frame that the model is asked about: they are what the mask is made of."""


class Network(Protocol):
    """What models.py offers; tests bring their own."""

    def run(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]: ...


class Networks(Protocol):
    """Networks by name; a name that is not loaded raises ModelError."""

    def __getitem__(self, name: str) -> Network: ...


class Source(Protocol):
    """A model of one track; it may hold what it knows of the frames before."""

    @property
    def faces(self) -> FaceUse: ...

    @property
    def looks_closer(self) -> bool:
        """Whether it is of use to show it the person's surroundings instead of the whole frame."""
        ...

    def input_aspect(self, grid: Grid) -> float:
        """Width over height, in px, of what the model would like to be shown of this frame."""
        ...

    def probability(self, grid: Grid, box: Box, faces: Sequence[Face]) -> U8:
        """How likely each cell is a person: H x W of the grid, 0..255, the caller's own.

        box: the part of the frame to look at; outside it nobody is. Models that do not look
        closer are always given the whole. faces: those in view, the largest first; empty for a
        model that never asks. Raises MaskFault when the model's answer is not a mask: not a
        number, of a wrong size, or person all over.
        """
        ...

    def reset(self) -> None:
        """Forget the frames before: a cut, or another size."""
        ...
