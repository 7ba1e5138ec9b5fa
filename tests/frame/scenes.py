"""Pictures whose person is known exactly, and networks that know her by her colour.

A scene is a textured room with an orange figure in it. KeyNetworks answers like the real networks
(same names, same shapes) but finds orange: the frame path around them can be tested to the pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from service.frame.planes import Planes

U8 = NDArray[np.uint8]
ORANGE = (240, 130, 30)
FRAME_RATE = 30
Answer = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def room(width: int, height: int) -> U8:
    """A room full of detail, none of it orange: RGB noise over blue-green stripes."""
    rng = np.random.default_rng(7)
    stripes = (np.arange(width) // 8 % 2 * 120)[None, :, None]
    noise = rng.integers(0, 60, (height, width, 1))
    base = np.array([10, 60, 70])[None, None, :]
    return np.asarray(np.clip(base + stripes + noise, 0, 255), np.uint8)


def figure(width: int, height: int, *, centre: tuple[float, float] = (0.5, 0.6)) -> U8:
    """Where the person is: head and body, 255 inside."""
    mask = np.zeros((height, width), np.uint8)
    x, y = round(centre[0] * width), round(centre[1] * height)
    unit = min(width, height)
    cv2.circle(mask, (x, y - unit // 5), unit // 8, 255, -1)
    cv2.ellipse(mask, (x, y + unit // 4), (unit // 4, 2 * unit // 5), 0, 0, 360, 255, -1)
    return mask


def scene(width: int, height: int, *, centre: tuple[float, float] = (0.5, 0.6)) -> U8:
    """The room with the person in it, RGB."""
    picture = room(width, height)
    picture[figure(width, height, centre=centre) > 0] = ORANGE
    return picture


def frame_of(rgb: U8, *, index: int = 0, pix_fmt: str = "yuv420p") -> av.VideoFrame:
    """A decoded frame (BT.601, limited range) at the index-th thirtieth of a second."""
    source = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    frame = source.reformat(format=pix_fmt, dst_colorspace="ITU601", dst_color_range="MPEG")
    frame.pts = index
    frame.time_base = Fraction(1, FRAME_RATE)
    return frame


def rgb_of(frame: av.VideoFrame) -> U8:
    """What a viewer sees."""
    shown = frame.reformat(format="rgb24", src_colorspace="ITU601")
    return np.asarray(shown.to_ndarray(), np.uint8)


def bytes_of(planes: Planes) -> bytes:
    return b"".join(plane.tobytes() for plane in planes.each())


class Key:
    """A person network that finds orange; answer() may spoil what it says."""

    def __init__(self) -> None:
        self.runs = 0
        self.answer: Answer = lambda found: found

    def run(self, image: U8) -> tuple[NDArray[np.float32], ...]:
        self.runs += 1
        red, blue = image[..., 0].astype(np.int16), image[..., 2].astype(np.int16)
        found = (red - blue > 100).astype(np.float32)
        return (self.answer(found)[None, ..., None],)


class NoFaces:
    """A face network that never finds any."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, image: U8) -> tuple[NDArray[np.float32], ...]:
        self.runs += 1
        return np.zeros((896, 16), np.float32), np.full(896, -100.0, np.float32)


class KeyNetworks:
    """All networks that a pipeline asks for."""

    def __init__(self) -> None:
        self.person = Key()
        self.faces = NoFaces()

    def __getitem__(self, name: str) -> Key | NoFaces:
        return self.faces if name == "blazeface_short" else self.person
