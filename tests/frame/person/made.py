"""Faces and network answers that are made to measure, for the models that draw people."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import cos, log, sin
from typing import TYPE_CHECKING

import numpy as np

from service.frame.faces import INPUT_PX, Face, anchors
from service.frame.grid import Grid
from service.frame.planes import view
from tests.frame.scenes import U8, frame_of, room

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FEATURES = ((-0.2, -0.12), (0.2, -0.12), (0.0, 0.1), (0.0, 0.3), (-0.47, 0.0), (0.47, 0.0))
"""Right eye, left eye, nose, mouth, right ear, left ear of a face that looks into the camera: x, y
from the middle of the ears, in sides of its box."""


def face(
    x: float,
    y: float,
    side: float,
    *,
    size: tuple[int, int] = (320, 180),
    lean: float = 0.0,
    turn: float = 0.0,
    score: float = 0.9,
) -> Face:
    """A face with the middle of its ears at x, y and a box of that side, in px of a picture of
    that size; leaning by an angle (clockwise), its nose off by `turn` sides to its left."""
    width, height = size
    points = []
    for index, (across, down) in enumerate(FEATURES):
        across += turn * (index in (2, 3))
        points.append(
            (
                (x + side * (across * cos(lean) - down * sin(lean))) / width,
                (y + side * (across * sin(lean) + down * cos(lean))) / height,
            )
        )
    return Face(
        left=(x - side / 2) / width,
        top=(y - side / 2) / height,
        right=(x + side / 2) / width,
        bottom=(y + side / 2) / height,
        score=score,
        key_points=tuple(points),
    )


def blank(width: int = 320, height: int = 180) -> Grid:
    """The grid of an empty room."""
    return Grid(view(frame_of(room(width, height))))


def grid_of(rgb: U8) -> Grid:
    return Grid(view(frame_of(rgb)))


@dataclass
class SaysFaces:
    """A face network that finds these faces in whatever it is shown, in px of its input."""

    faces: Sequence[Face] = ()
    runs: int = field(default=0)

    def run(self, image: U8) -> tuple[NDArray[np.float32], ...]:
        self.runs += 1
        boxes = np.zeros((len(anchors()), 16), np.float32)
        logits = np.full(len(boxes), -100.0, np.float32)
        for index, each in enumerate(self.faces):
            box = [(each.left + each.right) / 2, (each.top + each.bottom) / 2]
            sides = np.array([each.right - each.left, each.bottom - each.top]) * INPUT_PX
            points = (np.array([box, *each.key_points]) - anchors()[index]) * INPUT_PX
            boxes[index] = np.concatenate([points[0], sides, points[1:].ravel()])
            logits[index] = log(each.score / (1 - each.score))
        return boxes, logits
