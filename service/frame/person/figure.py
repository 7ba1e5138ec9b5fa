"""A person's head and shoulders, drawn around a head: how likely each cell is inside them.

An average person: an ellipse for head, hair and neck that leans with the eyes, and a body below it
as a profile of half-widths. Each part has a softness, for an outline is sure of the face and less
sure of an elbow; colours.py and matte.py find the real edge within it. Every length is in sides of
the face's box, which hardly changes when a head turns.

The figures below were fitted (least log loss) to 310 cut-outs of people in front of rooms whose
true outline is known. Used by outline.py and facemesh.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, cos, hypot, isfinite, sin
from typing import TYPE_CHECKING

import cv2
import numpy as np

from service.frame.mask import MaskFault, Refusal
from service.frame.person.answer import MOST_LOGIT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from service.frame.faces import Face

SHRINK = 4
"""People are drawn at a quarter of the grid: an average person has no fine edges."""
FURTHEST = 4.0
"""Pictures from the picture's origin: a head further away is no head."""
SMALLEST_PX = 1.0
"""Side of a face in the picture that it is drawn in: a person of half a dozen cells."""


@dataclass(frozen=True, slots=True)
class FigureParameters:
    """An average person, in sides of the face's box; y downwards from the middle of the ears."""

    head_up: float = 0.31
    """The head's centre above the ears: hair adds more than the chin."""
    head_back: float = 0.09
    """How far the head's centre moves against the nose, per nose's offset: its back shows."""
    half_width: float = 0.62
    half_width_turned: float = 0.19
    """Added per nose's offset: a head is longer than it is wide."""
    above: float = 0.64
    below: float = 1.67
    """Half-axes over and under the centre; the lower one reaches through the neck to the chest."""
    steepness: float = 8.2
    """Logit at the head's centre; 0 on its outline."""
    body_back: float = 0.28
    """How far the shoulders are from below the ears, against the nose, per nose's offset."""
    body_down: float = -0.23
    """Where the profile begins."""
    depths: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.9, 1.4, 2.0, 3.0, 4.5, 6.5)
    half_widths: tuple[float, ...] = (0.43, 0.59, 0.57, 0.55, 0.69, 1.13, 1.3, 1.38, 1.17, 0.21)
    """At these depths under the beginning: hair, neck, shoulders, elbows, hips, feet."""
    softness: tuple[float, ...] = (0.17, 0.16, 0.2, 0.21, 0.19, 0.18, 0.19, 0.27, 0.24, 0.73)
    """Distance from the profile at which the logit has changed by one."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where a head is and how it is held, in px of a picture."""

    x: float
    y: float
    """The middle between the ears."""
    side: float
    """Of the face's box."""
    lean: float
    """Angle of the eye line, radians, clockwise."""
    turn: float
    """Offset of the nose from the middle of the ears along the eye line, in sides."""


def heads_of(faces: Iterable[Face], size: tuple[int, int]) -> list[Head]:
    """The faces that can be somebody's, in a picture of that width and height.

    Raises MaskFault when a face is not a number.
    """
    heads = []
    for face in faces:
        head = _head(face, *size)
        if head is not None:
            heads.append(head)
    return heads


def _head(face: Face, width: int, height: int) -> Head | None:
    numbers = (
        face.left,
        face.top,
        face.right,
        face.bottom,
        *(v for p in face.key_points for v in p),
    )
    if not all(isfinite(number) for number in numbers):
        raise MaskFault(Refusal.NOT_A_NUMBER)
    side = ((face.right - face.left) * width + (face.bottom - face.top) * height) / 2
    if side < SMALLEST_PX or max(abs(number) for number in numbers) > FURTHEST:
        return None
    right_eye, left_eye, nose, _, right_ear, left_ear = (
        (x * width, y * height) for x, y in face.key_points
    )
    x, y = (right_ear[0] + left_ear[0]) / 2, (right_ear[1] + left_ear[1]) / 2
    lean = atan2(left_eye[1] - right_eye[1], left_eye[0] - right_eye[0])
    turn = ((nose[0] - x) * cos(lean) + (nose[1] - y) * sin(lean)) / side
    return Head(x, y, side, lean, min(max(turn, -1.0), 1.0))


class Figure:
    """Draws people."""

    def __init__(self, parameters: FigureParameters | None = None) -> None:
        p = self._p = parameters or FigureParameters()
        self._profile = tuple(np.array(row) for row in (p.depths, p.half_widths, p.softness))

    def logits(self, heads: Iterable[Head], width: int, height: int) -> NDArray[np.float32]:
        """How likely each cell is within the nearest of these people: height x width logits,
        -MOST_LOGIT (nobody) to MOST_LOGIT. heads: in px of that size."""
        everybody = np.full((height, width), -MOST_LOGIT, np.float32)
        for head in heads:
            self.draw_head(everybody, head)
            self.draw_body(everybody, head)
        np.minimum(everybody, MOST_LOGIT, out=everybody)
        return everybody

    def draw_head(self, into: NDArray[np.float32], head: Head) -> None:
        """Head, hair and neck alone, into the logits of what is drawn already."""
        p = self._p
        dx, dy = _offsets(into, head)
        wide = p.half_width + p.half_width_turned * abs(head.turn)
        c, s = cos(head.lean), sin(head.lean)
        # Beyond this radius (1 is the outline) the logit is under -MOST_LOGIT: not drawn.
        radius = 1.0 + MOST_LOGIT / p.steepness
        columns = _within(dx, radius * hypot(wide * c, p.below * s) + p.head_up)
        rows = _within(dy, radius * hypot(wide * s, p.below * c) + p.head_up)
        dx, dy = dx[columns][None, :], dy[rows][:, None]
        # The sums of a row's and a column's part are the only passes over all cells.
        across = dx * (c / wide) + (dy * s + p.head_back * head.turn) / wide
        down = dy * c + (p.head_up - dx * s)
        np.maximum(down * (1.0 / p.below), down * (-1.0 / p.above), out=down)
        logit = np.asarray(cv2.magnitude(across, down), np.float32)
        logit *= np.float32(-p.steepness)
        logit += np.float32(p.steepness)
        np.maximum(into[rows, columns], logit, out=into[rows, columns])

    def draw_body(self, into: NDArray[np.float32], head: Head) -> None:
        """The average body below a head, likewise."""
        p = self._p
        dx, dy = _offsets(into, head)
        first = int(np.searchsorted(dy, p.body_down))
        depth = dy[first:] - p.body_down
        depths, half_widths, softness = self._profile
        sharpness = np.reciprocal(np.interp(depth, depths, softness), dtype=np.float32)
        inside = np.interp(depth, depths, half_widths).astype(np.float32) * sharpness
        off = np.abs(dx + p.body_back * head.turn)
        logit = sharpness[:, None] * -off[None, :]
        logit += inside[:, None]
        np.maximum(into[first:], logit, out=into[first:])


def _offsets(
    picture: NDArray[np.float32], head: Head
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of the columns' and rows' middles from the head, in its sides."""
    height, width = picture.shape
    x = np.arange(width, dtype=np.float32) + np.float32(0.5)
    y = np.arange(height, dtype=np.float32) + np.float32(0.5)
    return (x - head.x) / head.side, (y - head.y) / head.side


def _within(offsets: NDArray[np.float32], reach: float) -> slice:
    """Where ascending offsets lie between -reach and reach."""
    return slice(int(np.searchsorted(offsets, -reach)), int(np.searchsorted(offsets, reach)))
