"""Pictures of a clip's worst frames, for the eye: where the matte is wrong, and how.

They show people. measure.py writes them where the user asked, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from service.footage import ClipError

if TYPE_CHECKING:
    from pathlib import Path

    import av

    from service.evaluation.figures import U8, Figures

PANE_PX: Final = 256
"""Longer side of each picture in a strip."""
APART: Final = 10
"""Frames between two of a strip: neighbours would show the same fault twice."""
LABEL_PX: Final = 18
TITLES: Final = ("input", "true alpha", "found alpha", "result", "red: leak, blue: hole")
INK: Final = (235, 235, 235)


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One frame of a strip."""

    index: int
    mad: float
    label: str
    panes: U8
    """The pictures of TITLES side by side, RGB."""


class Strip:
    """The worst frames of a clip by MAD, found while it goes by; as many as are shown are kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows: list[Row] = []

    def offer(
        self,
        index: int,
        frame: av.VideoFrame,
        true: U8,
        found: U8,
        shown: U8,
        figures: Figures,
    ) -> None:
        """Keep this frame if it is among the worst."""
        rivals = [row for row in self._rows if abs(row.index - index) < APART]
        if not rivals and len(self._rows) == self._most:
            rivals = [min(self._rows, key=lambda row: row.mad)]
        if any(row.mad >= figures.mad for row in rivals):
            return
        rgb = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
        size = _pane_size(frame.width, frame.height)
        pictures = (rgb, true, found, shown, _errors(rgb, true, found))
        panes = np.hstack([_pane(picture, size) for picture in pictures])
        self._rows = [row for row in self._rows if row not in rivals]
        self._rows.append(Row(index, figures.mad, _label(index, figures), panes))

    @property
    def indices(self) -> list[int]:
        """Of the frames that are kept, in the order of the clip."""
        return sorted(row.index for row in self._rows)

    def write(self, path: Path, title: str) -> None:
        """A PNG, a frame a row, in the order of the clip. Raises ClipError."""
        rows = sorted(self._rows, key=lambda row: row.index)
        width = max((row.panes.shape[1] for row in rows), default=len(TITLES) * PANE_PX)
        lines = [_text([title], width), _text(list(TITLES), width)]
        for row in rows:
            lines += [_text([row.label], width), _widened(row.panes, width)]
        picture = cv2.cvtColor(np.vstack(lines), cv2.COLOR_RGB2BGR)
        encoded, data = cv2.imencode(".png", picture)
        assert encoded
        try:
            path.write_bytes(data.tobytes())
        except OSError as exc:
            raise ClipError(f"{path} cannot be written: {exc.strerror}") from exc


def _errors(rgb: U8, true: U8, found: U8) -> U8:
    """Where background shows (red) and where person is missing (blue), over the dimmed picture."""
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) // 3
    leak, hole = cv2.subtract(found, true), cv2.subtract(true, found)
    return np.asarray(cv2.merge([cv2.add(gray, leak), gray, cv2.add(gray, hole)]), np.uint8)


def _pane_size(width: int, height: int) -> tuple[int, int]:
    scale = PANE_PX / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _pane(picture: U8, size: tuple[int, int]) -> U8:
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(
        small if small.ndim == 3 else cv2.cvtColor(small, cv2.COLOR_GRAY2RGB), np.uint8
    )


def _label(index: int, figures: Figures) -> str:
    words = [f"frame {index}", f"MAD {figures.mad:.1f}", f"IoU {figures.iou:.1f}"]
    words += [f"leak {figures.leak:.2f}", f"hole {figures.hole:.2f}"]
    if figures.dtssd is not None:
        words.append(f"dtSSD {figures.dtssd:.2f}")
    return "   ".join(words)


def _text(words: list[str], width: int) -> U8:
    line = np.zeros((LABEL_PX, width, 3), np.uint8)
    for index, word in enumerate(words):
        at = (4 + index * width // len(words), LABEL_PX - 5)
        cv2.putText(line, word, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, INK, 1, cv2.LINE_AA)
    return line


def _widened(panes: U8, width: int) -> U8:
    return np.pad(panes, ((0, 0), (0, width - panes.shape[1]), (0, 0)))
