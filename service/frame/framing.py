"""Auto-framing: which part of the camera's picture is shown, so that faces keep size and place.

A camera operator who waits: the goal stays while the face moves within a margin, and then the
window glides to the new one, without a jump, and stands still again. While it stands the window is
the same number by number, so that nothing of a still picture changes. Used by staging.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.frame.faces import Face

FACE_HEIGHT = 0.26
"""Of the window's, that a face gets at framing 1: head and shoulders fill the picture."""
FACES_WIDTH = 0.5
"""Of the window's, that all faces together get at most."""
FACE_DOWN = 0.42
"""Where the middle of the faces is, from the window's top: the eyes are a third down."""
MOST_ZOOM = 1.8
"""Beyond it what is missing of the camera's pixels is seen."""
STEADY_S = 0.4
"""Time constant of what is wanted: one look for faces that is off moves nothing."""
PLACE = 0.07
SIZE = 0.12
"""How far, in shares of the window's size, face and size may stray before the window follows."""
ARRIVED = 0.25
"""Of these: so near, the goal stays."""
PULL_HZ = 3.0
"""Of the spring that moves the window (critically damped: it never swings): there in 2 s."""
AT_REST = 8e-4
"""Of the frame: half a pixel of 640 px; so near, and so slow, the window is at its goal."""
LOST_S = 3.0
"""Without a face for so long, all of the picture is shown again."""
LONGEST_STEP_S = 0.2


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a frame, of the frame's shape; in fractions of its width and height."""

    left: float = 0.0
    top: float = 0.0
    size: float = 1.0
    """Of the frame's width, and of its height."""


WHOLE = Window()


class Framing:
    """Where the window of one track is."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """All of the picture, at once: it is another picture."""
        self.window = WHOLE
        self._at = [0.5, 0.5, 1.0]
        """Middle and size."""
        self._speed = [0.0, 0.0, 0.0]
        self._goal = self._wanted = (0.5, 0.5, 1.0)
        self._chases = False
        self._now_s: float | None = None
        self._seen_s = -math.inf

    def follow(self, faces: Sequence[Face], now_s: float, framing: float) -> Window:
        """The window for a picture of that media time. faces: whom it is about; empty for nobody,
        or nobody known. framing: the effect's option, 0 to 1."""
        step_s = 0.0 if self._now_s is None else min(max(now_s - self._now_s, 0.0), LONGEST_STEP_S)
        self._now_s = now_s
        if faces and framing:
            self._seen_s = now_s
            self._want(wanted(faces, framing), step_s)
        elif not framing or not 0.0 <= now_s - self._seen_s <= LOST_S:
            self._goal = self._wanted = (0.5, 0.5, 1.0)
        self._glide(step_s)
        x, y, size = self._at
        size = min(size, 1.0)
        left = min(max(x - size / 2, 0.0), 1.0 - size)
        top = min(max(y - size / 2, 0.0), 1.0 - size)
        self.window = WHOLE if size == 1.0 else Window(left, top, size)
        return self.window

    def _want(self, now: tuple[float, float, float], step_s: float) -> None:
        share = 1.0 - math.exp(-step_s / STEADY_S)
        x, y, size = (old + share * (new - old) for old, new in zip(self._wanted, now, strict=True))
        self._wanted = x, y, size
        self._chases = self._chases or self._off(self._goal) > 1.0
        if self._chases:
            self._goal = self._wanted
            self._chases = self._off(self._at) > ARRIVED

    def _off(self, window: Sequence[float]) -> float:
        """How far a window is from what is wanted; up to 1 that is suffered."""
        x, y, size = self._wanted
        strayed = max(abs(x - window[0]), abs(y - window[1])) / (PLACE * size)
        return max(strayed, abs(size - window[2]) / (SIZE * size))

    def _glide(self, step_s: float) -> None:
        """The spring's exact solution, whatever the time step."""
        decay = math.exp(-PULL_HZ * step_s)
        rests = True
        for axis, goal in enumerate(self._goal):
            off, speed = self._at[axis] - goal, self._speed[axis]
            push = (speed + PULL_HZ * off) * step_s
            self._at[axis] = goal + (off + push) * decay
            self._speed[axis] = (speed - PULL_HZ * push) * decay
            rests &= abs(off) < AT_REST and abs(speed) < PULL_HZ * AT_REST
        if rests:
            self._at = list(self._goal)
            self._speed = [0.0, 0.0, 0.0]


def wanted(faces: Sequence[Face], framing: float) -> tuple[float, float, float]:
    """Middle and size of the window that suits these faces, inside of the frame."""
    left, right = min(face.left for face in faces), max(face.right for face in faces)
    top, bottom = min(face.top for face in faces), max(face.bottom for face in faces)
    height = max(face.bottom - face.top for face in faces)
    full = max(height / FACE_HEIGHT, (right - left) / FACES_WIDTH, (bottom - top) / FACES_WIDTH)
    full = min(max(full, 1 / MOST_ZOOM), 1.0)
    size = 1.0 - framing * (1.0 - full)
    x, y = (left + right) / 2, (top + bottom) / 2 + (0.5 - FACE_DOWN) * size
    edge = size / 2
    return min(max(x, edge), 1.0 - edge), min(max(y, edge), 1.0 - edge), size
