"""A platform's logo over every composed picture: decoded once, laid out once for each frame size.

The planes of a layout hold colour times alpha, so that drawing is one multiplication and one sum
of the logo's own pixels, in 8 bits: what is fully transparent stays as it was, bit for bit, and a
still background under a logo stays still. composite.py draws it into what becomes a Composited, so
that nothing leaves without it while an effect is on. service.parts decodes the files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from service.frame.colour import Colour, from_rgb
from service.frame.picture import decode_rgba
from service.policy.policy_file import Corner, LogoSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from service.frame.planes import U8, Planes, Rectangle

MAX_BYTES: Final = 1024 * 1024
MAX_PIXELS: Final = 4_000_000
MAX_SIDE_PX: Final = 768
"""What is kept of a decoded logo: as much as is ever drawn, 0.4 of 1920 px."""
MAX_HEIGHT_SHARE: Final = 0.4
"""Of the frame's shorter side: a tall logo is made narrower than its `width`."""
LEAST_PX: Final = 2
LAYOUTS: Final = 16
"""Kept for all tracks: one for each logo and frame size in use, 1.8 MB at most each."""


@dataclass(frozen=True, slots=True, eq=False)
class Logo:
    """rgba: H x W x 4 uint8, read only, colour not multiplied by alpha."""

    rgba: NDArray[np.uint8]
    spec: LogoSpec


@dataclass(frozen=True, slots=True)
class Layout:
    """A logo for one frame size and colour meaning."""

    box: Rectangle
    colour: tuple[U8, U8, U8]
    "Y, U and V times alpha."
    rest: tuple[U8, U8]
    "255 - alpha, of luma and of chroma."

    def draw(self, into: Planes) -> None:
        """Over what is in the planes."""
        left, top, right, bottom = self.box
        for number, (plane, colour) in enumerate(zip(into.each(), self.colour, strict=True)):
            shift = int(number > 0)
            part = plane[top >> shift : bottom >> shift, left >> shift : right >> shift]
            cv2.multiply(part, self.rest[shift], dst=part, scale=1 / 255)
            cv2.add(part, colour, dst=part)


def read_logo(spec: LogoSpec) -> Logo:
    """The decoded file. Raises PictureError, which names the limit, or OSError."""
    with spec.file.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    rgba = decode_rgba(data, max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS, max_side_px=MAX_SIDE_PX)
    return Logo(rgba, spec)


@lru_cache(maxsize=LAYOUTS)
def lay_out(logo: Logo, size: tuple[int, int], colour: Colour) -> Layout:
    """The logo in its corner of a frame of that (width, height). From any thread."""
    left, top, width, height = _place(logo, size)
    alpha = np.float32(logo.spec.opacity / 255) * logo.rgba[..., 3]
    # Colours are mixed as they are seen, so that what is transparent leaves no fringe.
    light: NDArray[Any] = np.empty(logo.rgba.shape, np.float32)
    np.multiply(logo.rgba[..., :3], alpha[..., None], out=light[..., :3])
    light[..., 3] = alpha
    smaller = width < light.shape[1] or height < light.shape[0]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    light = cv2.resize(light, (width, height), interpolation=how)
    # [R, G, B, 1] times alpha: the offset of the conversion is weighed like the colour.
    yuv = cv2.transform(light, from_rgb(colour))
    half = (width // 2, height // 2)
    y, u, v = cv2.split(yuv)
    fine = light[..., 3]
    planes = (
        y,
        cv2.resize(u, half, interpolation=cv2.INTER_AREA),
        cv2.resize(v, half, interpolation=cv2.INTER_AREA),
    )
    alphas = fine, cv2.resize(fine, half, interpolation=cv2.INTER_AREA)
    first, second, third = (_bytes(plane) for plane in planes)
    return Layout(
        (left, top, left + width, top + height),
        (first, second, third),
        (_bytes(255 - 255 * alphas[0]), _bytes(255 - 255 * alphas[1])),
    )


def _place(logo: Logo, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, width and height in px, all even."""
    longer, spec = max(size), logo.spec
    rows, columns = logo.rgba.shape[:2]
    width = min(spec.width * longer, MAX_HEIGHT_SHARE * min(size) * columns / rows)
    width = min(width, size[0])
    drawn_w = _even(width, size[0])
    drawn_h = _even(width * rows / columns, size[1])
    margin = math.floor(spec.margin * longer)
    at_left = spec.corner in (Corner.TOP_LEFT, Corner.BOTTOM_LEFT)
    at_top = spec.corner in (Corner.TOP_LEFT, Corner.TOP_RIGHT)
    left = margin if at_left else size[0] - margin - drawn_w
    top = margin if at_top else size[1] - margin - drawn_h
    return (
        min(max(0, left), size[0] - drawn_w) & ~1,
        min(max(0, top), size[1] - drawn_h) & ~1,
        drawn_w,
        drawn_h,
    )


def _even(length: float, most: int) -> int:
    return min(most, max(LEAST_PX, 2 * round(length / 2)))


def _bytes(values: NDArray[Any]) -> U8:
    plane: U8 = np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
    plane.flags.writeable = False
    return plane
