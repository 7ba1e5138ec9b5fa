"""Films of cut-out people in rooms: every frame's alpha is exact, for each person apart.

Made in memory from the test media; nothing of them is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.frame.scenes import U8, frame_of

if TYPE_CHECKING:
    from pathlib import Path

    import av

F32 = NDArray[np.float32]
WIDTH, HEIGHT = 640, 360
NOISE = 3.0  # standard deviation of the sensor's noise, of 255


@dataclass(frozen=True, slots=True)
class Place:
    """Where a person is in one frame: fractions of the frame's width and height."""

    x: float
    """Middle of the cut-out."""
    height: float
    """Of the cut-out; its lower edge is that of the frame, or `floor`."""
    floor: float = 1.0


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame of a film."""

    frame: av.VideoFrame
    alphas: tuple[U8, ...]
    """What is seen of each person, H x W, 0..255; those later in the list stand in front."""

    @property
    def alpha(self) -> U8:
        """Of all people together."""
        total = np.zeros((HEIGHT, WIDTH), np.uint16)
        for alpha in self.alphas:
            total += alpha
        return np.minimum(total, 255).astype(np.uint8)


class Film:
    """A room and its people."""

    def __init__(self, media: Path, room: str, *people: str) -> None:
        picture = cv2.imread(str(media / "backgrounds" / room))
        assert picture is not None, room
        # A rim around the frame, so that the camera can be moved.
        self._room = cv2.resize(
            cv2.cvtColor(picture, cv2.COLOR_BGR2RGB),
            (WIDTH + 80, HEIGHT + 80),
            interpolation=cv2.INTER_AREA,
        )
        self._people = [_cutout(media / "cutouts" / name) for name in people]
        self._random = np.random.default_rng(5)

    def shoot(
        self,
        index: int,
        *places: Place | None,
        camera: tuple[int, int] = (0, 0),
        light: float = 1.0,
    ) -> Shot:
        """Frame number index. camera: px that all is moved by; light: gain of the exposure."""
        dx, dy = camera
        rgb = self._room[40 - dy : 40 - dy + HEIGHT, 40 - dx : 40 - dx + WIDTH].astype(np.float32)
        seen: list[U8] = []
        for person, place in zip(self._people, places, strict=True):
            alpha: F32 = np.zeros((HEIGHT, WIDTH), np.float32)
            if place is not None:
                colour, alpha = _placed(person, place, camera)
                rgb = colour * alpha[..., None] + rgb * (1 - alpha[..., None])
            seen = [np.rint(other * (1 - alpha)).astype(np.uint8) for other in seen]
            seen.append(np.rint(alpha * 255).astype(np.uint8))
        noise = self._random.normal(0, NOISE, (HEIGHT, WIDTH, 1))
        shown = np.clip(rgb * light + noise, 0, 255).astype(np.uint8)
        return Shot(frame_of(shown, index=index), tuple(seen))


def _cutout(path: Path) -> U8:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert picture is not None, path
    picture = cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA)
    left, top, width, height = cv2.boundingRect((picture[..., 3] > 127).astype(np.uint8))
    return np.asarray(picture[top : top + height, left : left + width], np.uint8)


def _placed(person: U8, place: Place, camera: tuple[int, int]) -> tuple[F32, F32]:
    """Colour (RGB) and alpha (0..1) of a frame with that person alone."""
    rows, columns = person.shape[:2]
    scale = place.height * HEIGHT / rows
    left = place.x * WIDTH - columns * scale / 2 + camera[0]
    top = (place.floor - place.height) * HEIGHT + camera[1]
    # Subpixel places: a person does not move in whole pixels.
    matrix = np.array([[scale, 0, left], [0, scale, top]], np.float32)
    sharp = cv2.GaussianBlur(person, (0, 0), max(0.3, 0.4 / scale))
    moved = cv2.warpAffine(sharp, matrix, (WIDTH, HEIGHT)).astype(np.float32)
    return moved[..., :3], moved[..., 3] / np.float32(255)
