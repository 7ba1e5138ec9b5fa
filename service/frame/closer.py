"""A second, closer look at faces that the whole picture shows too small to be sure of.

The face network sees the picture 128 px wide. A face of less than a tenth of that is found with a
low score and a box up to three times too large, or none is there at all; shown a square around it
the network is right. Used by attention.py for what it found in the whole picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.frame.faces import Detector, placed
from service.frame.grid import Cutter, square_around

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.frame.faces import Face
    from service.frame.grid import Grid
    from service.frame.region import Box

INPUT_PX = 128
SURE = 0.75
"""Score from which a face is taken as it is. 2 % of the right boxes of the test media have less,
and all of the wrong ones (0.5 to 0.66)."""
MOST_LOOKS = 2
"""A frame: a room full of doubtful faces must not cost a room full of looks."""
SIDES = 2.0
"""Side of the square, in sides of the doubtful box."""


class Closer:
    """Checks faces. Holds nothing of the frames before."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._cutter = Cutter(INPUT_PX, INPUT_PX)

    def checked(self, grid: Grid, faces: Sequence[Face]) -> list[Face]:
        """The faces with the doubtful ones (score under SURE) replaced by what a closer look finds
        in their place; left out when that is nothing, or when there are more than MOST_LOOKS."""
        sure = [face for face in faces if face.score >= SURE]
        doubtful = [face for face in faces if face.score < SURE]
        for face in doubtful[:MOST_LOOKS]:
            found = self._look(grid, face)
            if found is not None:
                sure.append(found)
        return sure

    def _look(self, grid: Grid, face: Face) -> Face | None:
        box = _square(face, grid)
        if box is None:
            return None
        found = [placed(each, box) for each in self._detector.detect(self._cutter.cut(grid, box))]
        inside = [each for each in found if _holds(face, _middle(each))]
        return max(inside, key=lambda each: each.score, default=None)


def _square(face: Face, grid: Grid) -> Box | None:
    """Around a face, moved into the picture where it reaches out; None when the face is outside,
    or of no size. Fractions of the picture."""
    x, y = _middle(face)
    width, height = grid.size
    side = SIDES * max((face.right - face.left) * width, (face.bottom - face.top) * height)
    if not (0.0 <= x <= 1.0 and 0.0 <= y <= 1.0 and side > 1.0):  # nor when they are NaN
        return None
    return square_around(x, y, side, grid.size)


def _middle(face: Face) -> tuple[float, float]:
    """Of the key points: where a box is wrong, they are on the face nevertheless."""
    points = face.key_points
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def _holds(face: Face, point: tuple[float, float]) -> bool:
    return face.left <= point[0] <= face.right and face.top <= point[1] <= face.bottom
