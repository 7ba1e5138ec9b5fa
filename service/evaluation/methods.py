"""What is measured: the live frame path under a model, and the plain network to compare it with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import cv2
import numpy as np

from service.footage import NO_LIMIT_PX, padded, processed
from service.frame.pipeline import Composited, Pipeline, Untouched

if TYPE_CHECKING:
    import av

    from service.evaluation.figures import U8
    from service.frame.look import Look
    from service.frame.person.source import Networks

PLAIN: Final = "plain"
"""Not a model that an effect may name."""
PLAIN_NETWORK: Final = "selfie_landscape"
PLAIN_SIZE: Final = (256, 144)
PLAIN_COLOUR: Final = (0, 177, 64)


@dataclass(frozen=True, slots=True)
class Found:
    """What a method made of a frame."""

    alpha: U8
    """H x W of the frame."""
    cpu_ms: float
    """Of this thread."""
    shown: U8 | None
    """The frame with its background replaced, RGB; None unless it was asked for."""


class Method(Protocol):
    """Frames of one clip in their order."""

    def step(self, frame: av.VideoFrame, *, show: bool) -> Found: ...


class Live:
    """The pipeline of a live track, at the frame's own size. Timed: Pipeline.process alone."""

    def __init__(self, networks: Networks, look: Look, *, every: int = 1) -> None:
        self._pipeline = _Timed(networks, look, max_width=NO_LIMIT_PX, max_height=NO_LIMIT_PX)
        self._pipeline.every = every

    def step(self, frame: av.VideoFrame, *, show: bool) -> Found:
        result, alpha = processed(self._pipeline, frame)
        shown = _rgb(result.frame) if show else None
        result.release()
        return Found(padded(alpha, frame.width, frame.height), self._pipeline.cpu_ms, shown)


def sparse_name(model: str, every: int) -> str:
    """Of a model that is asked in every so many frames only."""
    return f"{model}/{every}"


class Plain:
    """The landscape network on the whole frame, each frame by itself, and nothing else: resized to
    its input by area, its answer resized to the frame bilinearly."""

    def __init__(self, networks: Networks) -> None:
        self._network = networks[PLAIN_NETWORK]

    def step(self, frame: av.VideoFrame, *, show: bool) -> Found:
        started = time.thread_time()
        rgb = _rgb(frame)
        small = cv2.resize(rgb, PLAIN_SIZE, interpolation=cv2.INTER_AREA)
        answer = self._network.run(np.asarray(small, np.uint8))[0].reshape(PLAIN_SIZE[::-1])
        person = cv2.resize(answer, (frame.width, frame.height), interpolation=cv2.INTER_LINEAR)
        alpha = np.asarray(cv2.convertScaleAbs(np.clip(person, 0, 1), alpha=255.0), np.uint8)
        cpu_ms = (time.thread_time() - started) * 1000
        return Found(alpha, cpu_ms, _on_colour(rgb, alpha) if show else None)


class _Timed(Pipeline):
    """Knows the CPU time of its last frame."""

    cpu_ms = 0.0

    def process(self, frame: av.VideoFrame) -> Composited | Untouched:
        started = time.thread_time()
        try:
            return super().process(frame)
        finally:
            self.cpu_ms = (time.thread_time() - started) * 1000


def _rgb(frame: av.VideoFrame) -> U8:
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def _on_colour(rgb: U8, alpha: U8) -> U8:
    opacity = alpha[..., None].astype(np.uint16)
    blended = rgb * opacity + np.array(PLAIN_COLOUR, np.uint16) * (255 - opacity)
    return np.asarray(blended // 255, np.uint8)
