"""Finds faces: BlazeFace's short-range network, its anchors and its suppression.

The network (models.py) answers with one candidate an anchor; this module turns them into faces
as fractions of the picture it was given. It says where people are, not what is theirs: the mask
is person.py's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, cast

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from service.frame.region import Box

INPUT_PX = 128
"""The network takes a square picture of this side."""
ANCHOR_GRIDS = ((8, 2), (16, 6))
"""Stride in px and anchors a cell. MediaPipe's options for this network list the strides 8, 16,
16, 16 with two anchors each; equal strides share their cells, hence two and six."""
KEY_POINTS = 6
LOGIT_LIMIT = 100.0
"""MediaPipe clips scores here before the sigmoid, which keeps exp() finite."""
MIN_SCORE = 0.5
MIN_LOGIT = 0.0
"""The logit of MIN_SCORE: candidates are dropped before the sigmoid is computed."""
MIN_OVERLAP = 0.3
"""Intersection over union from which two boxes are the same face."""


class FaceNetwork(Protocol):
    """What is needed of models.Network."""

    def run(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]: ...


@dataclass(frozen=True, slots=True)
class Face:
    """One face, in fractions of the picture's width and height; a side may lie outside 0..1."""

    left: float
    top: float
    right: float
    bottom: float
    score: float
    """Probability, 0.5 to 1."""
    key_points: tuple[tuple[float, float], ...]
    """x, y of the right eye, left eye, nose, mouth, right ear, left ear; right as the person's."""

    @property
    def area(self) -> float:
        """Fraction of the picture that the box covers."""
        return (self.right - self.left) * (self.bottom - self.top)


class Detector(Protocol):
    """What FaceDetector offers; tests bring their own."""

    def detect(self, rgb: NDArray[np.uint8]) -> list[Face]: ...


def placed(face: Face, box: Box) -> Face:
    """A face of a cut, which is of that box, in fractions of the frame."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    return replace(
        face,
        left=left + face.left * width,
        right=left + face.right * width,
        top=top + face.top * height,
        bottom=top + face.bottom * height,
        key_points=tuple((left + x * width, top + y * height) for x, y in face.key_points),
    )


def overlap(a: Face, b: Face) -> float:
    """Intersection over union of two boxes."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (a.area + b.area - shared)


@dataclass(frozen=True, slots=True)
class _Letterbox:
    """Where the picture lies in the network's square, in fractions of the square."""

    left: float
    top: float
    width: float
    height: float


class FaceDetector:
    """Detects faces with one network. Holds no state: threads may share it."""

    def __init__(self, network: FaceNetwork) -> None:
        self._network = network
        self._anchors = anchors()

    def detect(self, rgb: NDArray[np.uint8]) -> list[Face]:
        """Faces of an H x W x 3 picture, the largest first."""
        square, letterbox = _fit(rgb)
        raw_boxes, logits = self._network.run(square)
        candidates = np.flatnonzero(logits >= MIN_LOGIT)
        if candidates.size == 0:
            return []
        scores = _sigmoid(logits[candidates])
        points = _decode(raw_boxes[candidates], self._anchors[candidates])
        blended, best_scores = _suppress(points, scores)
        faces = _faces(blended, best_scores, letterbox)
        return sorted(faces, key=lambda face: face.area, reverse=True)


def anchors() -> NDArray[np.float32]:
    """Centres x, y of the 896 anchors in fractions of the input, in the network's order.

    MediaPipe's SsdAnchorsCalculator with fixed_anchor_size, so that every anchor is 1 x 1 and only
    its centre counts, and an offset of half a cell.
    """
    centres = []
    for stride, per_cell in ANCHOR_GRIDS:
        cells = INPUT_PX // stride
        steps = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        x, y = np.meshgrid(steps, steps)
        grid = np.stack([x.ravel(), y.ravel()], axis=1)
        centres.append(np.repeat(grid, per_cell, axis=0))
    return np.concatenate(centres)


def _fit(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], _Letterbox]:
    """The picture scaled into the network's square, its proportions kept, black at the sides."""
    height, width = rgb.shape[:2]
    scale = INPUT_PX / max(height, width)
    inner_width = max(round(width * scale), 1)
    inner_height = max(round(height * scale), 1)
    left = (INPUT_PX - inner_width) // 2
    top = (INPUT_PX - inner_height) // 2
    square = np.zeros((INPUT_PX, INPUT_PX, 3), np.uint8)
    inside = square[top : top + inner_height, left : left + inner_width]
    inside[:] = _shrink(rgb, inner_width, inner_height)
    letterbox = _Letterbox(
        left / INPUT_PX, top / INPUT_PX, inner_width / INPUT_PX, inner_height / INPUT_PX
    )
    return square, letterbox


def _shrink(rgb: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The picture at another size, mostly a smaller one, in at most about 0.1 ms.

    One averaging resize of a 720p picture costs 0.8 ms, more than half of the network. Bilinear
    sampling is cheap and does not alias down to half the size, so it does the last step; the steps
    before it are the mean of each 2 x 2, which is as cheap, or for large pictures a sampling.
    """
    source_height, source_width = rgb.shape[:2]
    if source_width > 4 * width:
        rgb = _resize(rgb, 2 * width, 2 * height, cv2.INTER_LINEAR)
    elif source_width > 2 * width and source_height > 1:
        rgb = _resize(rgb, source_width // 2, source_height // 2, cv2.INTER_AREA)
    return _resize(rgb, width, height, cv2.INTER_LINEAR)


def _resize(
    rgb: NDArray[np.uint8], width: int, height: int, interpolation: int
) -> NDArray[np.uint8]:
    resized = cv2.resize(rgb, (width, height), interpolation=interpolation)
    return cast("NDArray[np.uint8]", resized)


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    # In double precision: exp(100) is beyond single precision.
    clipped = np.clip(logits.astype(np.float64), -LOGIT_LIMIT, LOGIT_LIMIT)
    return (1 / (1 + np.exp(-clipped))).astype(np.float32)


def _decode(raw: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.float32]:
    """N x 8 x 2 points: top left, bottom right, six key points, in fractions of the square."""
    pairs = (raw / np.float32(INPUT_PX)).reshape(-1, 2 + KEY_POINTS, 2)
    centre = pairs[:, 0] + centres
    half_size = pairs[:, 1] / 2
    points = pairs + centres[:, np.newaxis]
    points[:, 0] = centre - half_size
    points[:, 1] = centre + half_size
    return points


def _suppress(
    points: NDArray[np.float32], scores: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weighted non-maximum suppression: one face from all candidates that overlap its best one.

    Averaging their boxes by score, where plain suppression would keep the best alone, is what
    makes BlazeFace's boxes steady from frame to frame. Returns each face's points and score.
    """
    order = np.argsort(-scores, kind="stable")
    points, scores = points[order], scores[order]
    blended, best_scores = [], []
    while scores.size:
        same = _overlaps(points) > MIN_OVERLAP
        same[0] = True  # a box without an area overlaps nothing, itself included
        weights = scores[same]
        blended.append(np.tensordot(weights, points[same], axes=1) / weights.sum())
        best_scores.append(scores[0])
        points, scores = points[~same], scores[~same]
    return np.stack(blended), np.stack(best_scores)


def _overlaps(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of each box with the first one."""
    top_left, bottom_right = points[:, 0], points[:, 1]
    shared_sides = np.minimum(bottom_right, bottom_right[0]) - np.maximum(top_left, top_left[0])
    shared = np.maximum(shared_sides, 0).prod(axis=1)
    areas = np.maximum(bottom_right - top_left, 0).prod(axis=1)
    unions = areas + areas[0] - shared
    overlaps: NDArray[np.float32] = shared / np.maximum(unions, np.finfo(np.float32).tiny)
    return overlaps


def _faces(
    points: NDArray[np.float32], scores: NDArray[np.float32], letterbox: _Letterbox
) -> list[Face]:
    """Faces in fractions of the picture, from points in fractions of the letterboxed square."""
    origin = (letterbox.left, letterbox.top)
    size = (letterbox.width, letterbox.height)
    faces = []
    for pairs, score in zip((points - origin) / size, scores, strict=True):
        (left, top), (right, bottom), *key_points = pairs.tolist()
        faces.append(
            Face(left, top, right, bottom, float(score), tuple((x, y) for x, y in key_points))
        )
    return faces
