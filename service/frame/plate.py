"""The clean plate: what the background looks like where the person is not, learned as it shows.

A pixel that looks like the known background is background, whatever the network says; one that
looks different, and that the network half believes in, is person. Worth 1 to 1.5 points of MAD
(x 1000) on the test clips, for a few 8-bit passes over the person's box. The combination of the
two beliefs is a table of 65536 bytes: OpenCV looks alpha and difference up in one pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from service.frame.motion import shifted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from service.frame.grid import Grid
    from service.frame.planes import U8

STRIPS = 4  # a quarter of the rows is learned each frame: even cost, and rooms change slowly
SEEN = 52  # added to a pixel's confidence each time it is seen; five times make it full
AGE_FRAMES = 32  # in which a pixel that is not seen loses one of its 255 points of confidence


@dataclass(frozen=True, slots=True)
class PlateParameters:
    clear: int = 38
    """Of 255: dilated alpha under which a pixel is surely background, and is learned."""
    margin_px: int = 5
    """Side of the dilation, in grid px: the person's shadow and soft rim are not learned."""
    known: int = 115
    """Confidence from which the plate is believed: seen at least three times."""
    rate: float = 0.25
    """Share of the new in what is known: follows exposure in a second."""
    same: int = 30
    """Difference |dY| + 2|dU| + 2|dV| under which a pixel looks like the plate. Sensor noise and
    compression reach 20."""
    other: int = 80
    """Difference from which it surely looks different."""
    less: float = 3.0
    """Taken from the logit of a pixel that is exactly the plate. A network that is sure (0.99)
    stays above the alpha that counts as all person: at 8 a dark jacket in front of a dark wall got
    holes, for 0.15 points of MAD."""
    more: float = 4.0
    """Added to the logit of one that surely is not; only where the network half believes."""
    sparse: int = 6
    """Every so many pixels in each direction are looked at for a change of light."""
    enough: int = 60
    """Of them that must show the known room to tell."""
    other_light: float = 0.03
    """Change of brightness that is followed at once; `rate` follows smaller ones."""
    half_believed: int = 31
    """Of 255: the least alpha that a difference can raise. What moves in the background differs
    from the plate too."""


def evidence_table(p: PlateParameters) -> NDArray[np.uint8]:
    """Index difference + 256 x alpha; value alpha after the evidence. Difference `same` = none."""
    alpha = np.arange(256)
    believed = np.clip(alpha, 2, 253) / 255.0
    logit = np.log(believed / (1.0 - believed))[:, None]
    difference = np.arange(256)[None, :]
    shift = np.where(
        difference < p.same,
        -p.less * (1.0 - difference / p.same),
        np.where(
            alpha[:, None] >= p.half_believed,
            p.more * np.minimum(1.0, (difference - p.same) / (p.other - p.same)),
            0.0,
        ),
    )
    table = np.rint(255.0 / (1.0 + np.exp(-(logit + shift)))).astype(np.uint8)
    table = np.where(shift == 0.0, alpha[:, None], table).astype(np.uint8)
    table[:4] = 0
    return table.reshape(1, 65536)


class Plate:
    """The learned background of one track, at grid size."""

    def __init__(self, parameters: PlateParameters | None = None) -> None:
        self._p = parameters or PlateParameters()
        self._table = evidence_table(self._p)
        self._grow = np.ones((self._p.margin_px, self._p.margin_px), np.uint8)
        self._frames = 0
        self._sum: list[NDArray[np.float32]] = []
        self._plate: list[U8] = []
        self._confidence = np.zeros((0, 0), np.uint8)

    def reset(self, rows: int, columns: int) -> None:
        """Forget all: another size, or another scene."""
        self._frames = 0
        self._sum = [np.zeros((rows, columns), np.float32) for _ in range(3)]
        self._plate = [np.zeros((rows, columns), np.uint8) for _ in range(3)]
        self._confidence = np.zeros((rows, columns), np.uint8)
        self._seen = np.full((rows, columns), SEEN, np.uint8)

    def shift(self, dx: float, dy: float) -> None:
        """The camera was moved: what is known moves along, in grid px to the right and down."""
        self._sum = [shifted(total, dx, dy) for total in self._sum]
        self._plate = [shifted(plane, dx, dy) for plane in self._plate]
        self._confidence = shifted(self._confidence, dx, dy)

    def brighten(self, grid: Grid, alpha: U8) -> None:
        """Another light or exposure: what is known becomes as bright as what shows now.

        alpha: that of the frame before, where it was not person.
        """
        sparse = np.s_[:: self._p.sparse, :: self._p.sparse]
        seen = (self._confidence[sparse] >= self._p.known) & (alpha[sparse] == 0)
        if seen.sum() < self._p.enough:
            return
        before = self._plate[0][sparse][seen].astype(np.float32)
        now = grid.smooth[sparse][seen].astype(np.float32)
        # Of each pixel's own ratio the median: what moves in the room is the smaller part.
        gain = float(np.median((now + 1) / (before + 1)))
        if abs(gain - 1) < self._p.other_light:
            return
        self._sum[0] = np.clip(self._sum[0] * np.float32(gain), 0, 255)
        cv2.convertScaleAbs(self._sum[0], dst=self._plate[0])

    def weigh(self, alpha: U8, grid: Grid, rows: slice, columns: slice) -> U8:
        """The network's alpha in that part of the grid, after the plate's evidence."""
        now = (grid.smooth, grid.u, grid.v)
        luma, u, v = (
            cv2.absdiff(plane[rows, columns], plate[rows, columns])
            for plane, plate in zip(now, self._plate, strict=True)
        )
        chroma = cv2.add(u, v, dst=u)
        difference = cv2.add(luma, cv2.add(chroma, chroma, dst=v), dst=luma)
        # Where the plate is not known the difference is `same`, which the table takes for none.
        confidence, p = self._confidence[rows, columns], self._p
        known = cv2.threshold(confidence, p.known, 255, cv2.THRESH_BINARY)[1]
        none = cv2.threshold(confidence, p.known, p.same, cv2.THRESH_BINARY_INV)[1]
        cv2.bitwise_or(cv2.bitwise_and(difference, known, dst=difference), none, dst=difference)
        index = cv2.merge((difference, alpha[rows, columns])).view(np.uint16)[..., 0]
        return np.asarray(cv2.LUT(index, self._table), np.uint8)

    def learn(self, alpha: U8, grid: Grid) -> None:
        """Look at a quarter of the rows (all of them in the first frame)."""
        height = alpha.shape[0]
        if self._frames == 0:
            strips = [slice(0, height)]
        else:
            k = self._frames % STRIPS
            strips = [slice(height * k // STRIPS, height * (k + 1) // STRIPS)]
        reach = self._p.margin_px // 2
        for rows in strips:
            top = max(0, rows.start - reach)
            around = alpha[top : rows.stop + reach]
            grown = cv2.dilate(around, self._grow)[rows.start - top : rows.stop - top]
            clear = cv2.threshold(grown, self._p.clear, 255, cv2.THRESH_BINARY_INV)[1]
            self._see(rows, clear, grid)
        if self._frames % AGE_FRAMES == AGE_FRAMES - 1:
            np.subtract(self._confidence, self._confidence > 0, out=self._confidence)
        self._frames += 1

    def _see(self, rows: slice, clear: NDArray[Any], grid: Grid) -> None:
        confidence = self._confidence[rows]
        new = cv2.bitwise_and(clear, cv2.threshold(confidence, 0, 255, cv2.THRESH_BINARY_INV)[1])
        fresh = cv2.countNonZero(new) > 0
        now = (grid.smooth, grid.u, grid.v)
        for plane, total, plate in zip(now, self._sum, self._plate, strict=True):
            if fresh:
                cv2.copyTo(plane[rows].astype(np.float32), new, total[rows])
            cv2.accumulateWeighted(plane[rows], total[rows], self._p.rate, clear)
            cv2.convertScaleAbs(total[rows], dst=plate[rows])
        cv2.add(confidence, self._seen[rows], dst=confidence, mask=clear)
