"""A face never falls out of the mask: holes inside a tracked head are closed.

Strong light, a hand or a headset before the face can make the person network doubt it. A hole is
what the mask of the head encloses: nothing of it lies at the head's outline, so that closing it
shows no background even where the head has moved a little since it was seen. Where a face was
found in this very frame, its core is person, enclosed or not. Used by matte.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from service.frame.planes import U8
    from service.frame.tracks import Track

FRESH_S = 0.6
"""Media time since the face was seen, after which its place is a guess."""
HOLE = 128
"""Of 255: alpha under which a cell of a head is missing."""
CORE = (0.42, 0.5)
"""Half axes of the face's core, in widths and heights of its box: inside the jaw and the hair."""
BELIEVED = 0.35
"""Mean of the mask in the core from which a face is no false alarm of the face network."""


def close_holes(mask: U8, people: Sequence[Track]) -> None:
    """mask: grid size, written to."""
    rows, columns = mask.shape
    for track in people:
        unseen_s = track.moved_s - track.seen_s
        if unseen_s > FRESH_S:
            continue
        face = track.face
        x0, x1 = np.clip((int(face.left * columns), int(face.right * columns) + 1), 0, columns)
        y0, y1 = np.clip((int(face.top * rows), int(face.bottom * rows) + 1), 0, rows)
        part = mask[y0:y1, x0:x1]
        if part.size == 0:
            continue
        missing = cv2.threshold(part, HOLE, 255, cv2.THRESH_BINARY_INV)[1]
        if cv2.countNonZero(missing) == 0:
            continue
        if unseen_s == 0.0:
            middle = (
                (face.left + face.right) / 2 * columns - x0,
                (face.top + face.bottom) / 2 * rows - y0,
            )
            axes = (
                2 * CORE[0] * (face.right - face.left) * columns,
                2 * CORE[1] * (face.bottom - face.top) * rows,
            )
            core = np.zeros(part.shape, np.uint8)
            cv2.ellipse(core, (middle, axes, 0.0), 255, -1)
            if core.any() and cv2.mean(part, mask=core)[0] >= BELIEVED * 255:
                cv2.max(part, core, dst=part)
        part[_enclosed(np.asarray(missing, np.uint8))] = 255


def _enclosed(missing: U8) -> NDArray[np.bool_]:
    """Where missing (0 or 255) is in one piece that does not reach the border, as booleans."""
    count, labels = cv2.connectedComponents(missing, connectivity=8)
    outside = np.zeros(count, bool)
    for border in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        outside[border] = True
    outside[0] = True  # what is not missing
    return np.asarray(~outside[labels], np.bool_)
