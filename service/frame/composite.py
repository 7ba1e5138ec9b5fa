"""Puts a person in front of a background, in YUV and 8 bits. The only maker of Composited.

The sending side takes nothing but a Composited (or, when no effect is on, an Untouched): that is
a type, not a flag, and only this module holds the key to make one. A mask is judged here, at the
last moment, and not by whoever made it: without a good mask the background goes out alone.
Used by pipeline.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from service.frame.blend import Blend
from service.frame.logo import Layout, lay_out
from service.frame.mask import Mask, Refusal
from service.frame.packed import across, draw_matte, halves
from service.frame.planes import NOTHING, FramePool, OutputFrame, Planes
from service.frame.references import FrameReferences
from service.frame.stages import Stage, StageClock, Stages
from service.policy.effects import Nothing

if TYPE_CHECKING:
    import fractions
    from collections.abc import Callable

    import av

    from service.frame.look import Look

_KEY: Final = object()


class Kind(Enum):
    """MATTE: a person in front of a background. CLOSED: nothing of the camera that could be
    recognised."""

    MATTE = "matte"
    CLOSED = "closed"


class Composited:
    """A frame that may leave the service while an effect is on."""

    __slots__ = ("_output", "_pool", "frame", "kind", "look", "refusal", "stages")

    def __init__(
        self,
        key: object,
        *,
        frame: av.VideoFrame,
        output: OutputFrame | None,
        pool: FramePool,
        look: Look,
        kind: Kind,
        refusal: Refusal | None,
        stages: Stages,
    ) -> None:
        if key is not _KEY:
            raise TypeError("only service.frame.composite makes a Composited")
        self._output = output
        self._pool = pool
        self.frame = frame
        """Pooled: not to be used after release()."""
        self.look = look
        """The one that the frame was made under."""
        self.kind = kind
        self.refusal = refusal
        """Why it is closed; None for a matte, and for a frame that was closed on request."""
        self.stages = stages

    def release(self) -> None:
        """Give the frame back, after encoding. A second call does nothing."""
        output, self._output = self._output, None
        if output is not None:
            self._pool.give_back(output)


@dataclass(frozen=True, slots=True)
class Untouched:
    """The camera as it is, for a track whose look has no effect."""

    frame: av.VideoFrame
    look: Look
    stages: Stages

    def __post_init__(self) -> None:
        if not isinstance(self.look.effect, Nothing):
            raise TypeError("an untouched frame is for a look without an effect only")

    def release(self) -> None:
        """Nothing to give back: the frame is the decoder's own, or a copy."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When a frame is shown: carried over unchanged."""

    pts: int | None = None
    time_base: fractions.Fraction | None = None

    @property
    def seconds(self) -> float | None:
        """None for a frame without a time."""
        if self.pts is None or self.time_base is None:
            return None
        return self.pts * self.time_base.numerator / self.time_base.denominator


class Sharer:
    """Makes further owners of pictures: each may be encoded in a thread of its own.

    A share has a frame of its own over the same pixels, which are not copied. FFmpeg counts who
    holds them: a pool that gets the original back leaves them as they are while a share is held
    (see OutputFrame.prepare). Not thread-safe: one for each thread of work.
    """

    def __init__(self) -> None:
        self._frames = FrameReferences()

    def share(self, picture: Composited) -> Composited:
        """Raises TypeError for anything but a Composited: there is no other way to a share of
        one."""
        if type(picture) is not Composited:
            raise TypeError("only a Composited can be shared")
        return Composited(
            _KEY,
            frame=self._frames.reference(picture.frame),
            output=None,
            pool=picture._pool,
            look=picture.look,
            kind=picture.kind,
            refusal=picture.refusal,
            stages=picture.stages,
        )

    def share_untouched(self, picture: Untouched) -> Untouched:
        """The camera as it is, for a look without an effect; raises TypeError for anything else.
        Nobody writes into the pixels: they are the decoder's, which predicts from them."""
        if type(picture) is not Untouched:
            raise TypeError("only an Untouched can be shared as one")
        return Untouched(self._frames.reference(picture.frame), picture.look, picture.stages)


class Compositor:
    """Composes one track's frames, with buffers of its own."""

    def __init__(self) -> None:
        self._pool = FramePool()
        self._blend = Blend()

    def matte(
        self,
        source: Planes,
        background: Callable[[], Planes],
        closed: Callable[[], Planes],
        mask: Mask | None,
        *,
        look: Look,
        timing: Timing,
        clock: StageClock,
        refusal: Refusal = Refusal.FAULT,
    ) -> Composited:
        """source in front of background(); closed() alone when the mask is none.

        refusal: why there is no mask, when mask is None.
        """
        reason = refusal if mask is None else mask.refusal(source.width, source.height)
        if mask is None or reason is not None:
            return self.closed(closed(), look=look, timing=timing, clock=clock, refusal=reason)
        behind = background()
        output, into, beside = self._output(behind, look)
        self._blend.draw(source, behind, mask, output, into)
        strength = getattr(look.effect, "light_wrap", 0.0)
        if strength:
            self._blend.wrap(behind, mask.alpha, strength, into)
            output.forget()
        if beside is not None:
            draw_matte(beside, self._blend.box, self._blend.alpha, _layout(look, into))
        return self._seal(output, into, Kind.MATTE, look, timing, clock, None)

    def closed(
        self,
        background: Planes,
        *,
        look: Look,
        timing: Timing,
        clock: StageClock,
        refusal: Refusal | None = None,
    ) -> Composited:
        """The background alone."""
        output, into, beside = self._output(background, look)
        output.lay(background, into, NOTHING)
        if beside is not None:
            draw_matte(beside, NOTHING, None, _layout(look, into))
        return self._seal(output, into, Kind.CLOSED, look, timing, clock, refusal)

    def _output(self, background: Planes, look: Look) -> tuple[OutputFrame, Planes, Planes | None]:
        """A frame, what of it the picture is drawn to, and where its alpha goes if it has one."""
        parts = across(look.effect)
        output = self._pool.take(parts * background.width, background.height)
        whole = output.prepare(background.colour)
        return (output, whole, None) if parts == 1 else (output, *halves(whole))

    def _seal(
        self,
        output: OutputFrame,
        into: Planes,
        kind: Kind,
        look: Look,
        timing: Timing,
        clock: StageClock,
        refusal: Refusal | None,
    ) -> Composited:
        """The one place where a Composited is made: here the logo is drawn, over everything."""
        if (layout := _layout(look, into)) is not None:
            layout.draw(into)
            output.draw_over(layout.box)
        output.frame.pts = timing.pts
        if timing.time_base is not None:
            output.frame.time_base = timing.time_base
        clock.lap(Stage.COMPOSITE)
        return Composited(
            _KEY,
            frame=output.frame,
            output=output,
            pool=self._pool,
            look=look,
            kind=kind,
            refusal=refusal,
            stages=clock.stages(),
        )


def _layout(look: Look, into: Planes) -> Layout | None:
    return None if look.logo is None else lay_out(look.logo, into.size, into.colour)
