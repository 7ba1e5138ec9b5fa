"""The film that the test browser takes for its camera: a person who sways a little in a room.

The person is skimage.data.astronaut(), cut out along an outline; the room is drawn here. Used by
the browser tests and by scripts/screenshot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from skimage.data import astronaut

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Rgb = NDArray[np.uint8]
    """H x W x 3, RGB, 0..255."""

FPS = 15
SECONDS = 4

# Found once with cv2.grabCut on the photo and simplified; px in the 512 x 512 photo.
OUTLINE = (
    "275,32 250,20 240,20 236,17 228,17 213,23 202,24 194,30 190,36 175,44 157,59 155,65 156,97 "
    "158,103 168,114 171,115 171,120 175,127 183,131 184,148 154,152 141,159 132,168 128,176 "
    "127,194 124,195 124,200 129,200 130,203 126,204 126,209 123,210 121,207 117,206 111,207 "
    "108,212 91,228 77,236 61,254 55,268 45,283 41,295 40,307 35,316 27,343 26,352 358,352 "
    "359,329 356,325 355,303 351,292 351,287 346,283 344,273 339,263 317,243 302,234 299,225 "
    "299,211 255,171 255,162 263,148 265,136 274,133 289,116 295,106 299,91 298,73 295,67 295,59 "
    "285,41"
)
PHOTO_ROWS = 350
"""Below this row a helmet hides the person."""
FACE_IN_PHOTO = (190, 85, 262, 165)
"""left, top, right, bottom of what is face for sure (no hair), in px."""


@dataclass(frozen=True, slots=True)
class Box:
    """A region as fractions of the frame, 0..1."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the photo's origin lands in the frame, and its scale."""

    left_px: float
    top_px: float
    scale: float

    @classmethod
    def at(cls, moment: float, width: int, height: int) -> Placement:
        """`moment` is 0..1 of the loop, so that the film has no seam."""
        scale = height * 0.92 / PHOTO_ROWS
        sway = math.sin(2 * math.pi * moment)
        nod = math.sin(4 * math.pi * moment)
        return cls(
            left_px=width * (0.5 + 0.012 * sway) - 205 * scale,
            top_px=height * (0.083 + 0.004 * nod),
            scale=scale,
        )


FACE = Box(
    *(
        round(value, 3)
        for value in (
            0.5 + (FACE_IN_PHOTO[0] - 205) * 0.92 / PHOTO_ROWS * 9 / 16 + 0.012,
            0.083 + FACE_IN_PHOTO[1] * 0.92 / PHOTO_ROWS + 0.004,
            0.5 + (FACE_IN_PHOTO[2] - 205) * 0.92 / PHOTO_ROWS * 9 / 16 - 0.012,
            0.083 + FACE_IN_PHOTO[3] * 0.92 / PHOTO_ROWS - 0.004,
        )
    )
)
"""What is face in every frame of a 16:9 film, the sway left out on both sides."""
ROOM = Box(0.03, 0.05, 0.2, 0.5)
"""What is room in every frame."""


def write_film(path: Path, width: int = 640, height: int = 360, fps: int = FPS) -> None:
    """Writes uncompressed YUV4MPEG2, which Chromium plays in a loop as its camera."""
    room = draw_room(width, height)
    photo, alpha = cut_out()
    count = fps * SECONDS
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{fps}:1 Ip A1:1 C420jpeg\n".encode())
        for index in range(count):
            frame = compose(room, photo, alpha, Placement.at(index / count, width, height))
            planes = cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420)
            file.write(b"FRAME\n" + planes.tobytes())


def cut_out() -> tuple[Rgb, NDArray[np.float32]]:
    """The photo and the person's alpha (H x W, 0..1)."""
    photo = np.asarray(astronaut()[:PHOTO_ROWS], np.uint8)  # type: ignore[no-untyped-call]
    points = [[int(number) for number in point.split(",")] for point in OUTLINE.split()]
    mask = np.zeros(photo.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.array(points, np.int32)], (255,), lineType=cv2.LINE_AA)
    return photo, np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.8) / 255, np.float32)


def compose(room: Rgb, photo: Rgb, alpha: NDArray[np.float32], place: Placement) -> Rgb:
    height, width = room.shape[:2]
    matrix = np.array(
        [[place.scale, 0, place.left_px], [0, place.scale, place.top_px]], dtype=np.float64
    )
    size = (width, height)
    person = cv2.warpAffine(photo, matrix, size, flags=cv2.INTER_CUBIC)
    cover = cv2.warpAffine(alpha, matrix, size)[..., None]
    return np.asarray(person * cover + room * (1 - cover), dtype=np.uint8)


def draw_room(width: int, height: int) -> Rgb:
    """A wall with a window on the left and books on the right; grain on it as a camera makes."""
    room = np.empty((360, 640, 3), np.uint8)
    shade = np.linspace(1.0, 0.82, 640)[None, :, None]
    room[:] = (np.array([196, 184, 166]) * shade).astype(np.uint8)
    cv2.rectangle(room, (28, 24), (150, 208), (236, 236, 230), -1)
    cv2.rectangle(room, (38, 34), (140, 198), (150, 190, 222), -1)
    cv2.rectangle(room, (38, 142), (140, 198), (112, 146, 104), -1)
    cv2.rectangle(room, (86, 34), (92, 198), (236, 236, 230), -1)
    colors = [(150, 62, 52), (52, 88, 122), (196, 152, 74), (70, 110, 84), (110, 78, 118)]
    for shelf, bottom in enumerate((110, 200, 290)):
        cv2.rectangle(room, (458, bottom), (624, bottom + 8), (112, 78, 52), -1)
        left = 466
        for book in range(11):
            thick = 9 + (book * 7 + shelf * 3) % 7
            tall = 48 + (book * 13 + shelf * 5) % 20
            color = colors[(book + shelf * 2) % len(colors)]
            cv2.rectangle(room, (left, bottom - tall), (left + thick - 2, bottom - 1), color, -1)
            left += thick
    cv2.rectangle(room, (0, 318), (640, 360), (120, 96, 76), -1)
    scaled = cv2.resize(room, (width, height), interpolation=cv2.INTER_LINEAR)
    grain = np.random.default_rng(7).normal(0, 3, (height, width, 1))
    return np.clip(scaled + grain, 0, 255).astype(np.uint8)
