"""`service bench effects`: what each option of an effect costs, beside the effect without it.

The frame path and the encoder, with the parts of a live track and in one thread. Every frame of a
clip goes through all effects in turn, so that a machine that is slow for a while is slow for each.
docs/performance.md has a table made with it.
"""

from __future__ import annotations

import io
import itertools
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from service.errors import BackclothError
from service.footage import ClipError, frames
from service.frame.film import decode_film
from service.frame.look import Look
from service.frame.models import Models
from service.frame.pipeline import Pipeline
from service.modelcards import MODELS_DIRECTORY, table
from service.policy.effects import Blur, Color, Image, Packed
from service.rtc.bitrate import talking_head_bps
from service.rtc.codecs import Codec, Encoder

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

SIZES: Final = ((640, 360), (1280, 720))
GREEN: Final = "#00b140"
BASES: Final[dict[str, str]] = {
    "falloff": "blur",
    "framing": "color",
    "light": "color",
    "packed": "color",
    "film": "color",
}
"""An effect with an option: the same without."""
FILM_SIZE: Final = (640, 360)
FILM_FRAMES: Final = 75
FILM_FPS: Final = 25
FILM_BYTES: Final = 10 << 20


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one effect; CPU times of the thread in ms, means over a clip's frames."""

    clip: str
    width: int
    height: int
    effect: str
    frames: int
    compose_ms: float
    encode_ms: float
    compose_ratio: float
    """To the effect without the option, of the same run; 1 for those themselves."""
    encode_ratio: float


@dataclass(slots=True)
class _Line:
    pipeline: Pipeline
    encoder: Encoder = field(default_factory=lambda: Encoder(Codec.H264))
    compose_s: float = 0.0
    encode_s: float = 0.0


def looks() -> dict[str, Look]:
    """The effects that are compared."""
    film = decode_film(drifting(), max_bytes=FILM_BYTES, longest_px=SIZES[-1][0])
    return {
        "color": Look(Color(GREEN)),
        "framing": Look(Color(GREEN, framing=1.0)),
        "light": Look(Color(GREEN, light=1.0)),
        "packed": Look(Packed()),
        "film": Look(Image("session"), film=film),
        "blur": Look(Blur()),
        "falloff": Look(Blur(falloff=1.0)),
    }


@cache
def drifting() -> bytes:
    """An MP4 file: soft waves of light and colour that go by."""
    import av

    width, height = FILM_SIZE
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FILM_FPS)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, FILM_FPS)
        x, y = np.meshgrid(np.linspace(0, 1, 64), np.linspace(0, 1, 36))
        for index in range(FILM_FRAMES):
            turn = 2 * np.pi * index / FILM_FRAMES
            waves = [np.sin(turn + k * x * 9 + y * (5 - k)) for k in (1, 2, 3)]
            rgb = np.dstack([128 + 70 * wave for wave in waves]).astype(np.uint8)
            small = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame = small.reformat(width, height, format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, FILM_FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


def measure(clip: Path, size: tuple[int, int], models: Models) -> list[Cost]:
    """One clip, scaled to a size in px, with every effect. Raises ClipError."""
    lines = {
        # Twice the width: `packed` at the size of the others.
        name: _Line(Pipeline(models, look, max_width=2 * size[0], max_height=size[1]))
        for name, look in looks().items()
    }
    count = 0
    for frame, _ in frames(clip):
        scaled = frame.reformat(width=size[0], height=size[1], format="yuv420p")
        scaled.pts, scaled.time_base = frame.pts, frame.time_base
        for line in lines.values():
            started = time.thread_time()
            result = line.pipeline.process(scaled)
            composed = time.thread_time()
            bps = talking_head_bps(result.frame.width, result.frame.height)
            line.encoder.encode(result.frame, keyframe=False, bitrate_bps=bps)
            line.encode_s += time.thread_time() - composed
            line.compose_s += composed - started
            result.release()
        count += 1
    if count == 0:
        raise ClipError(f"{clip} has no video frames")
    costs = []
    for name, line in lines.items():
        base = lines[BASES.get(name, name)]
        costs.append(
            Cost(
                clip=clip.stem,
                width=size[0],
                height=size[1],
                effect=name,
                frames=count,
                compose_ms=1e3 * line.compose_s / count,
                encode_ms=1e3 * line.encode_s / count,
                compose_ratio=line.compose_s / base.compose_s,
                encode_ratio=line.encode_s / base.encode_s,
            )
        )
    return costs


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
    """Aligned columns; `of base`: over the effect without the option."""
    header = ("clip", "size", "effect", "base", "compose", "of base", "encode", "of base")
    rows = [
        (
            cost.clip,
            f"{cost.width}x{cost.height}",
            cost.effect,
            BASES.get(cost.effect, ""),
            f"{cost.compose_ms:.2f}",
            f"{cost.compose_ratio:.2f}",
            f"{cost.encode_ms:.2f}",
            f"{cost.encode_ratio:.2f}",
        )
        for cost in costs
    ]
    return table([header, *rows])


def as_json(costs: Sequence[Cost]) -> str:
    """The same for a program."""
    return json.dumps({"effects": [asdict(cost) for cost in costs]}, indent=2) + "\n"
