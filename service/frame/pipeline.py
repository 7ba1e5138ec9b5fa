"""The spine of a frame: planes -> faces -> person -> matte -> composite -> planes.

One Pipeline a track; it knows nothing of networks, rooms or clocks beyond the frames' own media
time. Whatever is wrong with a frame's mask, what comes out is the closed picture: the background
alone for a picture or a colour, the whole frame beyond recognition for blur.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import cv2
import numpy as np

from service.frame.attention import Attention
from service.frame.backdrop import Backdrop
from service.frame.background import SHARED, PlaneCache
from service.frame.colour import Colour
from service.frame.composite import Composited, Compositor, Kind, Timing, Untouched
from service.frame.faces import FaceDetector
from service.frame.grid import Grid
from service.frame.look import Look
from service.frame.mask import Mask, MaskFault, Refusal
from service.frame.matte import Matte
from service.frame.packed import across
from service.frame.person import FaceUse, Networks, make_source
from service.frame.planes import U8, OutputFrame, Planes, Scaler, colour_of, planar, view
from service.frame.presence import Presence
from service.frame.region import WHOLE, own_box
from service.frame.stages import Stage, StageClock, Stages
from service.frame.staging import Staging, needs_faces
from service.policy.effects import DEFAULT_MODEL, EVERYONE, Blur, Nothing
from service.policy.levels import FULL_EFFORT

if TYPE_CHECKING:
    from collections.abc import Sequence

    import av

    from service.frame.region import Box
    from service.frame.tracks import Track
    from service.policy.effects import Effect
    from service.policy.levels import Effort

__all__ = ["Composited", "Kind", "Look", "Pipeline", "Refusal", "Stages", "Untouched"]

FACE_NETWORK = "blazeface_short"
FALLBACK_FPS = 30
"""Frames without a time are taken to be so many a second."""
SEEN_S = 0.3
"""A model that draws the mask from faces gets those that were seen so lately: a face that is only
believed to be there would draw a hole onto the room behind somebody who has left."""
FAR_PX = 18
"""Height of a face in the network's input under which its body is looked at by itself: half the
face that the segmenters' edges need to be sharp (docs/models.md)."""
INPUT_ROWS = 144  # of the landscape network
MOST_FAR = 2
FAR_FRAMES = 3
"""Frames for which the answer about somebody far away is kept: they take turns."""
LOG_EVERY_S = 1.0
"""Faults come once a frame when they come: one line a second says as much."""

NOBODY: U8 = np.zeros((2, 2), np.uint8)
EVERYTHING: U8 = np.full((2, 2), 255, np.uint8)

logger = logging.getLogger(__name__)


class Pipeline:
    """Frames of one track in, frames that may be sent out. One thread at a time in process()."""

    def __init__(
        self,
        models: Networks,
        look: Look,
        *,
        max_width: int = 1920,
        max_height: int = 1080,
        cache: PlaneCache = SHARED,
    ) -> None:
        self._look = look
        self._shown: Look | None = None
        self._scaler = Scaler(max_width, max_height)
        self._models = models
        self._source = make_source(_model(look), models)
        self._source_name = _model(look)
        self._attention = Attention(FaceDetector(models[FACE_NETWORK]))
        self._matte = Matte()
        self._presence = Presence()
        self._far: dict[int, tuple[int, U8]] = {}
        self._frames = 0
        self._backdrop = Backdrop(cache)
        self._staging = Staging()
        self._compositor = Compositor()
        self._colour = Colour()
        self._alpha: U8 = NOBODY
        self._effort = self._applied = FULL_EFFORT
        self._size = (2, 2)
        self._logged_at_s: dict[type[Exception], float] = {}

    def change(self, look: Look) -> None:
        """Another look, from the next frame on; from any thread. Replacing one reference is
        atomic, and process() reads it once a frame."""
        self._look = look

    def process(self, frame: av.VideoFrame) -> Composited | Untouched:
        """One frame. May raise on a fault of its own: the caller then sends closed()."""
        try:
            return self._process(frame)
        except BaseException:
            self._matte.reset()  # whatever state it was left in is not to be gone on from
            self._backdrop.room.reset()
            raise

    def _process(self, frame: av.VideoFrame) -> Composited | Untouched:
        clock = StageClock()
        look = self._look
        effect = look.effect
        effort = self._effort
        if effort is not self._applied:
            self._matte.every, self._applied = effort.every, effort
        relayed = isinstance(effect, Nothing)
        # A relay keeps the camera's size while there is another level to go to.
        self._scaler.scale = 1.0 if relayed and not effort.background else effort.scale
        if effort.background and not relayed:
            return self._hidden(frame, look, clock)
        if relayed:
            return self._untouched(frame, look, clock)
        source = self._scaler.fit(view(frame), across(effect))
        self._size, self._colour = source.size, source.colour
        if look is not self._shown:
            self._backdrop.room.reset()
            self._matte.ask()  # other people, another model: not only when somebody moves
            self._shown = look
        timing = Timing(frame.pts, frame.time_base)
        self._frames += 1
        now_s = self._frames / FALLBACK_FPS if timing.seconds is None else timing.seconds
        self._backdrop.now_s = now_s
        grid = Grid(source)
        found, refusal = self._mask(grid, now_s, look, clock)
        person, mask = source, found
        if found is not None:
            shown = self._matte.shown
            person, mask = self._staging.prepare(source, found, grid, shown, now_s, effect)

        def behind() -> Planes:
            if found is not None and isinstance(effect, Blur):
                room = self._backdrop.room.behind(
                    grid, found, effect.strength, source.size, falloff=effect.falloff
                )
                return self._staging.room(room)
            return self._backdrop.still(look, source.size, source.colour, away=self.away)

        def alone() -> Planes:
            return self._backdrop.alone(look, grid, source.size, away=self.away)

        result = self._compositor.matte(
            person,
            behind,
            alone,
            mask,
            look=look,
            timing=timing,
            clock=clock,
            refusal=refusal,
        )
        present = mask is not None and result.kind is Kind.MATTE
        if present or result.refusal is Refusal.NO_PERSON:
            # A mask that failed in another way tells nothing of who is there.
            self._presence.see(present, now_s, look.away.after_s)
        self._alpha = mask.alpha if mask is not None and present else NOBODY
        return result

    def closed(self, width: int, height: int) -> Composited:
        """What goes out for a frame of that size when there is none, or none that could be
        processed: the background alone; under blur, which has no background of its own, grey.
        Never fails, and touches no state of process(): any thread may ask for it."""
        clock = StageClock()
        look = self._look
        size = self._scaler.size(max(2, width), max(2, height), across(look.effect))
        try:
            planes = self._backdrop.still(look, size, self._colour, away=self.away)
        except Exception:
            logger.exception("the background could not be drawn: grey instead")
            planes = self._backdrop.grey(size, self._colour)
        return self._compositor.closed(planes, look=look, timing=Timing(), clock=clock)

    def spend(self, effort: Effort) -> None:
        """Another quality level, from the next frame on; from any thread, as change() is."""
        self._effort = effort

    @property
    def every(self) -> int:
        """The person model is asked in every so many frames; in between its answer is carried
        along with what moves. 1 at first."""
        return self._matte.every

    @every.setter
    def every(self, frames: int) -> None:
        self._matte.every = frames

    @property
    def away(self) -> bool:
        """Whether nobody has been in view for the look's `away.after_s`."""
        return self._presence.away

    def alpha(self) -> U8:
        """The last frame's alpha at its output size, H x W, 0..255; all 0 when it was closed."""
        full = cv2.resize(self._alpha, self._size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(full, np.uint8)

    def _mask(
        self, grid: Grid, now_s: float, look: Look, clock: StageClock
    ) -> tuple[Mask | None, Refusal]:
        """The mask, or None and why there is none. A fault of the networks costs this frame."""
        try:
            self._use(_model(look))
            asked = self._matte.observe(grid, now_s)
            clock.lap(Stage.MATTE)
            if asked:
                self._ask(grid, now_s, look, clock)
            edge = getattr(look.effect, "edge", 0.5)
            mask = self._matte.mask(edge, self._source.input_aspect(grid))
            clock.lap(Stage.MATTE)
        except MaskFault as fault:
            self._forget(fault)
            return None, fault.refusal
        except Exception as exc:
            self._forget(exc)
            return None, Refusal.FAULT
        return mask, Refusal.FAULT

    def _use(self, model: str) -> None:
        """Another model from this frame on; what is known of the room stays."""
        if model != self._source_name:
            self._source = make_source(model, self._models)
            self._source_name = model

    def _ask(self, grid: Grid, now_s: float, look: Look, clock: StageClock) -> None:
        """Faces when they are due, then the person model, twice where once is not enough."""
        matte, source, region = self._matte, self._source, self._matte.region
        wanted = getattr(look.effect, "people", EVERYONE)
        if matte.fresh:
            self._attention.reset()
            source.reset()
            self._far = {}
        people = self._look_for_faces(grid, now_s, look.effect, clock)
        faces = self._attention.faces(SEEN_S if source.faces is FaceUse.ALWAYS else None)
        first = matte.first
        box = region.box if source.looks_closer else WHOLE
        try:
            answer = source.probability(grid, box, faces)
        except MaskFault as fault:
            # A person who comes close fills the region before the region has grown.
            if fault.refusal is not Refusal.ALL_PERSON or box == WHOLE:
                raise
            region.reset()
            answer = source.probability(grid, WHOLE, faces)
        if people and source.looks_closer:
            self._look_far(grid, answer, people, region.box)
        clock.lap(Stage.PERSON)
        matte.answer(answer, people, wanted)
        if not source.looks_closer:
            return
        if matte.empty() and region.box != WHOLE:
            region.reset()  # lost: look everywhere at once, in this very frame
        elif first and not matte.empty():
            region.jump(answer, source.input_aspect(grid))  # a closer look, or frame 0 is coarse
        else:
            return
        matte.answer(source.probability(grid, region.box, faces), people, wanted)
        clock.lap(Stage.PERSON)

    def _look_for_faces(
        self, grid: Grid, now_s: float, effect: Effect, clock: StageClock
    ) -> Sequence[Track] | None:
        """Everybody whose face is known, looked for when it is due; None when nobody asks."""
        use = self._source.faces
        identity = getattr(effect, "people", EVERYONE) != EVERYONE
        if use is FaceUse.NEVER and not identity and not needs_faces(effect):
            return None
        attention = self._attention
        attention.move(now_s, self._matte.alpha)
        if attention.due(now_s, identity=identity, always=use is FaceUse.ALWAYS):
            attention.look(grid, now_s, self._matte.faceless)
            clock.lap(Stage.FACES)
        return attention.people

    def _look_far(self, grid: Grid, answer: U8, people: Sequence[Track], box: Box) -> None:
        """Somebody too small in the network's input is looked at alone; one of them a frame."""
        shape, source = grid.size, self._source
        far = [
            track
            for track in people
            if (track.face.bottom - track.face.top) * INPUT_ROWS < FAR_PX * (box[3] - box[1])
        ][:MOST_FAR]
        if not far:
            self._far = {}
            return
        turn = far[self._frames % len(far)]
        own = own_box(turn.face, shape, source.input_aspect(grid))
        try:
            self._far[turn.number] = (self._frames, source.probability(grid, own, ()))
        except MaskFault:
            # A closer look that is no mask tells nothing; what all of the frame said still stands.
            self._far.pop(turn.number, None)
        for number, (frame, closer) in list(self._far.items()):
            if self._frames - frame > FAR_FRAMES:
                del self._far[number]
            else:
                cv2.max(answer, closer, dst=answer)

    def _hidden(self, frame: av.VideoFrame, look: Look, clock: StageClock) -> Composited:
        """The background alone, without asking anybody who is there."""
        self._matte.reset()  # what it knows will be old when a higher level is back
        whole = view(frame)
        self._size = self._scaler.size(whole.width, whole.height, across(look.effect))
        self._colour = whole.colour
        self._alpha = NOBODY
        timing = Timing(frame.pts, frame.time_base)
        self._backdrop.now_s = timing.seconds or 0.0
        if isinstance(look.effect, Blur):
            planes = self._backdrop.alone(look, Grid(whole), self._size, away=self.away)
        else:
            planes = self._backdrop.still(look, self._size, self._colour, away=self.away)
        return self._compositor.closed(planes, look=look, timing=timing, clock=clock)

    def _untouched(self, frame: av.VideoFrame, look: Look, clock: StageClock) -> Untouched:
        if not self._matte.fresh:
            self._matte.reset()  # what it knows will be old when an effect comes on
        self._alpha = EVERYTHING
        whole = planar(frame)
        size = whole.width, whole.height
        if min(size) < 2 or self._scaler.size(*size, across(look.effect)) != size:
            source = self._scaler.fit(view(whole), across(look.effect))
            whole = _copied(source, frame)
        self._size, self._colour = (whole.width, whole.height), colour_of(whole)
        clock.lap(Stage.COMPOSITE)
        return Untouched(whole, look, clock.stages())

    def _forget(self, fault: Exception) -> None:
        """After a fault the next frame starts afresh. An answer that is no mask says all there is
        to say of itself; anything else is a mistake, and its traceback tells where."""
        self._matte.reset()
        now_s, kind = time.monotonic(), type(fault)
        if now_s - self._logged_at_s.get(kind, -LOG_EVERY_S) < LOG_EVERY_S:
            return
        self._logged_at_s[kind] = now_s
        if isinstance(fault, MaskFault):
            logger.warning("no mask, the frame is closed: %s", fault)
        else:
            logger.error("a fault in the mask, the frame is closed", exc_info=fault)


def _model(look: Look) -> str:
    return str(getattr(look.effect, "model", DEFAULT_MODEL))


def _copied(source: Planes, frame: av.VideoFrame) -> av.VideoFrame:
    """A frame of its own for planes that were cropped or scaled."""
    output = OutputFrame(*source.size)
    for plane, read in zip(output.prepare(source.colour).each(), source.each(), strict=True):
        np.copyto(plane, read)
    output.frame.pts = frame.pts
    if frame.time_base is not None:
        output.frame.time_base = frame.time_base
    return output.frame
