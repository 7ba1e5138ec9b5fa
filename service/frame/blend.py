"""Draws a person over a background, in YUV and 8 bits: the passes over a frame's own pixels.

While neither the mask nor the background changes, what each pixel takes from the background stays
the same: two passes over the person's box are left of five. Used by composite.py.
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

import cv2
import numpy as np

from service.frame import wrap
from service.frame.planes import NOTHING, U8, Planes, flat_of

if TYPE_CHECKING:
    from service.frame.mask import Mask
    from service.frame.planes import OutputFrame, Rectangle


class Blend:
    """Of one track, with buffers of its own."""

    def __init__(self) -> None:
        self._version: int | None = None
        self._backdrop: Planes | None = None
        self._box: Rectangle = NOTHING
        self._alpha = [np.empty((0, 0), np.uint8) for _ in range(2)]
        """Of luma and of chroma, in the box."""
        self._behind = [np.empty((0, 0), np.uint8) for _ in range(3)]
        """Per plane, what the background gives to each pixel of the box."""
        self._buffers = [np.empty(0, np.uint8) for _ in range(6)]

    def draw(
        self, source: Planes, backdrop: Planes, mask: Mask, output: OutputFrame, into: Planes
    ) -> None:
        """into = source * alpha + backdrop * (1 - alpha); exact where alpha is 0 or 255.

        The whole box is blended, the solid middle of the person too: copying that instead, with
        three areas blended around it, was measured and cost 0.4 ms more at 1280x720 (narrow areas
        are slow in OpenCV), and blending by blocks of rows that fit the cache 0.05 ms more.
        """
        if mask.version is None or mask.version != self._version or backdrop is not self._backdrop:
            self._version = None  # a fault half-way leaves nothing that fits a later mask
            self._weigh(mask.alpha, backdrop)
            self._version, self._backdrop = mask.version, backdrop
        output.lay(backdrop, into, self._box)
        for number, (plane, mixed) in enumerate(zip(source.each(), into.each(), strict=True)):
            inside = _inside(self._box, number)
            alpha = self._alpha[min(number, 1)]
            front = self._buffer(5, *alpha.shape)
            cv2.multiply(plane[inside], alpha, dst=front, scale=1 / 255)
            cv2.add(front, self._behind[number], dst=mixed[inside])

    @property
    def box(self) -> Rectangle:
        """Where the last picture was drawn."""
        return self._box

    @property
    def alpha(self) -> U8:
        """Of the last picture, in the box, at the frame's size: valid until the next one."""
        return self._alpha[0]

    def wrap(self, backdrop: Planes, alpha: U8, strength: float, into: Planes) -> None:
        """into, where the person's outline is, with some of the light from behind."""
        shown = wrap.rim(alpha, strength)
        for number, (still, mixed) in enumerate(zip(backdrop.each(), into.each(), strict=True)):
            height, width = mixed.shape
            if number < 2:  # u and v share one rim
                fine = cv2.resize(shown, (width, height), interpolation=cv2.INTER_LINEAR)
                rest = cv2.bitwise_not(fine)
            light = cv2.multiply(wrap.light(still), fine, scale=1 / 255)
            cv2.add(light, cv2.multiply(mixed, rest, scale=1 / 255), dst=mixed)

    def _weigh(self, alpha: U8, backdrop: Planes) -> None:
        """The box, alpha at the frame's size in it, and the background's share of each pixel."""
        width, height = backdrop.size
        self._box = left, top, right, bottom = person_box(alpha, width, height)
        rows, columns = alpha.shape
        part = alpha[
            top * rows // height : bottom * rows // height,
            left * columns // width : right * columns // width,
        ]
        for number, still in enumerate(backdrop.each()):
            behind = still[_inside(self._box, number)]
            if number < 2:  # u and v share one alpha
                fine = self._buffer(number, *behind.shape)
                if part.shape == behind.shape:
                    np.copyto(fine, part)
                elif part.size:
                    cv2.resize(part, behind.shape[::-1], dst=fine, interpolation=cv2.INTER_LINEAR)
                rest = flat_of(self._scratch(fine.size), *fine.shape)
                cv2.bitwise_not(fine, dst=rest)
                self._alpha[number] = fine
            share = self._behind[number] = self._buffer(2 + number, *behind.shape)
            cv2.multiply(behind, rest, dst=share, scale=1 / 255)

    def _buffer(self, number: int, height: int, width: int) -> U8:
        """A buffer as rows; it grows to the largest box of the track."""
        if self._buffers[number].size < height * width:
            self._buffers[number] = np.empty(height * width, np.uint8)
        return flat_of(self._buffers[number], height, width)

    def _scratch(self, size: int) -> U8:
        if self._buffers[5].size < size:
            self._buffers[5] = np.empty(size, np.uint8)
        return self._buffers[5]


def person_box(alpha: U8, width: int, height: int) -> Rectangle:
    """Left, top, right, bottom in frame px around all alpha above 0.

    The box lies on grid lines that are whole, even px of the frame, one cell of margin around, so
    that enlarging the part gives what enlarging the whole would. A size that shares no such lines
    with its grid gets the whole frame.
    """
    rows, columns = alpha.shape
    left, top, box_w, box_h = cv2.boundingRect(alpha)
    if box_w == 0:
        return NOTHING
    edges: list[int] = []
    for first, extent, cells, size in ((left, box_w, columns, width), (top, box_h, rows, height)):
        # Grid lines that are even px: every step-th, where step * size / cells is even.
        step = cells // gcd(size // 2, cells) if size % 2 == 0 else cells
        if step > cells // 8 and step > 1:
            edges += [0, size]
            continue
        low = max(0, first - 2) // step * step
        high = min(cells, -(-(first + extent + 2) // step) * step)
        edges += [low * size // cells, high * size // cells]
    return edges[0], edges[2], edges[1], edges[3]


def _inside(box: Rectangle, number: int) -> tuple[slice, slice]:
    """The box in a plane: 0 is luma, the other two have half the size."""
    left, top, right, bottom = (edge >> (number > 0) for edge in box)
    return slice(top, bottom), slice(left, right)
