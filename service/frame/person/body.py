"""A body drawn from its joints: how likely each cell is inside it.

Limbs are capsules that taper, the trunk a trapezium from the shoulders to the hips, or an average
one down to the picture's lower edge where the hips are out of view; the head is figure.py's. Joints
that are not sure are left out with the limbs that hang on them. Every length is in shoulders'
widths; the figures were fitted as figure.py's. Used by posenet.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, cos, hypot, sin
from typing import TYPE_CHECKING

import numpy as np

from service.frame.person.answer import MOST_LOGIT
from service.frame.person.figure import SMALLEST_PX, Figure, Head

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from service.frame.person.posenet import Pose

SURE = 0.3
"""Score from which a joint is drawn."""
EAR_SPAN, EYE_SPAN = 0.95, 0.475
"""Distance of the ears (median) and of the eyes (rarely exceeded) in sides of a face's box. The
ears' hardly changes when a head turns, for the network guesses the hidden one."""
SHOULDERS = 1.1
"""Least width of the shoulders in sides of the face's box: who stands sideways is not thin."""
LEAST_HIPS = 0.3
"""The same of the hips, in shoulders' widths."""

NOSE, RIGHT_EYE, LEFT_EYE, RIGHT_EAR, LEFT_EAR = 0, 2, 1, 4, 3
RIGHT, LEFT = (6, 8, 10, 12, 14, 16), (5, 7, 9, 11, 13, 15)
"""Shoulder, elbow, wrist, hip, knee, ankle."""


@dataclass(frozen=True, slots=True)
class BodyParameters:
    """Radii and reaches, in shoulders' widths unless said otherwise."""

    shoulder: float = 0.2
    """Of the bar from shoulder to shoulder, and of an upper arm's upper end."""
    elbow: float = 0.2
    hand: float = 0.15
    hand_beyond: float = 0.7
    """How far a hand reaches beyond its wrist, in lower arms."""
    hip: float = 0.35
    knee: float = 0.2
    foot: float = 0.2
    limb_softness: float = 0.07
    """Distance from a limb's edge at which the logit has changed by one."""
    beside_shoulders: float = 0.1
    beside_hips: float = 0.24
    """How far the trunk reaches beyond the joints, to each side."""
    below_hips: float = 0.8
    """How far the trunk reaches: a lap, a skirt, thighs."""
    trunk_softness: float = 0.09
    depths: tuple[float, ...] = (0.0, 0.4, 0.9, 1.6, 2.8)
    half_widths: tuple[float, ...] = (0.71, 0.82, 0.85, 0.77, 0.53)
    softness: tuple[float, ...] = (0.05, 0.08, 0.11, 0.21, 0.3)
    """The trunk with its arms at these depths under the shoulders where the hips are not seen."""


def head_of(pose: Pose) -> Head | None:
    """How the head is held, in px; None when neither the nose nor an eye is sure."""
    points, scores = pose.points, pose.scores
    if max(scores[NOSE], scores[RIGHT_EYE], scores[LEFT_EYE]) < SURE:
        return None
    right, left = points[RIGHT_EAR], points[LEFT_EAR]
    eyes = points[LEFT_EYE] - points[RIGHT_EYE]
    span = max(_length(left - right) / EAR_SPAN, _length(eyes) / EYE_SPAN)
    x, y = float(right[0] + left[0]) / 2, float(right[1] + left[1]) / 2
    lean = atan2(float(eyes[1]), float(eyes[0]))
    side = max(span, SMALLEST_PX)
    nose = points[NOSE]
    turn = ((float(nose[0]) - x) * cos(lean) + (float(nose[1]) - y) * sin(lean)) / side
    return Head(x, y, side, lean, min(max(turn, -1.0), 1.0))


class Bodies:
    """Draws bodies."""

    def __init__(self, parameters: BodyParameters | None = None) -> None:
        self._p = parameters or BodyParameters()
        self._figure = Figure()

    def logits(self, poses: Iterable[Pose], width: int, height: int) -> NDArray[np.float32]:
        """How likely each cell is within the nearest of these bodies: height x width logits,
        -MOST_LOGIT (nobody) to MOST_LOGIT. poses: in px of that size."""
        canvas = _Canvas(width, height)
        for pose in poses:
            head = head_of(pose)
            if head is not None:
                self._figure.draw_head(canvas.logits, head)
            if max(pose.scores[RIGHT[0]], pose.scores[LEFT[0]]) >= SURE:
                self._draw(canvas, pose, 0.0 if head is None else head.side)
            elif head is not None:  # the shoulders are out of view, or nearly
                self._figure.draw_body(canvas.logits, head)
        np.minimum(canvas.logits, MOST_LOGIT, out=canvas.logits)
        return canvas.logits

    def _draw(self, canvas: _Canvas, pose: Pose, face_side: float) -> None:
        """All but the head."""
        p, points = self._p, pose.points
        sure = (pose.scores >= SURE).tolist()
        # The network guesses the other shoulder well when it sees one.
        right, left = points[RIGHT[0]], points[LEFT[0]]
        wide = max(_length(left - right), SHOULDERS * face_side, SMALLEST_PX)
        soft = p.limb_softness * wide
        canvas.limb(right, left, p.shoulder * wide, p.shoulder * wide, soft)
        for shoulder, elbow, wrist, hip, knee, ankle in (RIGHT, LEFT):
            if sure[shoulder] and sure[elbow]:
                canvas.limb(
                    points[shoulder], points[elbow], p.shoulder * wide, p.elbow * wide, soft
                )
                if sure[wrist]:
                    beyond = np.float32(p.hand_beyond)
                    hand = points[wrist] + beyond * (points[wrist] - points[elbow])
                    canvas.limb(points[elbow], hand, p.elbow * wide, p.hand * wide, soft)
            if sure[hip] and sure[knee]:
                canvas.limb(points[hip], points[knee], p.hip * wide, p.knee * wide, soft)
                if sure[ankle]:
                    canvas.limb(points[knee], points[ankle], p.knee * wide, p.foot * wide, soft)
        middle = (right + left) * np.float32(0.5)
        if sure[RIGHT[3]] and sure[LEFT[3]]:
            self._draw_trunk(canvas, middle, points[RIGHT[3]], points[LEFT[3]], wide)
        else:
            canvas.profile(middle, wide, p.depths, p.half_widths, p.softness)

    def _draw_trunk(
        self,
        canvas: _Canvas,
        shoulders: NDArray[np.float32],
        right_hip: NDArray[np.float32],
        left_hip: NDArray[np.float32],
        wide: float,
    ) -> None:
        p = self._p
        hips = max(_length(left_hip - right_hip), LEAST_HIPS * wide)
        canvas.trunk(
            shoulders,
            (right_hip + left_hip) * np.float32(0.5),
            (0.5 + p.beside_shoulders) * wide,
            hips / 2 + p.beside_hips * wide,
            p.below_hips * wide,
            p.trunk_softness * wide,
        )


class _Canvas:
    """Logits of the nearest part drawn so far."""

    def __init__(self, width: int, height: int) -> None:
        self.logits = np.full((height, width), -MOST_LOGIT, np.float32)
        self._x = (np.arange(width, dtype=np.float32) + np.float32(0.5))[None, :]
        self._y = (np.arange(height, dtype=np.float32) + np.float32(0.5))[:, None]

    def limb(
        self,
        start: NDArray[np.float32],
        end: NDArray[np.float32],
        start_radius: float,
        end_radius: float,
        softness: float,
    ) -> None:
        """A capsule whose radius goes from one end's to the other's."""
        dx, dy = (float(v) for v in end - start)
        x, y = self._x - start[0], self._y - start[1]
        along = (x * dx + y * dy) / max(dx * dx + dy * dy, 1e-6)
        np.clip(along, 0.0, 1.0, out=along)
        away = np.hypot(x - along * dx, y - along * dy)
        self._add((start_radius + (end_radius - start_radius) * along - away) / softness)

    def trunk(
        self,
        top: NDArray[np.float32],
        bottom: NDArray[np.float32],
        half_top: float,
        half_bottom: float,
        beyond: float,
        softness: float,
    ) -> None:
        """A trapezium around the line from top to bottom, and on from there for `beyond`."""
        dx, dy = (float(v) for v in bottom - top)
        length = max(hypot(dx, dy), 1e-3)
        dx, dy = dx / length, dy / length
        x, y = self._x - top[0], self._y - top[1]
        along, across = x * dx + y * dy, np.abs(y * dx - x * dy)
        half = half_top + (half_bottom - half_top) * np.clip(along / length, 0.0, 1.0)
        inside = np.minimum(half - across, np.minimum(along, length + beyond - along))
        self._add(inside / softness)

    def profile(
        self,
        top: NDArray[np.float32],
        unit: float,
        depths: tuple[float, ...],
        half_widths: tuple[float, ...],
        softness: tuple[float, ...],
    ) -> None:
        """Half-widths at depths under a point, down to the picture's lower edge; in units."""
        first = int(np.searchsorted(self._y[:, 0], top[1]))
        depth = (self._y[first:, 0] - top[1]) / unit
        half = np.interp(depth, depths, half_widths)[:, None]
        soft = np.interp(depth, depths, softness)[:, None]
        inside = (half - np.abs(self._x - top[0]) / unit) / soft
        np.maximum(self.logits[first:], inside, out=self.logits[first:])

    def _add(self, logits: NDArray[np.float32]) -> None:
        np.maximum(self.logits, logits, out=self.logits)


def _length(vector: NDArray[np.float32]) -> float:
    return hypot(float(vector[0]), float(vector[1]))
