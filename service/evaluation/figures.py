"""How good a matte is: pure functions on arrays, of one frame each, and their means.

Everywhere `found` and `true` are alpha, H x W uint8, 0..255, of the same size; 255 is person.
measure.py feeds them with frames; the tests of the frame path judge by them too. docs/quality.md
says what each figure tells.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterable

U8 = NDArray[np.uint8]

HALF: Final = 127
"""Above it a pixel counts as person."""
SURE: Final = 5
"""Of 255: alpha this near to 0 or 255 is surely background or person. An encoder's own noise."""
BAND_PX: Final = 4
"""Reach of the band around the true edge."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one frame, or means of several; None where nothing of the kind could be measured."""

    mad: float
    """Mean |alpha error| x 1000 over the frame."""
    mse: float
    """Mean squared alpha error x 1000."""
    iou: float
    """Intersection over union at alpha 0.5, %."""
    band: float | None
    """Mean |alpha error| x 1000 near the true edge; None without an edge."""
    leak: float
    """% of the frame's pixels that are surely background and shown as person."""
    hole: float
    """% of the frame's pixels that are surely person and cut out."""
    dtssd: float | None
    """Flicker: root mean square of (change found - true change) x 100; None without a frame
    before."""
    cpu_ms: float
    """CPU time of the thread that made the matte, ms a frame."""


NAMES: Final = tuple(Figures.__dataclass_fields__)


def frame_figures(found: U8, true: U8, before: tuple[U8, U8] | None, cpu_ms: float) -> Figures:
    """Every figure of one frame. before: found and true of the frame before it."""
    return Figures(
        mad=mad(found, true),
        mse=mse(found, true),
        iou=iou(found, true),
        band=band(found, true),
        leak=leak(found, true),
        hole=hole(found, true),
        dtssd=None if before is None else dtssd((before[0], found), (before[1], true)),
        cpu_ms=cpu_ms,
    )


def mad(found: U8, true: U8) -> float:
    """Mean |alpha error| x 1000 over the frame."""
    return float(cv2.absdiff(found, true).mean()) / 255 * 1000


def mse(found: U8, true: U8) -> float:
    """Mean squared alpha error x 1000 over the frame."""
    return float(cv2.norm(found, true, cv2.NORM_L2SQR)) / found.size / 255**2 * 1000


def iou(found: U8, true: U8) -> float:
    """Intersection over union at alpha 0.5, %; 100 when both are empty."""
    a, b = found > HALF, true > HALF
    union = int((a | b).sum())
    return 100.0 * int((a & b).sum()) / union if union else 100.0


def band(found: U8, true: U8) -> float | None:
    """Mean |alpha error| x 1000 within BAND_PX of the true edge; None when there is no edge.

    The edge is every pixel that is neither wholly person nor wholly background, and every pixel
    that lies beside the other side of alpha 0.5 (a hard edge has no pixels in between).
    """
    person = (true > HALF).astype(np.uint8)
    beside = cv2.morphologyEx(person, cv2.MORPH_GRADIENT, _CROSS)
    near = cv2.dilate(cv2.max(beside, cv2.inRange(true, 1, 254)), _DISC)
    if not near.any():
        return None
    return float(cv2.absdiff(found, true)[near > 0].mean()) / 255 * 1000


def leak(found: U8, true: U8) -> float:
    """% of all pixels that are surely background and yet more person than not."""
    return 100.0 * float(((true <= SURE) & (found > HALF)).mean())


def hole(found: U8, true: U8) -> float:
    """% of all pixels that are surely person and yet more background than not."""
    return 100.0 * float(((true >= 255 - SURE) & (found <= HALF)).mean())


def dtssd(found: tuple[U8, U8], true: tuple[U8, U8]) -> float:
    """Flicker: root mean square of (change found - true change) x 100; pairs (before, now)."""
    before, now = (cv2.subtract(f, t, dtype=cv2.CV_16S) for f, t in zip(found, true, strict=True))
    return float(np.sqrt(cv2.norm(now, before, cv2.NORM_L2SQR) / now.size)) / 255 * 100


def mean(figures: Iterable[Figures]) -> Figures:
    """Means of each; a None is left out of its figure's mean. Raises ValueError for none at all."""
    tally = Tally()
    for one in figures:
        tally.add(one)
    return tally.mean()


class Tally:
    """Running means: a clip of any length takes no more memory than a short one."""

    def __init__(self) -> None:
        self.frames = 0
        self._sums = dict.fromkeys(NAMES, 0.0)
        self._counts = dict.fromkeys(NAMES, 0)

    def add(self, figures: Figures) -> None:
        self.frames += 1
        for name, value in asdict(figures).items():
            if value is not None:
                self._sums[name] += value
                self._counts[name] += 1

    def mean(self) -> Figures:
        """Raises ValueError before anything was added."""
        if not self.frames:
            raise ValueError("there is nothing to take the mean of")
        return Figures(
            **{
                name: self._sums[name] / count if count else None  # type: ignore[arg-type]
                for name, count in self._counts.items()
            }
        )


def _disc(radius_px: int) -> U8:
    side = 2 * radius_px + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


_CROSS: Final = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
_DISC: Final = _disc(BAND_PX)
