"""When and where faces are looked for: a few times a second, and closer where one is missing.

A look costs nearly as much as the person network, and between two looks people hardly move, so
the faces found are tracked (tracks.py). The face network sees 128 px: a face is found in the
whole picture from about an eighth of its width, so that people further away, and bodies whose
face was not found, are looked at in square cuts of their own. Used by pipeline.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from service.frame.closer import SURE, Closer
from service.frame.faces import Detector, overlap, placed
from service.frame.grid import Cutter, Grid, square_around
from service.frame.region import WHOLE, Box
from service.frame.tracks import Track, Tracks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.frame.faces import Face
    from service.frame.planes import U8

PERIOD_S = 0.33
STEADY_S = 0.5
"""Between looks when the same people were found by the last looks."""
STEADY_LOOKS = 3
CROWDED_S = 0.1
"""Between looks while it matters who is who and two people are near each other."""
NEAR = 3.0  # face widths between two people who may be taken for each other
TRIES = 3
"""Frames in a row that are looked at after nobody was found; then it is a turned head."""
INPUT_PX = 128
"""Longer side: what the face network sees."""
SMALL = 0.15
"""Width of a face, of the frame's, under which the whole picture does not surely show it."""
CLOSER = 4.0
"""Side of the cut around a small face, in its widths."""
MOST_CUTS = 2
"""Cuts besides the whole picture, in one look."""
SWEEP_LOOKS = 2
"""Every so many looks, and in each of the first, one part of the picture is looked at closer
although nobody is missed: whoever stands further back is found within three seconds."""
CALM_LOOKS = 6
"""After so many in a row between which nothing moved away from the people known, which is once
through all parts, only every CALM_SWEEP_LOOKS: who comes in moves."""
CALM_SWEEP_LOOKS = 8
MOVED = 5
"""Of 255: change of smoothed luma from which a px of half the grid has moved."""
MOVED_SHARE = 0.002
"""Share of the picture: half a face that is found by a closer look."""
AROUND = np.ones((13, 13), np.uint8)
"""In px of half the grid: so near a person it is the person who moves."""
SWEEP = (0.0, 0.5, 1.0)
"""Where a part lies, from the left (or the top) to the right."""
SAME = 0.3
"""Overlap (of the union) from which faces of two cuts are one."""


class Attention:
    """The faces of one camera."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._closer = Closer(detector)
        self._tracks = Tracks()
        self._shape: tuple[int, int] = (0, 0)
        self._cutters: dict[tuple[int, int], Cutter] = {}
        self._swept = 0
        self.reset()

    def reset(self) -> None:
        """Forget everybody: look at the next frame."""
        self._tracks.reset()
        self._looked_at_s: float | None = None
        self._looked_at: U8 | None = None
        self._mask: U8 | None = None
        self._calm = 0
        self._looks = 0
        self._misses = 0
        self._steady = 0

    def move(self, now_s: float, mask: U8) -> None:
        """Another frame, at this media time. mask: the alpha of the frame before, grid size."""
        self._tracks.move(now_s, mask)
        self._mask = mask

    def due(self, now_s: float, *, identity: bool = False, always: bool = False) -> bool:
        """This frame is to be looked at. identity: it matters who is who."""
        if self._looked_at_s is None or always or 0 < self._misses < TRIES:
            return True
        period_s = STEADY_S if self._steady >= STEADY_LOOKS else PERIOD_S
        if identity and self._crowded():
            period_s = CROWDED_S
        return not 0.0 <= now_s - self._looked_at_s < period_s

    def look(self, grid: Grid, now_s: float, faceless: Sequence[Box] = ()) -> None:
        """faceless: where the mask holds bodies without a face, fractions of the frame."""
        self._calm = self._calm + 1 if self._is_calm(grid) else 0
        found = self._closer.checked(grid, self._detect(grid, WHOLE))
        for cut in self._cuts(grid, found, faceless)[:MOST_CUTS]:
            for face in self._detect(grid, cut):
                if face.score >= SURE and all(overlap(face, other) < SAME for other in found):
                    found.append(face)
        before = {track.number for track in self._tracks.people}
        self._tracks.update(found, grid, now_s)
        seen = [track for track in self._tracks.people if track.seen_s == now_s]
        self._misses = 0 if seen else self._misses + 1
        same = bool(seen) and {track.number for track in self._tracks.people} == before
        self._steady = self._steady + 1 if same and len(seen) == len(before) else 0
        self._looked_at_s = now_s
        self._looks += 1

    @property
    def people(self) -> Sequence[Track]:
        """Who is in view, or was a moment ago."""
        return self._tracks.people

    def faces(self, seen_s: float | None = None) -> list[Face]:
        """Where their faces are by now, the largest first; of those seen so lately, if given."""
        faces = [
            track.face
            for track in self._tracks.people
            if seen_s is None or track.moved_s - track.seen_s <= seen_s
        ]
        return sorted(faces, key=lambda face: face.area, reverse=True)

    def _is_calm(self, grid: Grid) -> bool:
        """Nothing has moved since the last look but the people who are known."""
        before, self._looked_at = self._looked_at, grid.coarse
        if before is None or before.shape != grid.coarse.shape:
            return False
        moved = cv2.blur(cv2.absdiff(grid.coarse, before), (3, 3))
        moved = cv2.threshold(moved, MOVED, 255, cv2.THRESH_BINARY)[1]
        if self._mask is not None:
            people = cv2.resize(self._mask, before.shape[::-1], interpolation=cv2.INTER_AREA)
            around = cv2.dilate(cv2.threshold(people, 0, 255, cv2.THRESH_BINARY)[1], AROUND)
            moved = cv2.bitwise_and(moved, cv2.bitwise_not(around))
        return cv2.countNonZero(moved) < MOVED_SHARE * moved.size

    def _crowded(self) -> bool:
        people = self._tracks.people
        return any(
            abs(a.centre[0] - b.centre[0]) < NEAR * max(a.size, b.size)
            for i, a in enumerate(people)
            for b in people[:i]
        )

    def _cuts(self, grid: Grid, found: Sequence[Face], faceless: Sequence[Box]) -> list[Box]:
        cuts = [
            _around(track.face, grid)
            for track in self._tracks.people
            if track.size < SMALL and all(overlap(track.face, face) < SAME for face in found)
        ]
        cuts += [
            _upper(box, grid) for box in faceless if not any(_inside(face, box) for face in found)
        ]
        every = SWEEP_LOOKS if self._calm < CALM_LOOKS else CALM_SWEEP_LOOKS
        swept = self._looks < len(SWEEP) or self._looks % every == 0
        if not cuts and (not found or swept):
            cuts.append(_part(SWEEP[self._swept % len(SWEEP)], grid))
            self._swept += 1
        return cuts

    def _detect(self, grid: Grid, box: Box) -> list[Face]:
        left, top, right, bottom = box
        if grid.size != self._shape:
            self._cutters, self._shape = {}, grid.size
        columns, rows = grid.size
        width, height = (right - left) * columns, (bottom - top) * rows
        scale = INPUT_PX / max(width, height)
        size = max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)
        cutter = self._cutters.get(size)
        if cutter is None:
            if len(self._cutters) > 4:
                self._cutters.clear()  # cuts at a border come in many shapes
            cutter = self._cutters[size] = Cutter(*size)
        faces = self._detector.detect(cutter.cut(grid, box))
        if box == WHOLE:
            return faces
        return [placed(face, box) for face in faces]


def _around(face: Face, grid: Grid) -> Box:
    middle = (face.left + face.right) / 2, (face.top + face.bottom) / 2
    return square_around(*middle, CLOSER * (face.right - face.left) * grid.size[0], grid.size)


def _upper(box: Box, grid: Grid) -> Box:
    """The square in which a body's face should be: its upper part."""
    columns, rows = grid.size
    left, top, right, bottom = box
    width_px, height_px = (right - left) * columns, (bottom - top) * rows
    side_px = 1.2 * max(min(width_px, height_px), height_px / 2)
    return square_around((left + right) / 2, top + 0.4 * side_px / rows, side_px, grid.size)


def _part(place: float, grid: Grid) -> Box:
    """A square as large as the frame's shorter side allows, or half the frame."""
    columns, rows = grid.size
    side_px = min(columns, rows, max(columns, rows) / 2)
    return square_around(place, 0.0 if columns >= rows else place, side_px, grid.size)


def _inside(face: Face, box: Box) -> bool:
    x, y = (face.left + face.right) / 2, (face.top + face.bottom) / 2
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]
