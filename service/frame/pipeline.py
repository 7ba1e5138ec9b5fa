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

from service.frame import background
from service.frame.attention import Attention
from service.frame.background import NEUTRAL_GREY, SHARED, PlaneCache
from service.frame.blur import BlurredRoom
from service.frame.colour import Colour
from service.frame.composite import Composited, Compositor, Kind, Timing, Untouched
from service.frame.faces import FaceDetector
from service.frame.grid import Grid, build_grid
from service.frame.look import Look
from service.frame.mask import Mask, MaskFault, Refusal
from service.frame.matte import Matte
from service.frame.person import Networks, make_source
from service.frame.planes import U8, OutputFrame, Planes, Scaler, planar, view
from service.frame.region import WHOLE
from service.frame.stages import Stage, StageClock, Stages
from service.policy.effects import SESSION_BACKGROUND, Blur, Color, Image, Nothing

if TYPE_CHECKING:
    import av

__all__ = ["Composited", "Kind", "Look", "Pipeline", "Refusal", "Stages", "Untouched"]

FACE_NETWORK = "blazeface_short"
HYBRID = "hybrid"
OWN_CACHE_BYTES = 8 * 1024 * 1024
"""Two sizes of 1920x1080: a track has one size at a time."""
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
        self._cache = cache
        # A picture that was put for one session must not outlive it in the shared cache.
        self._own_cache = PlaneCache(OWN_CACHE_BYTES)
        self._scaler = Scaler(max_width, max_height)
        self._person = make_source("selfie", models)
        self._attention = Attention(FaceDetector(models[FACE_NETWORK]))
        self._matte = Matte()
        self._room = BlurredRoom()
        self._compositor = Compositor()
        self._colour = Colour()
        self._alpha: U8 = NOBODY
        self._size = (2, 2)
        self._logged_at_s = -LOG_EVERY_S

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
            self._room.reset()
            raise

    def _process(self, frame: av.VideoFrame) -> Composited | Untouched:
        clock = StageClock()
        look = self._look
        effect = look.effect
        source = self._scaler.fit(view(frame))
        self._size, self._colour = source.size, source.colour
        if isinstance(effect, Nothing):
            return self._untouched(frame, source, look, clock)
        if look is not self._shown:
            self._room.reset()
            self._shown = look
        timing = Timing(frame.pts, frame.time_base)
        grid = build_grid(source)
        mask, refusal = self._mask(grid, timing.seconds, look, clock)
        strength = effect.strength if isinstance(effect, Blur) else 0.0

        def behind() -> Planes:
            if mask is not None and isinstance(effect, Blur):
                return self._room.behind(grid, mask.alpha, strength, source.size)
            return self._still(look, source.size, source.colour)

        def alone() -> Planes:
            if isinstance(effect, Blur):
                return self._room.closed(grid, source.size)
            return self._still(look, source.size, source.colour)

        result = self._compositor.matte(
            source,
            behind,
            alone,
            mask,
            look=look,
            timing=timing,
            clock=clock,
            refusal=refusal,
        )
        shown = mask is not None and result.kind is Kind.MATTE
        self._alpha = mask.alpha if mask is not None and shown else NOBODY
        return result

    def closed(self, width: int, height: int) -> Composited:
        """What goes out for a frame of that size when there is none, or none that could be
        processed: the background alone; under blur, which has no background of its own, grey.
        Never fails, and touches no state of process(): any thread may ask for it."""
        clock = StageClock()
        look = self._look
        size = self._scaler.size(max(2, width), max(2, height))
        try:
            planes = self._still(look, size, self._colour)
        except Exception:
            logger.exception("the background could not be drawn: grey instead")
            planes = background.flat(NEUTRAL_GREY, size, self._colour, self._cache)
        return self._compositor.closed(planes, look=look, timing=Timing(), clock=clock)

    def alpha(self) -> U8:
        """The last frame's alpha at its output size, H x W, 0..255; all 0 when it was closed."""
        full = cv2.resize(self._alpha, self._size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(full, np.uint8)

    def _mask(
        self, grid: Grid, now_s: float | None, look: Look, clock: StageClock
    ) -> tuple[Mask | None, Refusal]:
        """The mask, or None and why there is none. A fault of the networks costs this frame."""
        hybrid = getattr(look.effect, "model", HYBRID) == HYBRID
        try:
            asked = self._matte.observe(grid, now_s)
            clock.lap(Stage.MATTE)
            if asked:
                self._ask(grid, now_s, hybrid, clock)
            edge = getattr(look.effect, "edge", 0.5)
            mask = self._matte.mask(edge, self._person.input_aspect(grid))
            clock.lap(Stage.MATTE)
        except MaskFault as fault:
            self._forget(str(fault))
            return None, fault.refusal
        except Exception as exc:
            self._forget(repr(exc))
            return None, Refusal.FAULT
        return mask, Refusal.FAULT

    def _ask(self, grid: Grid, now_s: float | None, hybrid: bool, clock: StageClock) -> None:
        """Faces when they are due, then the person network, twice where once is not enough."""
        faces = None
        if hybrid:
            if self._matte.fresh:
                self._attention.reset()
            if self._attention.due(now_s):
                self._attention.look(grid, now_s)
                clock.lap(Stage.FACES)
            faces = self._attention.faces
        matte, person, region = self._matte, self._person, self._matte.region
        first = matte.first
        try:
            answer = person.probability(grid, region.box, [])
        except MaskFault as fault:
            # A person who comes close fills the region before the region has grown.
            if fault.refusal is not Refusal.ALL_PERSON or region.box == WHOLE:
                raise
            region.reset()
            answer = person.probability(grid, region.box, [])
        clock.lap(Stage.PERSON)
        matte.answer(answer, faces)
        if matte.empty() and region.box != WHOLE:
            region.reset()  # lost: look everywhere at once, in this very frame
        elif first and not matte.empty():
            region.jump(answer, person.input_aspect(grid))  # a closer look, or frame 0 is coarse
        else:
            return
        matte.answer(person.probability(grid, region.box, []), faces)
        clock.lap(Stage.PERSON)

    def _still(self, look: Look, size: tuple[int, int], colour: Colour) -> Planes:
        effect = look.effect
        if isinstance(effect, Image) and look.picture is not None:
            own = effect.background == SESSION_BACKGROUND
            cache = self._own_cache if own else self._cache
            return background.fitted(look.picture, effect.fit, size, colour, cache)
        color = effect.color if isinstance(effect, Color) else NEUTRAL_GREY
        return background.flat(color, size, colour, self._cache)

    def _untouched(
        self, frame: av.VideoFrame, source: Planes, look: Look, clock: StageClock
    ) -> Untouched:
        self._matte.reset()  # what it knows will be old when an effect comes on
        self._alpha = EVERYTHING
        whole = planar(frame)
        if source.size != (whole.width, whole.height):
            whole = _copied(source, frame)
        clock.lap(Stage.COMPOSITE)
        return Untouched(whole, look, clock.stages())

    def _forget(self, what: str) -> None:
        """After a fault the next frame starts afresh."""
        self._matte.reset()
        now_s = time.monotonic()
        if now_s - self._logged_at_s >= LOG_EVERY_S:
            self._logged_at_s = now_s
            logger.warning("no mask, the frame is closed: %s", what)


def _copied(source: Planes, frame: av.VideoFrame) -> av.VideoFrame:
    """A frame of its own for planes that were cropped or scaled."""
    output = OutputFrame(*source.size)
    for plane, read in zip(output.prepare(source.colour).each(), source.each(), strict=True):
        np.copyto(plane, read)
    output.frame.pts = frame.pts
    if frame.time_base is not None:
        output.frame.time_base = frame.time_base
    return output.frame
