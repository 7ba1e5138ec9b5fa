"""A window of a picture at the picture's own size: planes, and the mask that belongs to them.

Luma, chroma and alpha have three resolutions, and must be cut along the same line: each is read at
the same fractions of the frame, between its own pixels. Used by staging.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from service.frame.planes import U8, Planes, empty

if TYPE_CHECKING:
    from service.frame.framing import Window
    from service.frame.mask import Mask
    from service.frame.planes import Rectangle


class Crop:
    """Cuts planes, into buffers of its own: a result is valid until the next one."""

    def __init__(self) -> None:
        self._planes: Planes | None = None
        self._of: Planes | None = None
        self._window: Window | None = None

    def cut(self, planes: Planes, window: Window, box: Rectangle) -> Planes:
        """box: of the result, in px; around it there is anything."""
        into = self._planes
        if into is None or into.size != planes.size or into.colour != planes.colour:
            into = self._planes = empty(*planes.size, planes.colour)
        left, top, right, bottom = box
        for number, (plane, cut) in enumerate(zip(planes.each(), into.each(), strict=True)):
            shift = int(number > 0)
            part = (left >> shift, top >> shift, right >> shift, bottom >> shift)
            _cut(plane, window, cut, part)
        return into

    def whole(self, planes: Planes, window: Window) -> Planes:
        """All of it. The same object again is the same picture (planes.py), and then so is this."""
        into = self._planes
        fits = into is not None and into.size == planes.size and into.colour == planes.colour
        if into is None or not fits:
            into = empty(*planes.size, planes.colour)
        elif planes is self._of and window == self._window:
            return into
        for plane, cut in zip(planes.each(), into.each(), strict=True):
            _cut(plane, window, cut)
        # A new object even where its arrays are the old ones: it is another picture.
        self._planes = replace(into)
        self._of, self._window = planes, window
        return self._planes


class MaskCrop:
    """Cuts masks; numbers them by themselves, below 0, where no mask of the matte is."""

    def __init__(self) -> None:
        self._alpha: U8 = np.empty((0, 0), np.uint8)
        self._of: tuple[int, Window] | None = None
        self._version = 0

    def cut(self, mask: Mask, window: Window) -> Mask:
        if self._alpha.shape != mask.alpha.shape:
            self._alpha, self._of = np.empty_like(mask.alpha), None
        of = None if mask.version is None else (mask.version, window)
        if of is None or of != self._of:
            _cut(mask.alpha, window, self._alpha)
            self._of, self._version = of, self._version - 1
        return replace(mask, alpha=self._alpha, version=self._version)


def _cut(plane: U8, window: Window, into: U8, box: Rectangle | None = None) -> None:
    rows, columns = plane.shape
    left, top, right, bottom = box or (0, 0, columns, rows)
    if left >= right or top >= bottom:
        return
    # Pixel centres lie half a pixel inside: the edges of both pictures meet, not their centres.
    inset = (window.size - 1) / 2
    back = np.array(
        [
            [window.size, 0, window.left * columns + inset + window.size * left],
            [0, window.size, window.top * rows + inset + window.size * top],
        ]
    )
    cv2.warpAffine(
        plane,
        back,
        (right - left, bottom - top),
        dst=into[top:bottom, left:right],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
