"""The blurred background: the room behind the person, at a resolution at which nothing is read.

The room is blurred at 160 px by normalised convolution: every pixel counts as much as it is
background, so that the person does not bleed into the room (no halo), and what is hidden by the
person is filled in from around. The sums run over time too, with old frames fading out: a part
that was seen a moment ago is better than one filled in, and sensor noise averages away. The
8-bit result changes only where it changes by more than rounding, so that a still room stays the
same bit for bit and costs the encoder nothing. Used by pipeline.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from service.frame.falloff import Falloff
from service.frame.grid import Grid, half
from service.frame.planes import U8, Planes, empty

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from service.frame.mask import Mask

FLOOR_SHARE = 0.034
"""Standard deviation at strength 0, of the frame's longer side (22 px of 640). A Gaussian of s px
leaves exp(-2 (pi s f)^2) of a pattern with f cycles per px; letters of height h need about 2.5 / h
to be read and faces 8 cycles across: letters of a fifth of the frame's height and faces of two
fifths of its width keep less than 5 % of their contrast. tests/acceptance/test_blur.py tries to
read what comes back, and found 0.016 too little."""
CEILING_SHARE = 0.065
"""At strength 1: only the colours of the room remain."""
CLOSED_SHARE = 0.07
"""When nobody is found the person is in the picture too: no face may be known again."""
WORK_PX = 160
"""Longer side of the picture that is blurred; the smallest standard deviation is 2.6 px of it."""
ENOUGH_PX = 5.2
"""Standard deviation from which half of WORK_PX does as well: 2.6 px of that again."""
EVERY = 2
"""The room is looked at in each second frame: it hardly moves, and what the person uncovers in
between was filled in before."""
FADE = 0.6  # of the sums, kept from look to look: an average over five frames
LEAST_WEIGHT = 0.002  # of the person's own pixels: the sums never vanish, and it is not seen
HYSTERESIS = 2  # of 255: smaller changes are rounding and noise
GROW = np.ones((3, 3), np.uint8)  # the person's soft rim at this size: 4 px of a 640 px frame
PASSES = 3  # box filters in a row; three come within 3 % of a Gaussian at any width for one price


class BlurredRoom:
    """The blurred background of one track."""

    def __init__(self) -> None:
        self._total: NDArray[np.float32] | None = None
        self._weight: NDArray[np.float32] | None = None
        self._shown: U8 | None = None
        self._planes: Planes | None = None
        self._strength = 0.0
        self._frames = -1
        self._version: int | None = None
        self._falloff = Falloff()

    def reset(self) -> None:
        """Forget the room: another effect, another scene."""
        self._total = self._weight = self._shown = None
        self._frames = -1
        self._falloff.reset()

    def behind(
        self,
        grid: Grid,
        mask: Mask,
        strength: float,
        size: tuple[int, int],
        *,
        falloff: float = 0.0,
    ) -> Planes:
        """The background for a frame of that (width, height); valid until the next frame.

        strength, falloff: the effect's options, the same ones until reset(). mask: the one that
        the frame is composed with. While it stays nothing has moved, so that nothing new is to be
        seen.
        """
        self._frames += 1
        stays = mask.version is not None and mask.version == self._version
        planes = self._planes
        if (
            planes is not None
            and self._shown is not None
            and planes.size == size
            and planes.colour == grid.colour
            and self._strength == strength
            and (stays or self._frames % EVERY)
        ):
            return planes
        share = FLOOR_SHARE + strength * (CEILING_SHARE - FLOOR_SHARE)
        image, sigma_px = _small(grid, share)
        rows, columns = image.shape[:2]
        self._version = mask.version
        covered = cv2.dilate(
            cv2.resize(mask.alpha, (columns, rows), interpolation=cv2.INTER_AREA), GROW
        )
        weight = np.maximum((255 - covered) * np.float32(1 / 255), np.float32(LEAST_WEIGHT))
        total = _blurred(image * weight[..., None], sigma_px)
        weight = _blurred(weight, sigma_px)
        if self._total is None or self._total.shape != total.shape or self._strength != strength:
            self._total, self._weight, self._shown = total, weight, None
            self._strength = strength
        else:
            assert self._weight is not None
            cv2.scaleAdd(self._total, FADE, total, dst=self._total)
            cv2.scaleAdd(self._weight, FADE, weight, dst=self._weight)
        room: NDArray[Any] = (
            self._falloff.room(
                self._total,
                self._weight,
                np.asarray(covered, np.uint8),
                sigma_px=sigma_px,
                falloff=falloff,
                blurred=_blurred,
            )
            if falloff
            else cv2.divide(self._total, cv2.merge((self._weight,) * 3))
        )
        return self._upsampled(np.asarray(cv2.convertScaleAbs(room), np.uint8), grid, size)

    def closed(self, grid: Grid, size: tuple[int, int]) -> Planes:
        """The whole frame beyond recognition, person included."""
        image, sigma_px = _small(grid, CLOSED_SHARE)
        self.reset()
        blurred = cv2.convertScaleAbs(_blurred(image.astype(np.float32), sigma_px))
        return self._upsampled(np.asarray(blurred, np.uint8), grid, size)

    def _upsampled(self, room: U8, grid: Grid, size: tuple[int, int]) -> Planes:
        shown, planes = self._shown, self._planes
        fits = planes is not None and planes.size == size and planes.colour == grid.colour
        if planes is not None and fits and shown is not None and shown.shape == room.shape:
            changed = cv2.threshold(
                cv2.absdiff(room, shown), HYSTERESIS - 1, 255, cv2.THRESH_BINARY
            )[1]
            if not changed.any():
                return planes
            cv2.copyTo(room, changed, shown)
        else:
            shown = self._shown = room
        # A new object even where its arrays are the old ones: it is another picture.
        planes = empty(*size, grid.colour) if planes is None or not fits else replace(planes)
        self._planes = planes
        for small, plane in zip(cv2.split(shown), planes.each(), strict=True):
            cv2.resize(small, plane.shape[::-1], dst=plane, interpolation=cv2.INTER_LINEAR)
        return planes


def _small(grid: Grid, share: float) -> tuple[U8, float]:
    """H x W x 3 YUV, as small as the blur allows, and the blur's standard deviation in its px.

    share: that of the frame's longer side.
    """
    planes, longer = [grid.y, grid.u, grid.v], max(grid.size)
    while longer > WORK_PX or (longer > WORK_PX // 2 and share * longer >= ENOUGH_PX):
        planes = [half(plane) for plane in planes]
        longer = max(planes[0].shape)
    return np.asarray(cv2.merge(planes), np.uint8), share * longer


def _blurred(image: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """In place: box filters whose variances add up to the Gaussian's (w^2 - 1 = 12 s^2 / n)."""
    width = int(np.sqrt(12 * sigma_px**2 / PASSES + 1))
    width = max(3, width + 1 - width % 2)  # odd, and rather wider than narrower
    for _ in range(PASSES):
        cv2.blur(image, (width, width), dst=image, borderType=cv2.BORDER_REPLICATE)
    return image
