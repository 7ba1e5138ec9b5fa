"""`service bench frames`: what the frame path costs a frame, beside its network alone.

Runs the pipeline of a live track over whole clips at given sizes, without decoding and encoding in
the figure: faces, frames that need no network and all. The network is timed in the same run, in
between frames, so that the ratio is true where the machine is noisy. docs/performance.md has a
table made with it.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from service.errors import BackclothError
from service.footage import ClipError, frames
from service.frame.look import Look
from service.frame.models import Models
from service.frame.pipeline import Pipeline
from service.modelcards import MODELS_DIRECTORY, table
from service.policy.effects import Color

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

SIZES = ((640, 360), (1280, 720))
NETWORK = "selfie_landscape"
NETWORK_EVERY = 4
"""Frames between two runs of the network alone."""
EFFECT = Color("#00b140")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one clip at one size; CPU times of the thread in ms, means over all frames."""

    clip: str
    width: int
    height: int
    frames: int
    asked: float
    """Share of the frames in which the person network ran."""
    network_ms: float
    """One run of it alone."""
    total_ms: float
    faces_ms: float
    person_ms: float
    matte_ms: float
    composite_ms: float

    @property
    def ratio(self) -> float:
        """A frame's cost over a run of the network."""
        return self.total_ms / self.network_ms


def measure(clip: Path, size: tuple[int, int], models: Models) -> Cost:
    """One clip, scaled to a size in px (not timed). Raises ClipError."""
    network = models[NETWORK]
    noise = np.random.default_rng(0).integers(0, 256, network.shape, np.uint8)
    pipeline = Pipeline(models, Look(EFFECT), max_width=size[0], max_height=size[1])
    stages = dict.fromkeys(("faces", "person", "matte", "composite"), 0.0)
    total_s = network_s = 0.0
    runs = asked = count = 0
    for frame, _ in frames(clip):
        scaled = frame.reformat(width=size[0], height=size[1], format="yuv420p")
        scaled.pts, scaled.time_base = frame.pts, frame.time_base
        started = time.thread_time()
        result = pipeline.process(scaled)
        total_s += time.thread_time() - started
        for stage, cost in result.stages.items():
            stages[stage] += cost.cpu_s
            asked += stage == "person" and cost.cpu_s > 0
        result.release()
        if count % NETWORK_EVERY == 0:
            started = time.thread_time()
            network.run(noise)
            network_s += time.thread_time() - started
            runs += 1
        count += 1
    if count == 0:
        raise ClipError(f"{clip} has no video frames")
    ms = {f"{stage}_ms": 1e3 * seconds / count for stage, seconds in stages.items()}
    return Cost(
        clip=clip.stem,
        width=size[0],
        height=size[1],
        frames=count,
        asked=asked / count,
        network_ms=1e3 * network_s / runs,
        total_ms=1e3 * total_s / count,
        **ms,
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the costs; 1 with a line on stderr when a clip cannot be read."""
    try:
        models = Models.load(MODELS_DIRECTORY)
        costs = [
            measure(clip, size, models) for clip, size in itertools.product(arguments.clips, SIZES)
        ]
    except BackclothError as exc:
        sys.stderr.write(f"bench: {exc}\n")
        return 1
    sys.stdout.write(as_json(costs) if arguments.json else as_table(costs))
    return 0


def as_table(costs: Sequence[Cost]) -> str:
    """Aligned columns; the last rows are the means over the clips of each size."""
    header = (
        "clip", "size", "frames", "asked", "network", "frame", "ratio",
        "faces", "person", "matte", "composite",
    )  # fmt: skip
    rows = [
        (
            cost.clip,
            f"{cost.width}x{cost.height}",
            f"{cost.frames}",
            f"{cost.asked:.2f}",
            f"{cost.network_ms:.2f}",
            f"{cost.total_ms:.2f}",
            f"{cost.ratio:.2f}",
            f"{cost.faces_ms:.2f}",
            f"{cost.person_ms:.2f}",
            f"{cost.matte_ms:.2f}",
            f"{cost.composite_ms:.2f}",
        )
        for cost in costs
    ]
    for width, height in SIZES:
        ratios = [cost.ratio for cost in costs if (cost.width, cost.height) == (width, height)]
        mean = f"{sum(ratios) / len(ratios):.2f}"
        rows.append(("mean", f"{width}x{height}", "", "", "", "", mean, "", "", "", ""))
    return table([header, *rows])


def as_json(costs: Sequence[Cost]) -> str:
    """The same for a program."""
    frames_json = [asdict(cost) | {"ratio": cost.ratio} for cost in costs]
    return json.dumps({"frames": frames_json}, indent=2) + "\n"
