"""`posenet`: bodies drawn from their joints.

PoseNet says for 17 joints where they may be, and from each joint where the next ones of the same
body are; poses are put together as its authors do it (Papandreou et al.: PersonLab, 2018, and their
TensorFlow.js code). A body is drawn as tapered limbs around its joints, with thicknesses from the
shoulders' width, a head from eyes and ears as outline.py draws it, and a trunk that goes on to the
picture's lower edge where the hips are out of view. colours.py pulls all of it to the real edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, isfinite
from typing import TYPE_CHECKING

import cv2
import numpy as np

from service.frame.mask import MaskFault, Refusal
from service.frame.person.answer import MOST_LOGIT
from service.frame.person.body import Bodies
from service.frame.person.colours import Colours
from service.frame.person.figure import SHRINK
from service.frame.person.letterbox import Letterbox
from service.frame.person.source import FaceUse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from service.frame.faces import Face
    from service.frame.grid import Grid
    from service.frame.person.source import Networks
    from service.frame.planes import U8
    from service.frame.region import Box

INPUT_WIDTH, INPUT_HEIGHT = 513, 289
STRIDE = 16
COLUMNS, ROWS = 33, 19
JOINTS = 17
"""Nose; left and right eye, ear, shoulder, elbow, wrist, hip, knee, ankle; left as the person's."""
EDGES = (
    *((0, 1), (1, 3), (0, 2), (2, 4), (0, 5), (5, 7), (7, 9), (5, 11), (11, 13), (13, 15)),
    *((0, 6), (6, 8), (8, 10), (6, 12), (12, 14), (14, 16)),
)
"""From the nose outwards, in the order of the network's displacements."""
SHAPES = (
    (JOINTS, ROWS, COLUMNS),
    (2, JOINTS, ROWS, COLUMNS),
    (2, len(EDGES), ROWS, COLUMNS),
    (2, len(EDGES), ROWS, COLUMNS),
)
"""Of the network's answer: heatmaps, offsets, displacements outwards and inwards; y before x."""
MOST_POSES = 5
MOST_CANDIDATES = 64
"""Local maxima that are tried as a pose's first joint; a person has at most 17."""
ROOT_SCORE = 0.5
"""Score from which a joint may begin a pose."""
APART_PX = 20.0
"""Of the input: two poses' joints that are nearer are one (the authors' radius)."""
POSE_SCORE = 0.15
"""Mean score of a pose's joints that are not another's, under which it is nobody."""
FURTHEST_PX = 1e4
"""No displacement is as large; larger ones would overflow on the way."""
REFINEMENTS = 2
"""Times that a displaced joint is moved to where its own cell's offset says."""


@dataclass(frozen=True, slots=True)
class Pose:
    """One body's joints."""

    points: NDArray[np.float32]
    """17 x 2: x, y in px of the input."""
    scores: NDArray[np.float32]
    """17: 0..1."""


class PoseNet:
    """Bodies drawn from the joints of each."""

    looks_closer = False
    faces = FaceUse.NEVER

    def __init__(self, networks: Networks) -> None:
        self._network = networks["posenet"]
        self._letterbox = Letterbox(INPUT_WIDTH, INPUT_HEIGHT)
        self._bodies = Bodies()
        self._colours = Colours()

    def reset(self) -> None:
        self._colours.reset()

    def input_aspect(self, grid: Grid) -> float:
        return INPUT_WIDTH / INPUT_HEIGHT

    def probability(self, grid: Grid, box: Box, faces: Sequence[Face]) -> U8:
        width, height = grid.size
        poses = poses_of(self._network.run(self._letterbox.cut(grid)))
        canvas = max(1, width // SHRINK), max(1, height // SHRINK)
        scale = np.divide(canvas, self._letterbox.inner, dtype=np.float32)
        # A joint's place counts from the middle of the first pixel, a canvas's from its edge.
        poses = [Pose((pose.points + np.float32(0.5)) * scale, pose.scores) for pose in poses]
        logits = self._bodies.logits(poses, *canvas)
        if float(logits.max()) <= -MOST_LOGIT:
            return np.zeros((height, width), np.uint8)
        return self._colours.weigh(logits, grid)


def poses_of(answer: Sequence[NDArray[np.float32]]) -> list[Pose]:
    """The bodies in the network's answer, the surest first; at most MOST_POSES.

    Raises MaskFault when the answer is of another size or not a number.
    """
    if len(answer) != len(SHAPES):
        raise MaskFault(Refusal.WRONG_SIZE)
    parts = []
    for array, shape in zip(answer, SHAPES, strict=True):
        if array.size != np.prod(shape):
            raise MaskFault(Refusal.WRONG_SIZE)
        # One NaN or infinity makes the sum one.
        if not isfinite(float(array.sum(dtype=np.float64))):
            raise MaskFault(Refusal.NOT_A_NUMBER)
        parts.append(np.clip(array.reshape(shape), -FURTHEST_PX, FURTHEST_PX))
    field = _Field(*parts)
    poses: list[Pose] = []
    for joint, row, column in _roots(field.heat):
        if len(poses) == MOST_POSES:
            break
        root = field.place(joint, row, column)
        if any(_apart(pose.points[joint], root) <= APART_PX for pose in poses):
            continue
        pose = field.grow(joint, root, float(field.heat[joint, row, column]))
        own = [
            score
            if all(_apart(other.points[k], pose.points[k]) > APART_PX for other in poses)
            else 0.0
            for k, score in enumerate(pose.scores.tolist())
        ]
        if sum(own) >= POSE_SCORE * JOINTS:
            poses.append(pose)
    return poses


def _roots(heat: NDArray[np.float32]) -> list[tuple[int, int, int]]:
    """Joint, row and column of the local maxima that may begin a pose, the surest first."""
    around = np.stack([cv2.dilate(each, np.ones((3, 3), np.uint8)) for each in heat])
    found = np.argwhere((heat >= around) & (heat >= ROOT_SCORE))
    order = np.argsort(-heat[tuple(found.T)], kind="stable")[:MOST_CANDIDATES]
    return [(int(joint), int(row), int(column)) for joint, row, column in found[order]]


def _apart(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return hypot(float(a[0] - b[0]), float(a[1] - b[1]))


class _Field:
    """The network's answer, to be walked from joint to joint. Points are x, y in px."""

    def __init__(
        self,
        heat: NDArray[np.float32],
        offsets: NDArray[np.float32],
        outwards: NDArray[np.float32],
        inwards: NDArray[np.float32],
    ) -> None:
        self.heat = heat
        self._offsets = offsets
        self._steps = (
            [(edge, a, b, outwards) for edge, (a, b) in enumerate(EDGES)],
            [(edge, b, a, inwards) for edge, (a, b) in reversed(list(enumerate(EDGES)))],
        )

    def place(self, joint: int, row: int, column: int) -> NDArray[np.float32]:
        """Where the joint of that cell is."""
        y, x = self._offsets[:, joint, row, column]
        return np.array((STRIDE * column + x, STRIDE * row + y), np.float32)

    def grow(self, joint: int, root: NDArray[np.float32], score: float) -> Pose:
        """The pose around one joint: inwards to the nose, then outwards along every limb."""
        pose = Pose(np.full((JOINTS, 2), -1e3, np.float32), np.zeros(JOINTS, np.float32))
        pose.points[joint], pose.scores[joint] = root, score
        outwards, inwards = self._steps
        for edge, known, new, displacements in (*inwards, *outwards):
            if pose.scores[known] > 0 and pose.scores[new] == 0:
                pose.points[new], pose.scores[new] = self._step(
                    pose.points[known], displacements[:, edge], new
                )
        return pose

    def _step(
        self, start: NDArray[np.float32], displacement: NDArray[np.float32], joint: int
    ) -> tuple[NDArray[np.float32], float]:
        """The joint that the displacements point to from where another one is, and its score."""
        row, column = _cell(start)
        point = start + displacement[::-1, row, column]
        for _ in range(REFINEMENTS):
            row, column = _cell(point)
            point = self.place(joint, row, column)
        row, column = _cell(point)
        return point, float(self.heat[joint, row, column])


def _cell(point: NDArray[np.float32]) -> tuple[int, int]:
    """Row and column nearest to a point, which may be outside."""
    column = min(max(round(float(point[0]) / STRIDE), 0), COLUMNS - 1)
    row = min(max(round(float(point[1]) / STRIDE), 0), ROWS - 1)
    return row, column
