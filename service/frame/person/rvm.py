"""`rvm`: Robust Video Matting with MobileNetV3, for comparison; it remembers the frames before.

Its memory is tied to places in the picture, so it is always shown the whole of it. Stretched from
4:3 to its input's 16:9 it is worse (MAD 11.9 against 11.3) than with bars beside the picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

import cv2
import numpy as np

from service.frame.mask import MOST_PERSON, MaskFault, Refusal
from service.frame.person.answer import alpha_of, pasted
from service.frame.person.letterbox import Letterbox
from service.frame.person.source import FaceUse
from service.frame.region import WHOLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from service.frame.faces import Face
    from service.frame.grid import Grid
    from service.frame.person.source import Networks
    from service.frame.planes import U8
    from service.frame.region import Box
INPUT_WIDTH, INPUT_HEIGHT = 256, 144


class Remembering(Protocol):
    """What models.Network offers for a network that takes its own last outputs."""

    def run(
        self, image: NDArray[np.uint8], *state: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], ...]: ...

    def first_state(self) -> tuple[NDArray[np.float32], ...]: ...


class Rvm:
    """The network with one track's memory."""

    looks_closer = False
    faces = FaceUse.NEVER

    def __init__(self, networks: Networks) -> None:
        self._network = cast("Remembering", networks["rvm"])
        self._letterbox = Letterbox(INPUT_WIDTH, INPUT_HEIGHT)
        self._state: tuple[NDArray[np.float32], ...] | None = None

    def reset(self) -> None:
        self._state = None

    def input_aspect(self, grid: Grid) -> float:
        return INPUT_WIDTH / INPUT_HEIGHT

    def probability(self, grid: Grid, box: Box, faces: Sequence[Face]) -> U8:
        state = self._state if self._state is not None else self._network.first_state()
        self._state = None  # what a fault leaves behind is not to be gone on from
        answer, *after = self._network.run(self._letterbox.cut(grid), *state)
        width, height = self._letterbox.inner
        alpha = alpha_of(answer, INPUT_WIDTH, INPUT_HEIGHT)[:height, :width]
        if float(cv2.mean(alpha)[0]) > MOST_PERSON * 255:  # the bars may hide it
            raise MaskFault(Refusal.ALL_PERSON)
        self._state = tuple(after)
        return pasted(np.ascontiguousarray(alpha), grid, WHOLE)
