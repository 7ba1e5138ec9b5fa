"""A mask and the reasons for which it is none: composite.py takes no other word for it.

Whatever goes wrong upstream (a network that returns nonsense, a mask of another frame size, one
that is too old), the frame is closed rather than shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import cv2
import numpy as np

from service.frame.grid import grid_size

if TYPE_CHECKING:
    from service.frame.planes import U8

MAX_AGE_S = 0.5
"""Media time since a network last saw the person. A walking person moves a body's width in it."""
MAX_AGE_FRAMES = 15
"""The same at 30 frames a second, for streams without timestamps."""
MOST_PERSON = 0.985
"""Share of the frame. Heads close to the camera were seen to reach 0.93; a mask that says yes to
all but a rim is a network that has failed, and would send the frame raw."""
LEAST_PERSON = 0.004
"""Share of the frame: a head 20 px wide in 640x360. Less is specks, not somebody at a camera."""
SOLID = 128  # of 255


class Refusal(Enum):
    """Why a frame was closed."""

    NO_PERSON = "no person"
    ALL_PERSON = "all person"
    WRONG_SIZE = "wrong size"
    NOT_A_NUMBER = "not a number"
    STALE = "stale"
    FAULT = "fault"


class MaskFault(Exception):
    """A network's answer that cannot be a mask."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Mask:
    """How much of each grid cell is person."""

    alpha: U8
    """Grid height x grid width, 0..255. Belongs to the matte, valid until its next frame."""
    age_s: float = 0.0
    """Media time since the network's last answer."""
    age_frames: int = 0
    version: int | None = None
    """The same number again: nothing of alpha has changed since the mask before. None: unknown."""

    def refusal(self, width: int, height: int) -> Refusal | None:
        """Why this is no mask for a frame of that size (px); None when it is one."""
        alpha = self.alpha
        if alpha.dtype != np.uint8 or alpha.shape != grid_size(width, height)[::-1]:
            return Refusal.WRONG_SIZE
        if not (self.age_s <= MAX_AGE_S and self.age_frames <= MAX_AGE_FRAMES):
            return Refusal.STALE
        person = cv2.countNonZero(cv2.threshold(alpha, SOLID - 1, 1, cv2.THRESH_BINARY)[1])
        if person > MOST_PERSON * alpha.size:
            return Refusal.ALL_PERSON
        if person < LEAST_PERSON * alpha.size:
            return Refusal.NO_PERSON
        return None
