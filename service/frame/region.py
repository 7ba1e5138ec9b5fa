"""Where to look for the person in the next frame: a smoothed box around the last mask.

Feeding the network the person's surroundings instead of the whole frame is worth 2.5 to 4 points
of MAD (x 1000) on the test clips: more of its few input pixels fall on the person's edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from service.frame.planes import U8

WIDTH, HEIGHT = 64, 36  # the mask is looked at this small: single stray pixels do not count
SOLID = 100  # of 255: a cell of the small mask is person


@dataclass(frozen=True, slots=True)
class RegionParameters:
    """Margins as in the measured recipe; they hold a quick movement of the head or an arm."""

    margin_x: float = 0.15
    """Of the person's width, on each side."""
    margin_top: float = 0.15
    margin_bottom: float = 0.25
    """Of the person's height. Legs that were missed are found only if they are looked at."""
    narrowest: float = 0.45
    widest: float = 1.24
    """Aspect of the box over the aspect of the network's input: more distortion hurts."""
    follow: float = 0.3
    """Share of the way to the new box that is gone each frame: a jumping input flickers."""


Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


class Region:
    """The box that the network looks at, left, top, right, bottom as fractions of the frame."""

    def __init__(self, parameters: RegionParameters | None = None) -> None:
        self._parameters = parameters or RegionParameters()
        self._target: Box = WHOLE
        self._frames = 0
        self.box: Box = WHOLE

    def reset(self) -> None:
        self.box = self._target = WHOLE
        self._frames = 0

    def jump(self, alpha: U8, input_aspect: float) -> None:
        """Go to the person at once: after a first look at the whole frame."""
        self.box = self._target = self._around(alpha, input_aspect)

    def follow(self, alpha: U8, input_aspect: float) -> None:
        """Move some of the way towards the person of this mask (grid size, uint8)."""
        if self._frames % 3 == 0:  # people are slow: every third frame is enough
            self._target = self._around(alpha, input_aspect)
        self._frames += 1
        rate = self._parameters.follow
        self.box = tuple(
            now + rate * (then - now) for now, then in zip(self.box, self._target, strict=True)
        )  # type: ignore[assignment]

    def _around(self, alpha: U8, input_aspect: float) -> Box:
        """input_aspect: the network's input width over height, both in px."""
        rows_px, columns_px = alpha.shape
        small = cv2.resize(alpha, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) > SOLID
        rows = np.flatnonzero(small.any(axis=1))
        columns = np.flatnonzero(small.sum(axis=0) >= 2)
        if len(rows) < 2 or len(columns) < 2:
            return WHOLE
        p = self._parameters
        left, right = columns[0] / WIDTH, (columns[-1] + 1) / WIDTH
        top, bottom = rows[0] / HEIGHT, (rows[-1] + 1) / HEIGHT
        width, height = right - left, bottom - top
        left, right = left - p.margin_x * width, right + p.margin_x * width
        top, bottom = top - p.margin_top * height, bottom + p.margin_bottom * height
        width, height = min(1.0, right - left), min(1.0, bottom - top)
        frame_aspect = columns_px / rows_px
        stretch = width / height * frame_aspect / input_aspect
        if stretch < p.narrowest:
            width = min(1.0, width * p.narrowest / stretch)
        elif stretch > p.widest:
            height = min(1.0, height * stretch / p.widest)
        left = min(max((left + right - width) / 2, 0.0), 1.0 - width)
        top = min(max((top + bottom - height) / 2, 0.0), 1.0 - height)
        return (left, top, left + width, top + height)
