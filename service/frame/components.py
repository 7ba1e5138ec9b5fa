"""Which blobs of a mask belong to a person, and the removal of the others.

Person networks also say yes to posters, coats on chairs and lamps. A face settles it: a blob with
a face in it is a person, and so is a blob that goes on from one that was; without either it must
be large and central. Called by matte.py on every answer of the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from service.frame.faces import Face
    from service.frame.planes import U8
    from service.frame.region import Box

SHRINK = 4  # components are found on a quarter of the grid: edges do not matter here
LIKELY = 90  # of 255: what the blobs are made of
GROW = np.ones((3, 3), np.uint8)  # a removed blob takes its soft rim with it


@dataclass(frozen=True, slots=True)
class ComponentParameters:
    smallest: float = 0.35
    """Share of the largest blob that another must have: a second person has, a poster mostly has
    not (measured: 0.2 keeps more lamps, 0.5 loses the person further back)."""
    large: float = 0.015
    """Share of the frame that counts as large."""
    central: tuple[float, float] = (0.12, 0.88)
    """Where, from the left, a blob's centre must lie to be somebody at the camera."""
    continues: float = 0.5
    """Share of a blob that was person in the frame before for it to be the same person."""


class Components:
    """Keeps the blobs that are people."""

    def __init__(self, parameters: ComponentParameters | None = None) -> None:
        self._parameters = parameters or ComponentParameters()
        self.faceless: list[Box] = []
        """Of the last mask: where bodies are whose face nobody has found, in fractions."""

    def clean(self, mask: U8, before: U8, faces: Sequence[Face] | None) -> None:
        """Zero the other blobs in mask (grid size, written to).

        before: the alpha of the frame before. faces: those in view; None when nobody looked for
        any, and then size alone decides.
        """
        rows, columns = mask.shape
        small = (max(1, columns // SHRINK), max(1, rows // SHRINK))
        likely = cv2.threshold(
            cv2.resize(mask, small, interpolation=cv2.INTER_AREA), LIKELY, 1, cv2.THRESH_BINARY
        )[1]
        count, labels, stats, centres = cv2.connectedComponentsWithStats(likely, connectivity=4)
        self.faceless = []
        if count <= 1 or (count == 2 and faces is None):
            return
        areas = [int(area) for area in stats[:, cv2.CC_STAT_AREA]]
        if faces is None:
            people = set(range(1, count))
            with_face: set[int] = set()
        else:
            with_face = _with_face(labels, faces)
            people = {
                label
                for label in range(1, count)
                if label in with_face
                or (
                    areas[label] >= self._parameters.large * labels.size
                    and (
                        self._central(centres[label, 0] / labels.shape[1])
                        or self._went_on(labels == label, before, areas[label])
                    )
                )
            }
        # A second person without a visible face must still be of a person's size.
        least = self._parameters.smallest * max((areas[label] for label in people), default=0)
        kept = {label for label in people if label in with_face or areas[label] >= least}
        if faces is not None:
            self.faceless = [_box(stats[label], small) for label in kept - with_face]
        if len(kept) == count - 1:
            return
        keep = np.array([label in kept for label in range(count)])
        bad = cv2.dilate((~keep)[labels].astype(np.uint8) & likely, GROW)
        bad[keep[labels]] = 0
        mask[cv2.resize(bad, (columns, rows), interpolation=cv2.INTER_NEAREST) > 0] = 0

    def _central(self, x: float) -> bool:
        left, right = self._parameters.central
        return left <= x <= right

    def _went_on(self, blob: NDArray[np.bool_], before: U8, area: int) -> bool:
        """Most of the blob was person in the frame before."""
        small = cv2.resize(before, blob.shape[::-1], interpolation=cv2.INTER_AREA)
        return int((small[blob] > 127).sum()) >= self._parameters.continues * area


def _box(stats: NDArray[Any], size: tuple[int, int]) -> Box:
    """A blob's bounding box in fractions of the frame."""
    columns, rows = size
    left, top, width, height = (int(value) for value in stats[:4])
    return (left / columns, top / rows, (left + width) / columns, (top + height) / rows)


def _with_face(labels: NDArray[Any], faces: Sequence[Face]) -> set[int]:
    """The labels that hold a face: for each face, the blob that fills most of its place."""
    rows, columns = labels.shape
    found: set[int] = set()
    for face in faces:
        # The face and the neck below it: hair and a hat can hide a face's upper part.
        x0, x1 = max(0, round(face.left * columns)), max(0, round(face.right * columns) + 1)
        y0, y1 = face.top, 2 * face.bottom - face.top
        inside = labels[max(0, round(y0 * rows)) : max(0, round(y1 * rows) + 1), x0:x1]
        held = np.bincount(inside.ravel(), minlength=2)
        held[0] = 0
        if held.any():
            found.add(int(held.argmax()))
    return found
