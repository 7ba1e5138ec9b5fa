"""`service bench levels`: what a frame costs at each quality level.

Decoding, the frame path and encoding, with the parts of a live track and in one thread; what the
network costs is not in it. Every frame of a clip goes through all levels in turn, so that a machine
that is slow for a while is slow for each. docs/performance.md has a table made with it, and the
ratios of service/policy/levels.py come from there.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

from service.errors import BackclothError
from service.footage import ClipError, frames
from service.frame.look import Look
from service.frame.models import Models
from service.frame.pipeline import Pipeline
from service.modelcards import MODELS_DIRECTORY, table
from service.policy.effects import Blur, Color, Nothing
from service.policy.levels import EFFORTS, Effort, Level
from service.rtc.bitrate import talking_head_bps
from service.rtc.codecs import VIDEO_CLOCK_HZ, Codec, Decoder, Encoder, depayload

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from service.policy.effects import Effect

SIZES: Final = ((640, 360), (1280, 720))
EFFECTS: Final[dict[str, Effect]] = {
    "color": Color("#00b140"),
    "blur": Blur(),
    "none": Nothing(),
}
FPS: Final = 30
CODEC: Final = Codec.H264


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one level; CPU times of the thread in ms for each frame that arrives, means of a clip."""

    clip: str
    width: int
    height: int
    effect: str
    level: str
    frames: int
    decode_ms: float
    compose_ms: float
    encode_ms: float
    kbps: float
    """Of what is sent."""

    @property
    def total_ms(self) -> float:
        return self.decode_ms + self.compose_ms + self.encode_ms


@dataclass(slots=True)
class _Line:
    """The parts of one track on one level."""

    effort: Effort
    pipeline: Pipeline
    decoder: Decoder = field(default_factory=lambda: Decoder(CODEC))
    encoder: Encoder = field(default_factory=lambda: Encoder(CODEC))
    due: float = 0.0
    decode_s: float = 0.0
    compose_s: float = 0.0
    encode_s: float = 0.0
    sent_bytes: int = 0

    def work(self, data: bytes, number: int) -> None:
        """One frame of the stream."""
        started = time.thread_time()
        pictures = self.decoder.decode(data, number * VIDEO_CLOCK_HZ // FPS)
        decoded = time.thread_time()
        self.decode_s += decoded - started
        for picture in pictures:
            if number < self.due:
                continue
            self.due += FPS / self.effort.max_fps(FPS)
            result = self.pipeline.process(picture)
            composed = time.thread_time()
            bps = talking_head_bps(result.frame.width, result.frame.height)
            payloads = self.encoder.encode(result.frame, keyframe=False, bitrate_bps=bps)
            result.release()
            self.compose_s += composed - decoded
            self.encode_s += time.thread_time() - composed
            self.sent_bytes += sum(map(len, payloads))


def measure(clip: Path, size: tuple[int, int], effect: str, models: Models) -> list[Cost]:
    """One clip, scaled to a size in px, at every level. Raises ClipError."""
    lines = {}
    for level, effort in EFFORTS.items():
        pipeline = Pipeline(models, Look(EFFECTS[effect]), max_width=size[0], max_height=size[1])
        pipeline.spend(effort)
        lines[level] = _Line(effort, pipeline)
    camera = Encoder(CODEC)
    count = 0
    for frame, _ in frames(clip):
        scaled = frame.reformat(width=size[0], height=size[1], format="yuv420p")
        scaled.pts = count * VIDEO_CLOCK_HZ // FPS
        payloads = camera.encode(scaled, keyframe=False, bitrate_bps=talking_head_bps(*size))
        data = b"".join(depayload(CODEC, payload) for payload in payloads)
        for line in lines.values():
            line.work(data, count)
        count += 1
    if count == 0:
        raise ClipError(f"{clip} has no video frames")
    return [_cost(clip, size, effect, level, line, count) for level, line in lines.items()]


def _cost(
    clip: Path, size: tuple[int, int], effect: str, level: Level, line: _Line, count: int
) -> Cost:
    return Cost(
        clip=clip.stem,
        width=size[0],
        height=size[1],
        effect=effect,
        level=level.value,
        frames=count,
        decode_ms=1e3 * line.decode_s / count,
        compose_ms=1e3 * line.compose_s / count,
        encode_ms=1e3 * line.encode_s / count,
        kbps=8e-3 * line.sent_bytes * FPS / count,
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the costs; 1 with a line on stderr when a clip cannot be read."""
    try:
        models = Models.load(MODELS_DIRECTORY)
        costs = [
            cost
            for clip, size, effect in itertools.product(arguments.clips, SIZES, EFFECTS)
            for cost in measure(clip, size, effect, models)
        ]
    except BackclothError as exc:
        sys.stderr.write(f"bench: {exc}\n")
        return 1
    sys.stdout.write(as_json(costs) if arguments.json else as_table(costs))
    return 0


def as_table(costs: Sequence[Cost]) -> str:
    """Aligned columns; `of above` is a level's cost over that of the level above it."""
    header = (
        "clip", "size", "effect", "level", "decode", "compose", "encode", "total", "of full",
        "of above", "kbit/s",
    )  # fmt: skip
    rows = []
    full = above = costs[0].total_ms
    for cost in costs:
        if cost.level == Level.FULL.value:
            full = above = cost.total_ms
        rows.append(
            (
                cost.clip,
                f"{cost.width}x{cost.height}",
                cost.effect,
                cost.level,
                f"{cost.decode_ms:.2f}",
                f"{cost.compose_ms:.2f}",
                f"{cost.encode_ms:.2f}",
                f"{cost.total_ms:.2f}",
                f"{cost.total_ms / full:.2f}",
                f"{cost.total_ms / above:.2f}",
                f"{cost.kbps:.0f}",
            )
        )
        above = cost.total_ms
    return table([header, *rows])


def as_json(costs: Sequence[Cost]) -> str:
    """The same for a program."""
    rows = [asdict(cost) | {"total_ms": cost.total_ms} for cost in costs]
    return json.dumps({"levels": rows}, indent=2) + "\n"
