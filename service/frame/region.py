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
    from collections.abc import Sequence

    from service.frame.faces import Face
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


OWN_WIDTH, OWN_HEIGHT, OWN_DOWN = 6.0, 7.0, 2.5
"""Of one person's own region, in widths and heights of the face; its middle is so far down."""

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

    def follow(self, alpha: U8, input_aspect: float, faces: Sequence[Face] = ()) -> None:
        """Move some of the way towards the people of this mask (grid size, uint8).

        faces: of people that are to be seen; one that the mask lacks is looked for there.
        """
        if self._frames % 3 == 0:  # people are slow: every third frame is enough
            self._target = self._around(alpha, input_aspect, faces)
        self._frames += 1
        rate = self._parameters.follow
        self.box = tuple(
            now + rate * (then - now) for now, then in zip(self.box, self._target, strict=True)
        )  # type: ignore[assignment]

    def shift(self, dx: float, dy: float) -> None:
        """The camera was moved, by fractions of the frame: look where everything is now."""
        self.box, self._target = (
            (
                min(max(left + dx, 0.0), 1.0 - (right - left)),
                min(max(top + dy, 0.0), 1.0 - (bottom - top)),
                min(max(right + dx, right - left), 1.0),
                min(max(bottom + dy, bottom - top), 1.0),
            )
            for left, top, right, bottom in (self.box, self._target)
        )

    def _around(self, alpha: U8, input_aspect: float, faces: Sequence[Face] = ()) -> Box:
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
        for face in faces:
            # One that the mask holds changes nothing.
            left, top = min(left, max(0.0, face.left)), min(top, max(0.0, face.top))
            right, bottom = max(right, min(1.0, face.right)), max(bottom, min(1.0, face.bottom))
        width, height = right - left, bottom - top
        left, right = left - p.margin_x * width, right + p.margin_x * width
        top, bottom = top - p.margin_top * height, bottom + p.margin_bottom * height
        width, height = min(1.0, right - left), min(1.0, bottom - top)
        middle = (left + right) / 2, (top + bottom) / 2
        return _fitted(middle, (width, height), columns_px / rows_px / input_aspect, p)


def own_box(face: Face, size: tuple[int, int], input_aspect: float) -> Box:
    """The region of one person alone, from the hair to the hips.

    size: (width, height) of the frame in px, for its shape.
    """
    wide, high = face.right - face.left, face.bottom - face.top
    middle = (face.left + face.right) / 2, face.top + OWN_DOWN * high
    box = min(1.0, OWN_WIDTH * wide), min(1.0, OWN_HEIGHT * high)
    return _fitted(middle, box, size[0] / size[1] / input_aspect, RegionParameters())


def _fitted(
    middle: tuple[float, float], size: tuple[float, float], shape: float, p: RegionParameters
) -> Box:
    """A box of a shape that the network's input bears, inside the frame.

    shape: aspect of the frame over that of the input.
    """
    width, height = size
    stretch = width / height * shape
    if stretch < p.narrowest:
        width = min(1.0, width * p.narrowest / stretch)
    elif stretch > p.widest:
        height = min(1.0, height * stretch / p.widest)
    left = min(max(middle[0] - width / 2, 0.0), 1.0 - width)
    top = min(max(middle[1] - height / 2, 0.0), 1.0 - height)
    return (left, top, left + width, top + height)
