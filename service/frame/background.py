"""Still backgrounds as planes: a flat colour, or a picture fitted to the frame.

Planes are made once for a frame size and colour meaning, and shared by all tracks through a
bounded cache. Used by pipeline.py; blur.py makes the one background that moves.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import cv2
import numpy as np

from service.frame.colour import Colour, yuv_of_rgb
from service.frame.planes import Planes
from service.policy.effects import Fit

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from numpy.typing import NDArray

    from service.frame.picture import Picture

CACHE_BYTES = 64 * 1024 * 1024
"""Planes kept: 46 of 1280x720. Making one again takes 10 ms, once."""
FILL_SIGMA_SHARE = 0.04  # of the frame's width: blur of what fills the rim of a contained picture
FILL_BRIGHTNESS = 0.45  # dark, so that the contained picture stands out from its fill
NEUTRAL_GREY = "#808080"
PICTURE = "picture"  # what the keys of a picture's planes begin with


class PlaneCache:
    """Least recently used planes go first once the bound on bytes is reached. Thread-safe."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._planes: OrderedDict[Hashable, Planes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        return self._bytes

    def get(self, key: Hashable, make: Callable[[], Planes]) -> Planes:
        """The planes of that key, made when absent; of two made at once the first is kept."""
        with self._lock:
            found = self._planes.get(key)
            if found is not None:
                self._planes.move_to_end(key)
                return found
        made = make()
        for plane in made.each():
            plane.flags.writeable = False
        with self._lock:
            if key not in self._planes and made.nbytes <= self._max_bytes:
                self._planes[key] = made
                self._bytes += made.nbytes
                while self._bytes > self._max_bytes:
                    _, dropped = self._planes.popitem(last=False)
                    self._bytes -= dropped.nbytes
        return made

    def forget(self, picture_key: str) -> None:
        """Drops the planes of a picture. A track that shows it still has them made once more."""
        with self._lock:
            for key in [key for key in self._planes if _is_of(key, picture_key)]:
                self._bytes -= self._planes.pop(key).nbytes


def _is_of(key: Hashable, picture_key: str) -> bool:
    return isinstance(key, tuple) and key[:2] == (PICTURE, picture_key)


SHARED = PlaneCache()
"""The process's cache: twenty tracks behind one picture hold its planes once."""


def flat(color: str, size: tuple[int, int], colour: Colour, cache: PlaneCache = SHARED) -> Planes:
    """A background of one colour, "#rrggbb". size: (width, height), even."""

    def make() -> Planes:
        rgb = np.array([[[int(color[i : i + 2], 16) for i in (1, 3, 5)]]], np.uint8)
        y, u, v = (int(value) for value in yuv_of_rgb(rgb, colour)[0, 0])
        width, height = size
        return Planes(
            np.full((height, width), y, np.uint8),
            np.full((height // 2, width // 2), u, np.uint8),
            np.full((height // 2, width // 2), v, np.uint8),
            colour,
        )

    return cache.get(("flat", color, size, colour), make)


def fitted(
    picture: Picture, fit: Fit, size: tuple[int, int], colour: Colour, cache: PlaneCache = SHARED
) -> Planes:
    """A picture behind a frame of that size: cover fills it and crops the picture's middle,
    contain shows all of the picture on a dark blurred fill."""

    def make() -> Planes:
        rgb = covered(picture.rgb, size) if fit is Fit.COVER else contained(picture.rgb, size)
        return planes_of_rgb(rgb, colour)

    return cache.get((PICTURE, picture.key, fit, size, colour), make)


def covered(rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The largest middle part of the picture that has the frame's shape, at the frame's size."""
    width, height = size
    rows, columns = rgb.shape[:2]
    scale = max(width / columns, height / rows)
    part_w, part_h = (
        max(1, min(columns, round(width / scale))),
        max(1, min(rows, round(height / scale))),
    )
    left, top = (columns - part_w) // 2, (rows - part_h) // 2
    return _resized(rgb[top : top + part_h, left : left + part_w], size)


def contained(rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """All of the picture in the middle; around it a dark, blurred enlargement of itself."""
    width, height = size
    rows, columns = rgb.shape[:2]
    scale = min(width / columns, height / rows)
    part_w = max(1, min(width, round(columns * scale)))
    part_h = max(1, min(height, round(rows * scale)))
    fill = cv2.GaussianBlur(covered(rgb, size), (0, 0), FILL_SIGMA_SHARE * width)
    out = cv2.convertScaleAbs(fill, alpha=FILL_BRIGHTNESS)
    left, top = (width - part_w) // 2, (height - part_h) // 2
    out[top : top + part_h, left : left + part_w] = _resized(rgb, (part_w, part_h))
    return np.asarray(out, np.uint8)


def planes_of_rgb(rgb: NDArray[np.uint8], colour: Colour) -> Planes:
    """RGB of an even size to planes of that meaning."""
    height, width = rgb.shape[:2]
    y, u, v = cv2.split(yuv_of_rgb(rgb, colour))
    half = (width // 2, height // 2)
    return Planes(
        np.asarray(y, np.uint8),
        np.asarray(cv2.resize(u, half, interpolation=cv2.INTER_AREA), np.uint8),
        np.asarray(cv2.resize(v, half, interpolation=cv2.INTER_AREA), np.uint8),
        colour,
    )


def _resized(rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    smaller = size[0] < rgb.shape[1] or size[1] < rgb.shape[0]
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(rgb, size, interpolation=how), np.uint8)
