"""Light wrap: the background's light falls on the person's outline, as it would in that room.

An option that is off by default: it makes a person who was lit elsewhere belong to the picture.
Just inside the outline a little of the background's own light is added, taken from a background
so blurred that no detail of it shows. Used by composite.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from service.frame.planes import U8

REACH_SHARE = 0.02
"""How far it reaches into the person: standard deviation, of the grid's longer side."""
MOST = 0.7
"""Share of the background's light at the very outline, at strength 1."""
LIGHT_PX = 40
"""Longer side of the background that the light is taken from."""


def rim(alpha: U8, strength: float) -> U8:
    """Where the light falls: H x W as alpha (0..255), 0 outside the person and deep inside.

    strength: the effect's option, 0 to 1.
    """
    reach = max(3, round(REACH_SHARE * max(alpha.shape) * 2) | 1)
    near = cv2.blur(cv2.bitwise_not(alpha), (reach, reach))
    # At a straight outline half of the window is background: twice the share, not above 1.
    light = cv2.multiply(near, alpha, scale=2 * MOST * strength / 255)
    return np.asarray(light, np.uint8)


def light(plane: U8) -> U8:
    """A background's plane without its details, at the plane's own size."""
    rows, columns = plane.shape
    scale = min(1.0, LIGHT_PX / max(rows, columns))
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    small = cv2.blur(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), (5, 5))
    return np.asarray(cv2.resize(small, (columns, rows), interpolation=cv2.INTER_LINEAR), np.uint8)
