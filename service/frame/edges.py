"""Fine edges: a guided filter takes the picture's own edges over into the coarse alpha.

He, Sun, Tang: Guided Image Filtering (2010), in the fast form on half the grid. Only the person's
box is worked on. Called last by matte.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from service.frame.planes import U8

LEAST_PX = 8  # a box smaller than this has no edge to find


@dataclass(frozen=True, slots=True)
class EdgeParameters:
    radius_px: int = 2
    """Of the window, in grid px."""
    epsilon: float = 3e-4
    """Variance of luma (0..1) that counts as an edge: a step of 4 of 255."""
    low: float = 0.25
    high: float = 0.80
    """Alpha that becomes 0 and 1: the networks' edges are wider than a person's."""
    softness: float = 0.30
    """How far low and high move apart from edge 0.5 to edge 1, and together to edge 0."""

    def stretch(self, edge: float) -> tuple[float, float]:
        """low and high for an effect's edge option (0 crisp, 1 soft)."""
        wider = self.softness * (edge - 0.5)
        return self.low - wider, self.high + wider


class Edges:
    """Guided filter and stretch."""

    def __init__(self, parameters: EdgeParameters | None = None) -> None:
        self._p = parameters or EdgeParameters()

    def refine(self, luma: U8, alpha: U8, edge: float, out: U8) -> None:
        """All three H x W of the grid; out is written to, zero outside the person."""
        out[:] = 0
        left, top, width, height = cv2.boundingRect(alpha)
        if width <= LEAST_PX or height <= LEAST_PX:
            return
        rows, columns = alpha.shape
        reach = 2 * self._p.radius_px + 2
        x0, y0 = max(0, left - reach) & ~1, max(0, top - reach) & ~1
        x1 = min(columns, (left + width + reach + 1) & ~1)
        y1 = min(rows, (top + height + reach + 1) & ~1)
        guide = luma[y0:y1, x0:x1]
        size, half = (x1 - x0, y1 - y0), ((x1 - x0) // 2, (y1 - y0) // 2)
        slope, offset = self._fit(
            cv2.resize(guide, half, interpolation=cv2.INTER_AREA).astype(np.float32),
            cv2.resize(alpha[y0:y1, x0:x1], half, interpolation=cv2.INTER_AREA).astype(np.float32),
        )
        low, high = self._p.stretch(edge)
        gain = 1.0 / (high - low)
        # (slope * guide + offset - 255 low) * gain, the constant parts at half size.
        offset = (offset - 255.0 * low) * gain
        fine = cv2.multiply(
            cv2.resize(slope * gain, size, interpolation=cv2.INTER_LINEAR),
            guide.astype(np.float32),
        )
        cv2.add(fine, cv2.resize(offset, size, interpolation=cv2.INTER_LINEAR), dst=fine)
        np.maximum(fine, 0.0, out=fine)  # convertScaleAbs would make negative alpha positive
        cv2.convertScaleAbs(fine, dst=out[y0:y1, x0:x1])

    def _fit(
        self, guide: NDArray[np.float32], alpha: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Per window the line alpha = slope * guide + offset; both 0..255."""
        radius = max(1, self._p.radius_px // 2)
        window = (2 * radius + 1, 2 * radius + 1)

        def mean(image: NDArray[Any]) -> NDArray[np.float32]:
            return np.asarray(cv2.blur(image, window), np.float32)

        mean_guide, mean_alpha = mean(guide), mean(alpha)
        variance = mean(guide * guide) - mean_guide * mean_guide
        covariance = mean(guide * alpha) - mean_guide * mean_alpha
        slope = np.divide(covariance, variance + np.float32(self._p.epsilon * 255.0**2))
        offset = mean_alpha - slope * mean_guide
        return mean(slope), mean(offset)
