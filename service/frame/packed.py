"""The effect `packed`: the person before black in the left half, their alpha in the right one.

A video has no alpha that browsers and encoders agree on; two halves of one picture always fit each
other. Colour times alpha is what the left half holds, so that whoever composes adds
`(1 - alpha) * background` and is done. Used by composite.py and pipeline.py.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from service.frame.planes import U8, Planes
from service.policy.effects import Effect, Packed

if TYPE_CHECKING:
    from service.frame.colour import Colour
    from service.frame.logo import Layout
    from service.frame.planes import Rectangle

BLACK = "#000000"


def across(effect: Effect) -> int:
    """Pictures side by side in what goes out."""
    return 2 if isinstance(effect, Packed) else 1


def halves(planes: Planes) -> tuple[Planes, Planes]:
    """Views of the left and of the right half; the width is a multiple of 4."""
    width = planes.width // 2
    y, u, v = planes.each()
    chroma = width // 2
    return (
        Planes(y[:, :width], u[:, :chroma], v[:, :chroma], planes.colour),
        Planes(y[:, width:], u[:, chroma:], v[:, chroma:], planes.colour),
    )


def draw_matte(into: Planes, box: Rectangle, alpha: U8 | None, logo: Layout | None) -> None:
    """Alpha (0..255, of the box) as grey, black around it. A logo belongs to the picture: it is
    taken in with its own alpha."""
    left, top, right, bottom = box
    into.y[...] = _levels(into.colour)[0, 0]
    if alpha is not None:
        cv2.LUT(alpha, _levels(into.colour), dst=into.y[top:bottom, left:right])
    if logo is not None:
        left, top, right, bottom = logo.box
        part = into.y[top:bottom, left:right]
        below = np.zeros_like(part) if alpha is None else _within(alpha, box, logo.box)
        rest = cv2.multiply(below, logo.rest[0], scale=1 / 255)
        both = cv2.add(rest, cv2.bitwise_not(logo.rest[0]))
        cv2.LUT(both, _levels(into.colour), dst=part)
    into.u[...] = into.v[...] = 128


def _within(alpha: U8, box: Rectangle, wanted: Rectangle) -> U8:
    """A box's alpha in another box: 0 where they do not meet."""
    found = np.zeros((wanted[3] - wanted[1], wanted[2] - wanted[0]), np.uint8)
    left, top = max(box[0], wanted[0]), max(box[1], wanted[1])
    right, bottom = min(box[2], wanted[2]), min(box[3], wanted[3])
    if left < right and top < bottom:
        found[top - wanted[1] : bottom - wanted[1], left - wanted[0] : right - wanted[0]] = alpha[
            top - box[1] : bottom - box[1], left - box[0] : right - box[0]
        ]
    return found


@lru_cache(maxsize=4)
def _levels(colour: Colour) -> U8:
    """Luma for each alpha."""
    alpha = np.arange(256, dtype=np.float64)
    levels = alpha if colour.full_range else 16 + alpha * 219 / 255
    table: U8 = np.rint(levels).astype(np.uint8).reshape(1, 256)
    table.flags.writeable = False
    return table
