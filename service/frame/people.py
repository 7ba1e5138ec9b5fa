"""Whose mask it is: everyone's, the speaker's in front, or the nearest few people's.

The network's mask does not tell people apart; their tracked faces do. A blob with one person's
face is that person's; one that several share is parted where their bodies meet, by how far each
cell lies from each body, in sizes of its face. Used by matte.py on every answer of the network,
after components.py has taken out what is nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from service.policy.effects import EVERYONE, SPEAKER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from service.frame.planes import U8
    from service.frame.tracks import Track

SHRINK = 4  # bodies are parted on a quarter of the grid: the border is smoothed anyhow
AHEAD = 1.3
"""Times as large as the one who is shown that another's face must be to take over."""
AHEAD_S = 1.0
"""And for so long."""
FAR = 2.5
"""Body widths from the nearest chosen body beyond which a loose piece is nobody's: a raised hand
is nearer."""
BODY_DOWN = (-0.4, 0.2, 0.9, 1.2, 2.0)
BODY_HALF = (0.4, 0.75, 0.75, 1.0, 1.9)
"""Half a body's width in face widths, by face heights below the brow: head, neck, shoulders."""
IN_FRONT = 1.0
"""Power of the faces' sizes in the comparison of two bodies' distances."""
ABOVE = 0.7  # face heights of hair above the brow


class People:
    """Keeps the chosen people of one camera."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Choose afresh."""
        self._chosen: list[int] = []
        self._ahead_since_s: float | None = None

    def choose(self, wanted: str | int, people: Sequence[Track], now_s: float) -> list[int] | None:
        """Numbers of the chosen, the nearest first; None when everyone is, or nobody is known.

        Whoever is chosen stays so until they have gone, or another is clearly nearer for a while.
        """
        if wanted == EVERYONE or not people:
            self.reset()
            return None
        most = 1 if wanted == SPEAKER else int(wanted)
        size = {track.number: track.size for track in people}
        nearest = sorted(size, key=lambda number: -size[number])
        kept = [number for number in self._chosen if number in size][:most]
        kept += [number for number in nearest if number not in kept][: most - len(kept)]
        others = [number for number in nearest if number not in kept]
        last = min(kept, key=lambda number: size[number])
        if others and size[others[0]] > AHEAD * size[last]:
            if self._ahead_since_s is None:
                self._ahead_since_s = now_s
            elif now_s - self._ahead_since_s >= AHEAD_S:
                kept[kept.index(last)] = others[0]
                self._ahead_since_s = None
        else:
            self._ahead_since_s = None
        self._chosen = sorted(kept, key=lambda number: -size[number])
        return self._chosen

    @staticmethod
    def keep(mask: U8, people: Sequence[Track], chosen: Sequence[int]) -> None:
        """Zero in mask (grid size, written to) what belongs to others."""
        rows, columns = mask.shape
        size = (max(1, columns // SHRINK), max(1, rows // SHRINK))
        ours = [track for track in people if track.number in chosen]
        theirs = [track for track in people if track.number not in chosen]
        kept = _nearest(ours, size, in_front=True) < _nearest(theirs, size, in_front=True)
        kept &= _nearest(ours, size) <= FAR
        # Enlarged linearly, the border between two people is as soft as a mask's edge.
        allowed = cv2.resize(
            kept.astype(np.uint8) * 255, (columns, rows), interpolation=cv2.INTER_LINEAR
        )
        cv2.min(mask, allowed, dst=mask)


def _nearest(
    people: Sequence[Track], size: tuple[int, int], *, in_front: bool = False
) -> NDArray[np.float32]:
    """How far each cell is from the nearest body, in half widths of it: 1 at its outline.

    in_front: the larger a face, the less; who is nearer to the camera hides who is behind.
    """
    columns, rows = size
    x = ((np.arange(columns) + 0.5) / columns)[None, :]
    y = (np.arange(rows) + 0.5) / rows
    nearest = np.full((rows, columns), np.inf)
    for track in people:
        face = track.face
        down = (y - face.top) / max(face.bottom - face.top, 1e-3)  # 0 at the brow, 1 at the chin
        half = track.size * np.interp(down, BODY_DOWN, BODY_HALF)
        aside = np.abs(x - (face.left + face.right) / 2) / half[:, None]
        above = np.maximum(0.0, -ABOVE - down)[:, None]
        distance = aside + 2 * above
        if in_front:
            distance /= track.size**IN_FRONT
        nearest = np.minimum(nearest, distance)
    return nearest.astype(np.float32)
