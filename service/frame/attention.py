"""Faces, looked for about three times a second: enough to say whose mask it is.

A face costs as much as the person network; between two looks people hardly move. When nobody is
found where somebody was, the next frames are looked at too. Used by pipeline.py for the hybrid
model only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from service.frame.grid import Cutter, Grid
from service.frame.region import WHOLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.frame.faces import Face
    from service.frame.planes import U8

PERIOD_S = 0.33
PERIOD_FRAMES = 10
"""For streams without timestamps."""
TRIES = 3
"""Frames in a row that are looked at after nobody was found; then it is a turned head."""
INPUT_PX = 128
"""Longer side: what the face network sees."""


class Detector(Protocol):
    """What faces.FaceDetector offers."""

    def detect(self, rgb: U8) -> list[Face]: ...


class Attention:
    """The faces of one track."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._cutter: Cutter | None = None
        self._shape: tuple[int, int] = (0, 0)
        self.reset()

    def reset(self) -> None:
        """Look at the next frame."""
        self._faces: list[Face] = []
        self._looked_at_s: float | None = None
        self._frames = PERIOD_FRAMES
        self._misses = 0

    def due(self, now_s: float | None) -> bool:
        """This frame is to be looked at. To be asked once a frame."""
        self._frames += 1
        if self._frames > PERIOD_FRAMES or 0 < self._misses < TRIES:
            return True
        if now_s is None or self._looked_at_s is None:
            return False
        return not 0.0 <= now_s - self._looked_at_s < PERIOD_S

    def look(self, grid: Grid, now_s: float | None) -> None:
        shape = grid.size
        if self._cutter is None or shape != self._shape:
            longer = max(shape)
            size = tuple(max(2, round(side * INPUT_PX / longer / 2) * 2) for side in shape)
            self._cutter, self._shape = Cutter(*size), shape
        self._faces = self._detector.detect(self._cutter.cut(grid, WHOLE))
        self._looked_at_s = now_s
        self._frames = 0
        self._misses = 0 if self._faces else self._misses + 1

    @property
    def faces(self) -> Sequence[Face]:
        """Those of the last look."""
        return self._faces
