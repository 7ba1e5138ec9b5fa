"""`facemesh`: head and shoulders drawn from 468 points of each face.

As MediaPipe's face landmarks: a square around the face, turned upright, is shown to the network,
whose points say where the square is in the next frame, so that the face network need not run while
the points hold. Against the box and six key points of `blazeface` they give the face's own outline,
a size that does not change when the head turns, and a say in whether there is a face at all.
"""

from __future__ import annotations

from math import atan2, cos, exp, hypot, isfinite, sin
from typing import TYPE_CHECKING

import cv2
import numpy as np

from service.frame.mask import MaskFault, Refusal
from service.frame.person.answer import MOST_LOGIT
from service.frame.person.colours import Colours
from service.frame.person.figure import SHRINK, SMALLEST_PX, Figure, Head
from service.frame.person.source import FaceUse
from service.frame.person.upright import Square, UprightCutter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from service.frame.faces import Face
    from service.frame.grid import Grid
    from service.frame.person.source import Networks
    from service.frame.planes import U8
    from service.frame.region import Box

    Points = NDArray[np.float32]

INPUT_PX = 192
POINTS = 468
MOST_FACES = 4
"""A run each."""
MARGIN = 1.5
"""Side of the square, in sides of the face's box or of the points' (MediaPipe)."""
PRESENT = 0.5
"""Probability from which there is a face in the square (MediaPipe)."""
LEAST_PX = 6.0
"""Of the grid: a smaller square shows the network a handful of pixels."""
LARGEST = 4.0
"""Longer sides of the picture: a larger square is no face's."""
SAME = 0.5
"""Distance, in sides, under which two squares are around the same face."""

# Numbers of MediaPipe's canonical face mesh.
RIGHT_EYE, LEFT_EYE = 33, 263  # outer corners
RIGHT_EAR, LEFT_EAR = 234, 454  # the face's edge in front of them
BROW, CHIN = 10, 152  # the face's upper and lower end
OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
"""The face's outline from the hair line over the left ear to the chin and back (its FACE_OVAL)."""
SUB_PX = 4  # bits after the point of a polygon's corners


class FaceMesh:
    """People drawn around the points of their faces."""

    looks_closer = False

    def __init__(self, networks: Networks) -> None:
        self._network = networks["facemesh"]
        self._cutter = UprightCutter(INPUT_PX)
        self._figure = Figure()
        self._colours = Colours()
        self._followed: list[Square] = []

    @property
    def faces(self) -> FaceUse:
        """They say where somebody is; then the points are followed, and a newcomer has time."""
        return FaceUse.SOMETIMES if self._followed else FaceUse.ALWAYS

    def reset(self) -> None:
        self._followed = []
        self._colours.reset()

    def input_aspect(self, grid: Grid) -> float:
        """Faces are looked for in the whole picture."""
        width, height = grid.size
        return width / height

    def probability(self, grid: Grid, box: Box, faces: Sequence[Face]) -> U8:
        width, height = grid.size
        meshes = self._meshes(grid, faces)
        if not meshes:
            return np.zeros((height, width), np.uint8)
        canvas = max(1, width // SHRINK), max(1, height // SHRINK)
        scale = np.float32((canvas[0] / width + canvas[1] / height) / 2)
        small = [mesh * scale for mesh in meshes]
        logits = self._figure.logits([head_of(mesh) for mesh in small], *canvas)
        _draw_faces(logits, small)
        return self._colours.weigh(logits, grid)

    def _meshes(self, grid: Grid, faces: Sequence[Face]) -> list[Points]:
        """The points of each face in view, grid px."""
        new = [face for face in faces if not _among(_around_face(face, grid), self._followed)]
        squares = [*self._followed]
        squares += (_around_face(face, grid) for face in new)
        meshes: list[Points] = []
        self._followed = []
        runs = 0
        for square in squares:
            if runs == MOST_FACES:
                break
            if not _possible(square, grid) or _among(square, self._followed):
                continue
            runs += 1
            mesh = self._mesh(grid, square)
            if mesh is None:
                continue
            around = _around_points(mesh)
            if _possible(around, grid) and not _among(around, self._followed):
                meshes.append(mesh)
                self._followed.append(around)
        return meshes

    def _mesh(self, grid: Grid, square: Square) -> Points | None:
        """The points in a square, grid px; None when there is no face in it."""
        points, presence = self._network.run(self._cutter.cut(grid, square))
        if points.size != 3 * POINTS or presence.size != 1:
            raise MaskFault(Refusal.WRONG_SIZE)
        if not isfinite(float(points.sum(dtype=np.float64)) + float(presence.sum())):
            raise MaskFault(Refusal.NOT_A_NUMBER)
        if 1.0 / (1.0 + exp(-max(float(presence.reshape(-1)[0]), -50.0))) < PRESENT:
            return None
        return square.to_grid(points.reshape(POINTS, 3), INPUT_PX)


def head_of(mesh: Points) -> Head:
    """How the head is held whose points these are, in px of the same picture."""
    right, left = mesh[RIGHT_EAR], mesh[LEFT_EAR]
    # Lengths in space: they stay when the head is turned or bowed.
    across = float(np.linalg.norm(left - right))
    along = float(np.linalg.norm(mesh[CHIN] - mesh[BROW]))
    eyes = mesh[LEFT_EYE] - mesh[RIGHT_EYE]
    return Head(
        x=float(right[0] + left[0]) / 2,
        y=float(right[1] + left[1]) / 2,
        side=max((across + along) / 2, SMALLEST_PX),
        lean=atan2(float(eyes[1]), float(eyes[0])),
        turn=float(left[2] - right[2]) / max(across, SMALLEST_PX),
    )


def _around_face(face: Face, grid: Grid) -> Square:
    """The network's square for a face that BlazeFace has found."""
    width, height = grid.size
    right_eye, left_eye = face.key_points[:2]
    return Square(
        x=(face.left + face.right) / 2 * width,
        y=(face.top + face.bottom) / 2 * height,
        side=MARGIN * max((face.right - face.left) * width, (face.bottom - face.top) * height),
        angle=atan2((left_eye[1] - right_eye[1]) * height, (left_eye[0] - right_eye[0]) * width),
    )


def _around_points(mesh: Points) -> Square:
    """The square for the next frame: upright around the points of this one."""
    eyes = mesh[LEFT_EYE] - mesh[RIGHT_EYE]
    angle = atan2(float(eyes[1]), float(eyes[0]))
    c, s = cos(angle), sin(angle)
    across = mesh[:, 0] * c + mesh[:, 1] * s
    down = mesh[:, 1] * c - mesh[:, 0] * s
    left, right, top, bottom = (
        float(v) for v in (across.min(), across.max(), down.min(), down.max())
    )
    x, y = (left + right) / 2, (top + bottom) / 2
    return Square(x * c - y * s, x * s + y * c, MARGIN * max(right - left, bottom - top), angle)


def _possible(square: Square, grid: Grid) -> bool:
    """It can be a face's: of a size, and its middle in the picture. False for what is no number."""
    width, height = grid.size
    return (
        LEAST_PX <= square.side <= LARGEST * max(width, height)
        and 0.0 <= square.x <= width
        and 0.0 <= square.y <= height
        and -4.0 < square.angle < 4.0
    )


def _among(square: Square, others: Sequence[Square]) -> bool:
    return any(
        hypot(square.x - other.x, square.y - other.y) < SAME * max(square.side, other.side) / MARGIN
        for other in others
    )


def _draw_faces(logits: NDArray[np.float32], meshes: Sequence[Points]) -> None:
    """What is inside a face's outline is a person's for sure. Written into the figures' logits."""
    covered = np.zeros(logits.shape, np.uint8)
    # A cell's centre is a half away from its corner, where fillPoly counts from.
    ovals = [
        np.rint((mesh[list(OVAL), :2] - 0.5) * (1 << SUB_PX)).astype(np.int32) for mesh in meshes
    ]
    for oval in ovals:  # one by one: where two overlap, fillPoly would leave a hole
        cv2.fillPoly(covered, [oval], 255, cv2.LINE_AA, SUB_PX)
    sure = cv2.addWeighted(
        covered, 2 * MOST_LOGIT / 255, covered, 0.0, -MOST_LOGIT, dtype=cv2.CV_32F
    )
    cv2.max(logits, sure, dst=logits)
