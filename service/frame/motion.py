"""What moved between two frames: the mask carried along, and the camera that was bumped.

Used by matte.py, on half the grid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from service.frame.planes import U8

SURE = 0.25
"""Response of the phase correlation (0 to 1) from which one shift explains the whole picture."""
LEAST_PX = 0.4
UNEXPLAINED = 10
MOST_UNEXPLAINED = 0.25
"""Share of the picture that may differ by more than that of 255 from what is foreseen: the part
that came in at the border, the person who moves, what the light does not fall on."""
MOST_GAIN = 3.0
"""Of another light. A picture that goes black, or comes back from it, is a cut: what is known of
the room would be black as well."""
MOST_SHARE = 0.2
"""A shift by more than this share of the picture is a cut."""


Image = NDArray[Any]


class Flow:
    """Dense optical flow (Kroeger et al., Fast Optical Flow using Dense Inverse Search, 2016)."""

    def __init__(self) -> None:
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._places: NDArray[np.float32] = np.empty((0, 0, 2), np.float32)
        self._small = self._places

    def carry(self, mask: U8, before: U8, now: U8) -> U8:
        """mask (grid size) of the frame before, as it should be now; both at half the grid."""
        rows, columns = mask.shape
        if self._places.shape[:2] != (rows, columns):
            self._places = _places(mask)
            self._small = _places(now)
        flow = np.zeros((*now.shape, 2), np.float32)  # where the search begins
        back = self._search.calc(now, before, flow)  # where each pixel of now was before
        # Where the flow does not explain the picture better than standing still, it is not
        # believed: plain walls and repeating patterns lead it astray.
        moved = _taken(before, np.asarray(cv2.add(back, self._small)))
        off, held = (cv2.blur(cv2.absdiff(now, foreseen), (3, 3)) for foreseen in (moved, before))
        better = cv2.compare(off, held, cv2.CMP_LE)
        back = cv2.copyTo(back, better)
        scale = columns / now.shape[1]
        grown = cv2.resize(back, (columns, rows), interpolation=cv2.INTER_LINEAR)
        source = np.asarray(cv2.scaleAdd(grown, scale, self._places))
        return _taken(mask, source)


def _taken(image: U8, places: Image) -> U8:
    """What the image shows at those places, x and y in px."""
    none: Any = None  # no second map: the first holds both; the stubs of OpenCV want one
    return np.asarray(cv2.remap(image, places, none, cv2.INTER_LINEAR), np.uint8)


def _places(image: U8) -> NDArray[np.float32]:
    """Of each pixel: its x and y."""
    x, y = np.meshgrid(np.arange(image.shape[1]), np.arange(image.shape[0]))
    return np.dstack((x, y)).astype(np.float32)


def camera_shift(before: U8, now: U8) -> tuple[float, float] | None:
    """How far the whole picture moved, in px to the right and down; None when it did not."""
    rows, columns = now.shape
    window = cv2.createHanningWindow((columns, rows), cv2.CV_32F)
    (dx, dy), response = cv2.phaseCorrelate(
        before.astype(np.float32), now.astype(np.float32), window
    )
    if response < SURE or np.hypot(dx, dy) < LEAST_PX:
        return None
    if abs(dx) > MOST_SHARE * columns or abs(dy) > MOST_SHARE * rows:
        return None
    # A person who walks is a shift as well: only the camera's explains nearly all of the picture.
    return (dx, dy) if _explains(np.asarray(shifted(before, dx, dy), np.uint8), now) else None


def light_change(before: U8, now: U8) -> float | None:
    """How many times as bright the whole picture has become; None when that is not what it is."""
    gain = float(np.median((now.astype(np.float32) + 1) / (before.astype(np.float32) + 1)))
    if not 1 / MOST_GAIN <= gain <= MOST_GAIN:
        return None
    return gain if _explains(brightened(before, gain), now) else None


def brightened(image: U8, gain: float) -> U8:
    """The image so many times as bright."""
    return np.asarray(cv2.convertScaleAbs(image, alpha=gain), np.uint8)


def _explains(foreseen: U8, now: U8) -> bool:
    left = cv2.blur(cv2.absdiff(now, foreseen), (3, 3))
    return float((left > UNEXPLAINED).mean()) <= MOST_UNEXPLAINED


def shifted(image: NDArray[Any], dx: float, dy: float) -> NDArray[Any]:
    """The image moved; what comes in from outside is 0."""
    rows, columns = image.shape[:2]
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    return np.asarray(cv2.warpAffine(image, matrix, (columns, rows)))
