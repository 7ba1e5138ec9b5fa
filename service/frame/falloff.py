"""Blur that grows with the distance from the person, as a lens does it that is focused on them.

A small picture of the room is blurred further, in steps; how far a pixel lies from the person says
which two steps are mixed there. Every step is blurred at least as much as the first one, and a mix
of two is nowhere sharper than the sharper of them: what the first one hides stays hidden. Used by
blur.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from service.frame.planes import U8

STEPS = 2
"""Beyond the first blur: two mix without a seam where one would show as a double picture."""
FAR_SHARE = 0.15
"""Standard deviation at the furthest, at falloff 1, of the frame's longer side."""
NEAR_SHARE = 0.03
REACH_SHARE = 0.45
"""Distances from the person, of the longer side: up to the first the blur is the effect's own,
from the second on it is the furthest."""
FOLLOW = 0.15
"""Share that the map of distances takes of a new one: a person who sways moves no light."""


class Falloff:
    """Of one track: remembers how far everything was from the person."""

    def __init__(self) -> None:
        self._distance: NDArray[np.float32] | None = None

    def reset(self) -> None:
        self._distance = None

    def room(
        self,
        total: NDArray[np.float32],
        weight: NDArray[np.float32],
        covered: U8,
        *,
        sigma_px: float,
        falloff: float,
        blurred: Callable[[NDArray[np.float32], float], NDArray[np.float32]],
    ) -> NDArray[np.float32]:
        """The room, H x W x 3, 0..255.

        total, weight: blurred sums, H x W x 3 and H x W, left as they are; sigma_px: how far they
        are blurred. covered: the person, H x W, 0..255. blurred: in place, by a deviation in px.
        """
        longer = max(covered.shape)
        step = falloff * STEPS * self._from_person(covered, longer)
        most_px = max(sigma_px, FAR_SHARE * longer)
        room = cv2.divide(total, cv2.merge((weight,) * 3))
        total, weight, reached_px = total.copy(), weight.copy(), sigma_px
        for number in range(1, STEPS + 1):
            wanted_px = sigma_px + (most_px - sigma_px) * number / STEPS
            # Variances of blurs that follow each other add up.
            further_px = float(np.sqrt(wanted_px**2 - reached_px**2))
            reached_px = wanted_px
            total, weight = blurred(total, further_px), blurred(weight, further_px)
            further = cv2.divide(total, cv2.merge((weight,) * 3))
            share = np.clip(step - np.float32(number - 1), 0, 1)
            room += share[..., None] * (further - room)
        return np.asarray(room, np.float32)

    def _from_person(self, covered: U8, longer: int) -> NDArray[np.float32]:
        """H x W, from 0 (near) to 1 (REACH_SHARE and beyond), steady over time."""
        nobody = cv2.threshold(covered, 127, 255, cv2.THRESH_BINARY_INV)[1]
        px = cv2.distanceTransform(nobody, cv2.DIST_L2, 3)
        share = (px / longer - NEAR_SHARE) / (REACH_SHARE - NEAR_SHARE)
        now = np.asarray(np.clip(share, 0, 1), np.float32)
        if self._distance is None or self._distance.shape != now.shape:
            self._distance = now
        else:
            cv2.accumulateWeighted(now, self._distance, FOLLOW)
        return self._distance
