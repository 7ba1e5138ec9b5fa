"""`service bench encode`: what the encoder saves on a background that stays the same bit for bit.

Every frame of a clip is sent as it came and behind each kind of background, by an encoder each, in
turn, so that a machine that is slow for a while is slow for all. Twice: at the bitrate of a live
track, where an easy picture costs less CPU, and at one quantiser, where it takes fewer bits.
docs/performance.md has a table made with it.
"""

from __future__ import annotations

import fractions
import itertools
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, Protocol

import av
import numpy as np

from service.errors import BackclothError
from service.footage import ClipError, frames
from service.frame.look import Look
from service.frame.models import Models
from service.frame.picture import decode_picture
from service.frame.pipeline import Pipeline
from service.modelcards import MODELS_DIRECTORY, table
from service.policy.effects import Blur, Color, Fit, Image, Nothing
from service.rtc.bitrate import talking_head_bps
from service.rtc.codecs import TIME_BASE, VIDEO_CLOCK_HZ, Codec, Encoder, h264_options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from av.video.codeccontext import VideoCodecContext

SIZES: Final = ((640, 360), (1280, 720))
FPS: Final = 30
QUANTISER: Final = 24
BACKGROUND: Final = "bookshelf"
TREMBLING: Final = "trembling"
"""The picture again, with the last bit of every background pixel thrown anew in each frame: what
it would cost if it were not the same bit for bit."""
SHOWN: Final = ("none", "color", "image", TREMBLING, "blur")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one kind of background over one clip; CPU times of the thread, means of a frame."""

    clip: str
    width: int
    height: int
    shown: str
    frames: int
    live_ms: float
    """At the bitrate of a live track."""
    live_kbps: float
    fixed_ms: float
    """At one quantiser."""
    fixed_kbps: float


class _Encodes(Protocol):
    def encode(self, frame: av.VideoFrame) -> int:
        """The bytes that it took."""
        ...


class _Live:
    """The encoder of a track."""

    def __init__(self) -> None:
        self._encoder = Encoder(Codec.H264)

    def encode(self, frame: av.VideoFrame) -> int:
        bps = talking_head_bps(frame.width, frame.height)
        return sum(map(len, self._encoder.encode(frame, keyframe=False, bitrate_bps=bps)))


class _Fixed:
    """The same at one quantiser, whatever the bits."""

    def __init__(self, width: int, height: int) -> None:
        context: VideoCodecContext = av.CodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base, context.framerate = TIME_BASE, fractions.Fraction(FPS, 1)
        context.gop_size, context.thread_count = 10_000, 1
        context.profile = "Baseline"
        options = h264_options(0) | {"qp": str(QUANTISER)}
        context.options = {k: v for k, v in options.items() if k not in ("maxrate", "bufsize")}
        self._context = context

    def encode(self, frame: av.VideoFrame) -> int:
        return sum(packet.size for packet in self._context.encode(frame))


class _Line:
    """One kind of background: a pipeline, and an encoder of each kind."""

    def __init__(self, shown: str, size: tuple[int, int], models: Models, look: Look) -> None:
        self.shown = shown
        self._pipeline = Pipeline(models, look, max_width=size[0], max_height=size[1])
        self._encoders: tuple[_Encodes, _Encodes] = _Live(), _Fixed(*size)
        self._rng = np.random.default_rng(0)
        self.cpu_s = [0.0, 0.0]
        self.sent_bytes = [0, 0]

    def work(self, frame: av.VideoFrame, pts: int) -> None:
        result = self._pipeline.process(frame)
        picture = self._trembling(result.frame) if self.shown == TREMBLING else result.frame
        for number, encoder in enumerate(self._encoders):
            picture.pts, picture.time_base = pts, TIME_BASE
            started = time.thread_time()
            self.sent_bytes[number] += encoder.encode(picture)
            self.cpu_s[number] += time.thread_time() - started
        result.release()

    def _trembling(self, frame: av.VideoFrame) -> av.VideoFrame:
        planes = frame.to_ndarray(format="yuv420p")
        luma = planes[: frame.height]
        bits = self._rng.integers(0, 2, luma.shape, np.uint8)
        luma ^= np.where(self._pipeline.alpha() == 0, bits, 0).astype(np.uint8)
        other = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        other.color_range, other.colorspace = frame.color_range, frame.colorspace
        return other


def measure(clip: Path, size: tuple[int, int], models: Models) -> list[Cost]:
    """One clip, scaled to a size in px. Raises ClipError."""
    lines = [_Line(shown, size, models, look) for shown, look in _looks().items()]
    count = 0
    for frame, _ in frames(clip):
        scaled = frame.reformat(width=size[0], height=size[1], format="yuv420p")
        pts = scaled.pts = count * VIDEO_CLOCK_HZ // FPS
        scaled.time_base = TIME_BASE
        for line in lines:
            line.work(scaled, pts)
        count += 1
    if count == 0:
        raise ClipError(f"{clip} has no video frames")
    return [
        Cost(
            clip=clip.stem,
            width=size[0],
            height=size[1],
            shown=line.shown,
            frames=count,
            live_ms=1e3 * line.cpu_s[0] / count,
            live_kbps=8e-3 * line.sent_bytes[0] * FPS / count,
            fixed_ms=1e3 * line.cpu_s[1] / count,
            fixed_kbps=8e-3 * line.sent_bytes[1] * FPS / count,
        )
        for line in lines
    ]


def _looks() -> dict[str, Look]:
    file = MODELS_DIRECTORY.parent / "backgrounds" / f"{BACKGROUND}.webp"
    image = Look(Image(BACKGROUND, Fit.COVER), decode_picture(file.read_bytes()))
    looks = (Look(Nothing()), Look(Color("#00b140")), image, image, Look(Blur()))
    return dict(zip(SHOWN, looks, strict=True))


def run(arguments: argparse.Namespace) -> int:
    """Prints the costs; 1 with a line on stderr when a clip cannot be read."""
    try:
        models = Models.load(MODELS_DIRECTORY)
        costs = [
            cost
            for clip, size in itertools.product(arguments.clips, SIZES)
            for cost in measure(clip, size, models)
        ]
    except BackclothError as exc:
        sys.stderr.write(f"bench: {exc}\n")
        return 1
    sys.stdout.write(as_json(costs) if arguments.json else as_table(costs))
    return 0


def as_table(costs: Sequence[Cost]) -> str:
    """Aligned columns; `of none` is the figure over that of the camera as it came."""
    header = (
        "clip", "size", "shown", "live ms", "of none", "kbit/s",
        f"qp {QUANTISER} ms", "of none", "kbit/s", "of none",
    )  # fmt: skip
    rows = []
    none = costs[0]
    for cost in costs:
        if cost.shown == SHOWN[0]:
            none = cost
        rows.append(
            (
                cost.clip,
                f"{cost.width}x{cost.height}",
                cost.shown,
                f"{cost.live_ms:.2f}",
                f"{cost.live_ms / none.live_ms:.2f}",
                f"{cost.live_kbps:.0f}",
                f"{cost.fixed_ms:.2f}",
                f"{cost.fixed_ms / none.fixed_ms:.2f}",
                f"{cost.fixed_kbps:.0f}",
                f"{cost.fixed_kbps / none.fixed_kbps:.2f}",
            )
        )
    return table([header, *rows])


def as_json(costs: Sequence[Cost]) -> str:
    """The same for a program."""
    return json.dumps({"encode": [asdict(cost) for cost in costs]}, indent=2) + "\n"
