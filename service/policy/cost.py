"""What sessions cost, learned from what they have used: pixels and frames a second in, cores out.

A frame costs ``a + b * pixels`` seconds of CPU: the person network and much of the RTP path cost
the same at every size, the decoder, the blending and the encoder by the pixel. The two terms are
the state of a Kalman filter that begins at the prior (what the operator expects of a session) and
is told, every few seconds, what each track's frames took. `service.session.load` tells it,
`service.policy.admission` asks.

Nobody can drive it far: an observation counts as no more than twice what was expected, one moves
the state by the filter's gain at most, and the terms stay within BOUND of the prior whatever comes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

REFERENCE_PIXELS: Final = 1280 * 720
REFERENCE_FPS: Final = 30
"""A session of the default limits: what the prior is told for."""
FIXED_SHARE: Final = 0.32
"""Of a frame of the reference size, what is spent whatever the size: 6.4 ms at 640x360 and 12.9 at
1280x720 (docs/performance.md) lie on that line."""
ENCODING_SHARE: Final = 0.5
"""Of what a frame costs by the pixel, what encoding it takes: 4.4 of 8.8 ms at 1280x720
(docs/performance.md)."""
BOUND: Final = 4.0
"""Each term stays between a BOUNDth of its prior and BOUND times it."""
MIN_FRAMES: Final = 5
"""Fewer in one observation say little: the network does not run on every frame."""
PRIOR_DEVIATION: Final = 0.5
"""How far the truth is expected from the prior: another machine, another room."""
NOISE: Final = 0.3
"""Standard deviation of one observation, as a share of what was expected. Sessions differ by what
they show: the dearest film of docs/performance.md costs twice the cheapest."""
MOST_SURPRISE: Final = 1.0
"""An observation is clipped to this share of what was expected, above and below."""
FORGET_S: Final = 3000.0
"""In this time, what was learned long ago loses its weight. One session alone then moves the
estimate with a time constant of a minute."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What one video track asks for."""

    pixels: int
    "Of one frame."
    fps: float


@dataclass(frozen=True, slots=True)
class Spent:
    """What one video track's frames took, since it was last asked."""

    pixels: int
    "Of the frames it sent."
    frames: int
    "That it composed and encoded."
    cpu_s: float
    "Of its jobs."
    typical: bool = True
    """Whether its frames cost what they cost at worst: an effect is on, at the highest quality
    level, and somebody is in view. Nothing is learned from others, for all of that may change."""


class CostModel:
    """The expected CPU of a frame of any size."""

    def __init__(self, reference_cores: float) -> None:
        """``reference_cores``: what a session of the reference size and rate is expected to use
        before anything is known."""
        if not (math.isfinite(reference_cores) and reference_cores > 0):
            raise ValueError("the expected cost must be positive")
        self._prior_frame_s = reference_cores / REFERENCE_FPS
        # The terms over their priors, and the covariance of that: (aa, ab, bb).
        self._terms = (1.0, 1.0)
        self._covariance = _PRIOR_COVARIANCE

    def cores(self, demand: Demand) -> float:
        """What a track of this size and rate is expected to use."""
        return demand.fps * self._frame_s(demand.pixels)

    def encoding_cores(self, demand: Demand) -> float:
        """What encoding the track once more, for a viewer, is expected to use."""
        _, by_pixel = _design(demand.pixels)
        frame_s = self._prior_frame_s * self._terms[1] * by_pixel
        return demand.fps * ENCODING_SHARE * frame_s

    def learn(self, tracks: Sequence[Spent], *, process_cpu_s: float, elapsed_s: float) -> None:
        """What all tracks did in the last ``elapsed_s``, in which the process used
        ``process_cpu_s``: what no track's jobs used is shared out by frames."""
        if not all(math.isfinite(value) for value in (process_cpu_s, elapsed_s)):
            return
        self._forget(max(0.0, elapsed_s))
        known = [one for one in tracks if one.frames > 0 and math.isfinite(one.cpu_s)]
        frames = sum(one.frames for one in known)
        shared_s = max(0.0, process_cpu_s - sum(one.cpu_s for one in known))
        for one in known:
            if one.typical and one.frames >= MIN_FRAMES and one.pixels > 0:
                self._observe(one.pixels, one.cpu_s / one.frames + shared_s / frames)

    def _frame_s(self, pixels: int) -> float:
        fixed, by_pixel = _design(pixels)
        return self._prior_frame_s * (self._terms[0] * fixed + self._terms[1] * by_pixel)

    def _observe(self, pixels: int, frame_s: float) -> None:
        """One step of the filter."""
        fixed, by_pixel = _design(pixels)
        expected = self._frame_s(pixels) / self._prior_frame_s
        surprise = frame_s / self._prior_frame_s - expected
        surprise = max(-MOST_SURPRISE * expected, min(MOST_SURPRISE * expected, surprise))
        aa, ab, bb = self._covariance
        # P h, h' P h + R, and the gain.
        pa, pb = aa * fixed + ab * by_pixel, ab * fixed + bb * by_pixel
        variance = fixed * pa + by_pixel * pb + (NOISE * expected) ** 2
        gain_a, gain_b = pa / variance, pb / variance
        self._terms = (
            _bounded(self._terms[0] + gain_a * surprise),
            _bounded(self._terms[1] + gain_b * surprise),
        )
        self._covariance = (aa - gain_a * pa, ab - gain_a * pb, bb - gain_b * pb)

    def _forget(self, elapsed_s: float) -> None:
        """The covariance drifts back to the prior's, and never beyond it."""
        share = -math.expm1(-elapsed_s / FORGET_S)
        self._covariance = (
            self._covariance[0] + share * (_PRIOR_COVARIANCE[0] - self._covariance[0]),
            self._covariance[1] + share * (_PRIOR_COVARIANCE[1] - self._covariance[1]),
            self._covariance[2] + share * (_PRIOR_COVARIANCE[2] - self._covariance[2]),
        )


_PRIOR_COVARIANCE: Final = (PRIOR_DEVIATION**2, 0.0, PRIOR_DEVIATION**2)


def _design(pixels: int) -> tuple[float, float]:
    """A frame's two terms as shares of the reference frame."""
    return FIXED_SHARE, (1 - FIXED_SHARE) * pixels / REFERENCE_PIXELS


def _bounded(term: float) -> float:
    return max(1 / BOUND, min(BOUND, term))
