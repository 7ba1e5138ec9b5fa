"""Faces with identity over time: who was where, who is who after two people have crossed.

attention.py brings the faces of each look; here they are given to the people who were known
before, by place, size and the colours of hair, face and clothes. A person whose face is not found
(turned away, behind another one) is carried on for a while: moved by the speed they had, or by
the mask around them. Used by attention.py; people.py asks who is in front.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from service.frame.faces import Face
    from service.frame.grid import Grid
    from service.frame.planes import U8

MOST_TRACKS = 8
KEPT_S = 1.5
"""How long a person is believed in without a face and without a mask where they should be."""
TURNED_S = 20.0
"""The same while the mask still holds somebody there: a turned head, a hand before the face."""
MOVES_S = 0.7
"""How long somebody who is not seen is thought to go on at the speed they had."""
FOLLOWS = 0.3
"""Share of the way to the middle of the mask that an unseen face goes in a frame."""
SPEED_SHARE = 0.5  # of a newly measured speed
SIZE_SHARE = 0.3  # of a newly measured size: near and far must not change with each look
COLOUR_SHARE = 0.2
REACH = 1.0
"""Face widths that a person may be off their foreseen place; and as much a second besides."""
REACH_PER_S = 2.5
COLOUR_WEIGHT = 2.0
"""Of a difference in colours (1 is 64 of 255 on average), in face widths."""
SIZE_WEIGHT = 1.5  # of a difference in size by a factor of e, in face widths
WORST = 3.0
"""Cost from which a face is somebody else's."""


@dataclass(slots=True)
class Track:
    """One person."""

    number: int
    """Counts up from 1; never given again within a track of video."""
    face: Face
    """Where the face was when it was last seen, or where it is thought to be by now."""
    size: float
    """Width of the face in fractions of the frame's width, smoothed: the larger, the nearer."""
    colours: NDArray[np.float32]
    """Mean Y, U, V of hair, face and chest."""
    seen_s: float
    """Media time of the last look that found the face."""
    moved_s: float
    """Media time that `face` is of."""
    speed: tuple[float, float] = (0.0, 0.0)
    """Of the face's centre, fractions of the frame a second."""
    looks: int = 1
    """Looks that found the face."""

    @property
    def centre(self) -> tuple[float, float]:
        return (self.face.left + self.face.right) / 2, (self.face.top + self.face.bottom) / 2


def shifted(face: Face, dx: float, dy: float) -> Face:
    """The face elsewhere; dx, dy in fractions of the frame."""
    return replace(
        face,
        left=face.left + dx,
        right=face.right + dx,
        top=face.top + dy,
        bottom=face.bottom + dy,
        key_points=tuple((x + dx, y + dy) for x, y in face.key_points),
    )


class Tracks:
    """The people of one camera."""

    def __init__(self) -> None:
        self._numbers = 0
        self.people: list[Track] = []

    def reset(self) -> None:
        """Nobody is known; numbers go on."""
        self.people = []

    def move(self, now_s: float, mask: U8) -> None:
        """Bring everybody to this time. mask: the alpha of the frame before, grid size."""
        kept = []
        for track in self.people:
            unseen_s = now_s - track.seen_s
            dt = now_s - track.moved_s
            if dt > 0:
                if unseen_s <= MOVES_S:
                    track.face = shifted(track.face, track.speed[0] * dt, track.speed[1] * dt)
                elif not self._hidden(track):
                    dx = _towards(track.face, mask)
                    track.face = shifted(track.face, dx, 0.0)
                track.moved_s = now_s
            there = _share(track.face, mask) > 0.5
            if unseen_s <= (TURNED_S if there and not self._hidden(track) else KEPT_S):
                kept.append(track)
        self.people = kept

    def update(self, faces: Sequence[Face], grid: Grid, now_s: float) -> None:
        """What a look found. Everybody must have been moved to now_s before."""
        colours = [_colours(face, grid) for face in faces]
        costs = sorted(
            (self._cost(track, face, colour, now_s), i, j)
            for i, track in enumerate(self.people)
            for j, (face, colour) in enumerate(zip(faces, colours, strict=True))
        )
        taken: set[int] = set()
        matched: set[int] = set()
        for cost, i, j in costs:
            if cost > WORST or i in taken or j in matched:
                continue
            taken.add(i)
            matched.add(j)
            self._see(self.people[i], faces[j], colours[j], now_s)
        for j, face in enumerate(faces):
            if j not in matched and len(self.people) < MOST_TRACKS:
                self._numbers += 1
                self.people.append(
                    Track(self._numbers, face, _width(face), colours[j], now_s, now_s)
                )

    def _cost(self, track: Track, face: Face, colours: NDArray[np.float32], now_s: float) -> float:
        """In face widths off; more than WORST when it cannot be this person."""
        width = max(track.size, _width(face))
        x, y = track.centre
        # Heights are fractions of another side: a face's own height makes them widths.
        down = ((face.top + face.bottom) / 2 - y) * _width(face) / _height(face)
        off = float(np.hypot((face.left + face.right) / 2 - x, down)) / width
        if off > REACH + REACH_PER_S * (now_s - track.seen_s):
            return 2 * WORST
        size = abs(float(np.log(_width(face) / track.size)))
        colour = float(np.abs(colours - track.colours).mean()) / 64
        return off + SIZE_WEIGHT * size + COLOUR_WEIGHT * colour

    def _see(self, track: Track, face: Face, colours: NDArray[np.float32], now_s: float) -> None:
        dt = now_s - track.seen_s
        x, y = track.centre
        new_x, new_y = (face.left + face.right) / 2, (face.top + face.bottom) / 2
        if 0 < dt <= 1.0:
            # The place now is the foreseen one: what it is off is the error of the speed.
            track.speed = (
                track.speed[0] + SPEED_SHARE * (new_x - x) / dt,
                track.speed[1] + SPEED_SHARE * (new_y - y) / dt,
            )
        else:
            track.speed = (0.0, 0.0)
        track.face = face
        track.size += SIZE_SHARE * (_width(face) - track.size)
        track.colours += np.float32(COLOUR_SHARE) * (colours - track.colours)
        track.seen_s = track.moved_s = now_s
        track.looks += 1

    def _hidden(self, track: Track) -> bool:
        """Somebody larger stands where this one should be: the mask there is theirs."""
        x, _ = track.centre
        return any(
            other is not track
            and other.size > track.size
            and abs(other.centre[0] - x) < 0.8 * other.size
            for other in self.people
        )


def _width(face: Face) -> float:
    return max(face.right - face.left, 1e-3)


def _height(face: Face) -> float:
    return max(face.bottom - face.top, 1e-3)


def _part(image: U8, left: float, top: float, right: float, bottom: float) -> U8:
    rows, columns = image.shape[:2]
    x0, x1 = np.clip((round(left * columns), round(right * columns)), 0, columns)
    y0, y1 = np.clip((round(top * rows), round(bottom * rows)), 0, rows)
    return image[y0:y1, x0:x1]


def _share(face: Face, mask: U8) -> float:
    """How much of the face's place is person in the mask, 0..1."""
    part = _part(mask, face.left, face.top, face.right, face.bottom)
    return float(cv2.mean(part)[0]) / 255 if part.size else 0.0


def _towards(face: Face, mask: U8) -> float:
    """Fraction of the frame's width that the middle of the mask around the face is off it."""
    width = face.right - face.left
    left, right = face.left - 0.5 * width, face.right + 0.5 * width
    part = _part(mask, left, face.top, right, face.bottom)
    if not part.size:
        return 0.0
    columns = part.mean(axis=0)
    total = float(columns.sum())
    if total < 1:
        return 0.0
    middle = float((columns * (np.arange(columns.size) + 0.5)).sum()) / total / mask.shape[1]
    off = max(left, 0.0) + middle - (face.left + face.right) / 2
    return FOLLOWS * float(off)


def _colours(face: Face, grid: Grid) -> NDArray[np.float32]:
    """Mean Y, U, V of hair, face and chest; grey where a part is out of the picture."""
    width, height = face.right - face.left, face.bottom - face.top
    middle = (face.left + face.right) / 2
    found = np.full((3, 3), 128, np.float32)
    for i, (half, top, bottom) in enumerate(
        ((0.3, -0.35, -0.05), (0.3, 0.3, 0.9), (0.6, 1.6, 2.4))
    ):
        for j, plane in enumerate((grid.y, grid.u, grid.v)):
            part = _part(
                plane,
                middle - half * width,
                face.top + top * height,
                middle + half * width,
                face.top + bottom * height,
            )
            if part.size:
                found[i, j] = cv2.mean(part)[0]
    # Chroma says more than light, which changes with each turn of the head.
    found[:, 1:] *= 2
    return found
