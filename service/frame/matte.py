"""Person probability over time to a stable alpha with fine edges. State of one track.

    grid -> (still? the network is not asked) -> person.py -> components.py
         -> (nothing moved at all? the mask stays) -> plate.py -> motion-adaptive smoothing
         -> region.py -> edges.py -> Mask

Movement deep inside the person (a mouth that talks) moves no edge and does not count.

The order and the figures are those that measured best on the test clips (docs/models.md). All
work is on the grid and, from the plate on, inside the person's box only. pipeline.py calls
observe(), then answer() with what the network said unless nothing moved, then mask().
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from service.frame.components import ComponentParameters, Components
from service.frame.edges import EdgeParameters, Edges
from service.frame.grid import half
from service.frame.heads import close_holes
from service.frame.mask import MAX_AGE_FRAMES, MAX_AGE_S, Mask
from service.frame.motion import Flow, brightened, camera_shift, light_change, shifted
from service.frame.people import People
from service.frame.plate import Plate, PlateParameters
from service.frame.region import Region, RegionParameters
from service.policy.effects import EVERYONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from service.frame.grid import Grid
    from service.frame.planes import U8
    from service.frame.region import Box
    from service.frame.tracks import Track


MOVEMENT_PX = (3, 3)
"""Of half the grid: differences are averaged over this before they count as movement."""


@dataclass(frozen=True, slots=True)
class MatteParameters:
    """Every figure of the matte in one place."""

    still_difference: int = 5
    """Of 255: change of smoothed luma from which a grid pixel has moved. Noise stays under it."""
    still_share: float = 0.02
    """Share of moved pixels under which the picture is still. At 0.0005 the network ran in 89 % of
    the test clips' frames instead of 58 %, for 0.07 points of MAD."""
    still_block: float = 0.5
    """Share of a block (16 x 16 px of the grid) that must not have moved: a hand comes in small."""
    most_skipped: int = 9
    """Frames in a row that a still picture may go without the network: a third of a second."""
    held_share: float = 0.002
    """Share of moved pixels under which the mask itself stays: no edge is anywhere else."""
    held_block: float = 0.25
    """Share of a block that must not have moved for that."""
    most_held: int = 5
    """Frames in a row that keep a mask: what is learned of the room goes on in between."""
    settled: int = 30
    """Masks made from the first on before one is kept: until then the room is being learned."""
    solid: int = 250
    """Of 255: alpha of the person's inside."""
    inside_px: int = 13
    """Side of the erosion, in px of half the grid: so near the person's edge movement counts."""
    bump_share: float = 0.35
    """Share of the picture that has moved when it is asked whether the camera did."""
    flow_share: float = 0.005
    """Share of the picture that must have moved for a mask to be carried along in a frame that
    the network is not asked about."""
    slow: float = 2.0
    fast: float = 8.0
    """Luma differences between which the smoothing goes from floor to none."""
    floor: float = 0.2
    """Share of the new alpha where nothing moves: flicker 2.2 rather than 3.0 (dtSSD)."""
    cut_difference: int = 25
    cut_share: float = 0.6
    """A cut: more than this share of the picture changed by more than that, and neither a camera
    that was moved nor another light explains it."""
    component: ComponentParameters = field(default_factory=ComponentParameters)
    plate: PlateParameters = field(default_factory=PlateParameters)
    edge: EdgeParameters = field(default_factory=EdgeParameters)
    region: RegionParameters = field(default_factory=RegionParameters)


class Matte:
    """Alpha of one track over time."""

    def __init__(self, parameters: MatteParameters | None = None) -> None:
        self._p = parameters or MatteParameters()
        self._components = Components(self._p.component)
        self._plate = Plate(self._p.plate)
        self._edges = Edges(self._p.edge)
        self._people = People()
        self._flow = Flow()
        self.region = Region(self._p.region)
        self.every = 1
        """The network is asked in every so many frames; in between its answer is carried along."""
        ramp = (np.arange(256) - self._p.slow) / (self._p.fast - self._p.slow)
        rate = self._p.floor + (1.0 - self._p.floor) * np.clip(ramp, 0.0, 1.0)
        self._rate = np.rint(255.0 * rate).astype(np.uint8).reshape(1, 256)
        self._shrink = np.ones((self._p.inside_px, self._p.inside_px), np.uint8)
        self._grid: Grid | None = None
        self._shown: Sequence[Track] = ()
        self._version = 0
        """Of the mask; goes on after a reset, or an old mask could be taken for a new one."""
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next frame is a first one."""
        self._fresh = self._first = True
        self._last: U8 | None = None
        """The picture that the present mask was made for, at half the grid."""
        self._asked: U8 | None = None
        self._matters: U8 | None = None
        """Where movement counts (255): everywhere but deep inside the person."""
        self._made = 0
        self._edge: float | None = None
        self._hold = False
        self._held = 0
        self._skipped = 0
        self._carried = 0
        self._age_frames = 0
        self._people.reset()
        self._shown = ()
        self._asked_at_s: float | None = None
        self._now_s: float | None = None
        self.region.reset()

    def observe(self, grid: Grid, now_s: float | None) -> bool:
        """Take the next frame in; True when the network must be asked about it.

        now_s: the frame's media time; None when it has none.
        """
        before = self._last
        self._hold = False
        if before is not None and (before.shape != grid.coarse.shape or self._gap(now_s)):
            self.reset()
        elif before is not None:
            self._moved = cv2.blur(cv2.absdiff(grid.coarse, before), MOVEMENT_PX)
            if self._share_moved(self._p.still_difference) > self._p.bump_share:
                self._whole_picture_moved(grid, before)
        if self._fresh:
            rows, columns = grid.smooth.shape
            self._raw = np.zeros((rows, columns), np.uint8)
            self._alpha = np.zeros((rows, columns), np.uint8)
            self._fine = np.zeros((rows, columns), np.uint8)
            self._plate.reset(rows, columns)
        self._first = self._fresh or not (self._alpha > 127).any()
        self._grid = grid
        self._now_s = now_s
        self._age_frames += 1
        if self._fresh or self.empty():
            return True
        if self._skipped < self._p.most_skipped and self._still(grid):
            self._skipped += 1
            self._hold = self._unmoved()
            return False
        if self._skipped + self._carried + 1 < self.every:
            self._carried += 1
            assert before is not None
            if self._share_moved(self._p.still_difference) > self._p.flow_share:
                self._raw = self._flow.carry(self._raw, before, grid.coarse)
            return False
        return True

    def ask(self) -> None:
        """The network must be asked about the next frame, whatever moves: something else is wanted
        of its answer."""
        self._asked = None

    def _share_moved(self, difference: int) -> float:
        """Share of the picture that changed by more than that since the frame before."""
        changed = cv2.threshold(self._moved, difference, 1, cv2.THRESH_BINARY)[1]
        return cv2.countNonZero(changed) / changed.size

    def _whole_picture_moved(self, grid: Grid, before: U8) -> None:
        """The camera was bumped, the light was switched on, or it is another picture."""
        shift = camera_shift(before, grid.coarse)
        if shift is not None:
            rows, columns = before.shape
            scale = grid.size[0] / columns
            dx, dy = scale * shift[0], scale * shift[1]
            self._plate.shift(dx, dy)
            self._raw, self._alpha = shifted(self._raw, dx, dy), shifted(self._alpha, dx, dy)
            self.region.shift(shift[0] / columns, shift[1] / rows)
            moved = cv2.absdiff(grid.coarse, np.asarray(shifted(before, *shift), np.uint8))
            self._moved = cv2.blur(moved, MOVEMENT_PX)
            self._asked = None  # the picture of the last answer is elsewhere
        elif (gain := light_change(before, grid.coarse)) is not None:
            self._plate.brighten(grid, self._alpha)
            moved = cv2.absdiff(grid.coarse, brightened(before, gain))
            self._moved = cv2.blur(moved, MOVEMENT_PX)
        elif self._share_moved(self._p.cut_difference) > self._p.cut_share:
            self.reset()

    @property
    def fresh(self) -> bool:
        """No mask of the past counts: this frame is a first one."""
        return self._fresh

    @property
    def first(self) -> bool:
        """Nobody was there in the frame before."""
        return self._first

    def answer(
        self, probability: U8, people: Sequence[Track] | None, wanted: str | int = EVERYONE
    ) -> None:
        """What the network said of the observed frame (grid size; taken over and written to).

        people: those whose faces are tracked; None when nobody looked for any. wanted: the
        effect's option `people`.
        """
        assert self._grid is not None
        faces = None if people is None else [track.face for track in people]
        if people:
            close_holes(probability, people)
        self._components.clean(probability, self._alpha, faces)
        self._shown = people or ()
        if people:
            chosen = self._people.choose(wanted, people, people[0].moved_s)
            if chosen is not None:
                self._shown = [track for track in people if track.number in chosen]
                self._people.keep(probability, people, chosen)
        self._raw = probability
        self._asked = self._grid.coarse
        self._asked_at_s = self._now_s
        self._age_frames = 0
        self._skipped = self._carried = 0

    @property
    def faceless(self) -> Sequence[Box]:
        """Where the last answer holds bodies whose face nobody has found, in fractions."""
        return self._components.faceless

    @property
    def alpha(self) -> U8:
        """The alpha of the frame before, before its edges were refined: grid size."""
        return self._alpha

    @property
    def shown(self) -> Sequence[Track]:
        """Who is in the last answer, of those whose faces are known."""
        return self._shown

    def empty(self) -> bool:
        """The network's last answer holds nobody."""
        return cv2.countNonZero(self._raw) == 0

    def mask(self, edge: float, input_aspect: float) -> Mask:
        """The observed frame's mask. edge: the effect's option, 0 crisp to 1 soft."""
        grid = self._grid
        assert grid is not None
        if self._hold and edge == self._edge:
            self._held += 1
        else:
            self._make(grid, edge, input_aspect)
        age_s = 0.0
        if self._now_s is not None and self._asked_at_s is not None:
            age_s = self._now_s - self._asked_at_s
        return Mask(self._fine, age_s=age_s, age_frames=self._age_frames, version=self._version)

    def _make(self, grid: Grid, edge: float, input_aspect: float) -> None:
        """The mask anew, from the last answer and what the picture shows now."""
        self._smooth(grid)
        self._plate.learn(self._alpha, grid)
        self.region.follow(self._alpha, input_aspect, [track.face for track in self._shown])
        self._edges.refine(grid.y, self._alpha, edge, self._fine)
        inside = cv2.threshold(
            half(self._fine) if grid.coarse is not grid.y else self._fine,
            self._p.solid,
            255,
            cv2.THRESH_BINARY,
        )[1]
        self._matters = np.asarray(cv2.bitwise_not(cv2.erode(inside, self._shrink)), np.uint8)
        self._last = grid.coarse
        self._edge = edge
        self._made += 1
        self._version += 1
        self._held = 0
        self._fresh = False

    def _gap(self, now_s: float | None) -> bool:
        """The last frame is too long ago, or time went backwards."""
        if self._age_frames > MAX_AGE_FRAMES:
            return True
        if now_s is None or self._now_s is None:
            return False
        return not 0.0 <= now_s - self._now_s <= MAX_AGE_S

    def _still(self, grid: Grid) -> bool:
        """Little changed since the network was last asked (not: since the last frame, or a slow
        movement would never count)."""
        asked = self._asked
        if asked is None:
            return False
        moved = cv2.blur(cv2.absdiff(grid.coarse, asked), MOVEMENT_PX)
        return self._less(moved, self._p.still_share, self._p.still_block)

    def _unmoved(self) -> bool:
        """Nothing that matters to the mask moved since it was made."""
        if self._held >= self._p.most_held or self._made < self._p.settled:
            return False
        return self._less(self._moved, self._p.held_share, self._p.held_block)

    def _less(self, moved: NDArray[Any], share: float, block: float) -> bool:
        """Less than that share of the picture moved, and less than that of each of its blocks."""
        many = cv2.threshold(moved, self._p.still_difference, 255, cv2.THRESH_BINARY)[1]
        if self._matters is not None:
            cv2.bitwise_and(many, self._matters, dst=many)
        if cv2.countNonZero(many) >= share * many.size:
            return False
        rows, columns = many.shape
        blocks = cv2.resize(
            many, (max(1, columns // 8), max(1, rows // 8)), interpolation=cv2.INTER_AREA
        )
        return int(blocks.max()) < 255 * block

    def _smooth(self, grid: Grid) -> None:
        """alpha += rate(movement) * (evidence - alpha), inside the box of both."""
        left, top, width, height = cv2.boundingRect(cv2.max(self._raw, self._alpha))
        if width == 0:
            return
        rows, columns = slice(top, top + height), slice(left, left + width)
        now = self._plate.weigh(self._raw, grid, rows, columns)
        alpha = self._alpha[rows, columns]
        if self._first:  # nothing to be smoothed with: whoever appears is there at once
            np.copyto(alpha, now)
            return
        rate = cv2.resize(
            cv2.LUT(self._moved, self._rate),
            grid.size,
            interpolation=cv2.INTER_LINEAR,
        )[rows, columns]
        taken = cv2.multiply(now, rate, scale=1 / 255)
        kept = cv2.multiply(alpha, cv2.bitwise_not(rate), scale=1 / 255)
        cv2.add(taken, kept, dst=alpha)
