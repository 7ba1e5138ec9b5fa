"""`service bench models`: what each network costs on this machine.

Times service.frame.models as a live track calls it, one run at a time on one thread. docs/models.md
has a table made with it.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from service.frame.models import Card, Models, Network, read_manifest
from service.modelcards import MODELS_DIRECTORY, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

DEFAULT_RUNS = 200
WARM_UP_RUNS = 5
"""onnxruntime allocates its buffers in the first run."""
STATM = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True)
class Timing:
    """What one network costs."""

    name: str
    wall_ms_median: float
    wall_ms_p95: float
    cpu_ms_median: float
    """CPU time of the calling thread; less than the wall time where the thread had to wait."""
    cpu_ms_p95: float
    load_ms: float
    resident_bytes: int | None
    """Growth of the process's resident memory by loading and first running; None off Linux."""
    file_bytes: int
    parameters: int
    mflops: float
    runs: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `service bench` takes."""
    parser.add_argument("subject", choices=["models"], help="models: every shipped network")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    parser.add_argument("--runs", type=_positive, default=DEFAULT_RUNS, help="runs of each network")
    parser.add_argument("--directory", type=Path, default=MODELS_DIRECTORY, help="folder to read")


def run(arguments: argparse.Namespace) -> int:
    """Times the networks and prints the result."""
    timings = time_models(arguments.directory, arguments.runs)
    text = as_json(timings) if arguments.json else as_table(timings)
    sys.stdout.write(text)
    return 0


def time_models(directory: Path, runs: int = DEFAULT_RUNS) -> list[Timing]:
    """Times every network of a manifest. Raises ModelError when one cannot be loaded."""
    cards = list(read_manifest(directory).values())
    # The first network that a process loads also pays for onnxruntime's own start. All are kept:
    # memory that one gives back would hide what the next one takes.
    kept = [Models.load(directory, [card.name for card in cards[:1]])]
    timings = []
    for card in cards:
        resident_before = _resident_bytes()
        models = Models.load(directory, [card.name])
        kept.append(models)
        timings.append(_time(models, directory, card, runs, resident_before))
    return timings


def as_table(timings: Sequence[Timing]) -> str:
    """Aligned columns for a person to read."""
    header = ("name", "wall ms", "p95", "cpu ms", "p95", "load ms", "RSS MB", "file kB", "params")
    rows = [
        (
            timing.name,
            f"{timing.wall_ms_median:.2f}",
            f"{timing.wall_ms_p95:.2f}",
            f"{timing.cpu_ms_median:.2f}",
            f"{timing.cpu_ms_p95:.2f}",
            f"{timing.load_ms:.1f}",
            "-" if timing.resident_bytes is None else f"{timing.resident_bytes / 1e6:.1f}",
            f"{timing.file_bytes / 1e3:.0f}",
            f"{timing.parameters}",
            f"{timing.mflops:.1f}",
        )
        for timing in timings
    ]
    return table([(*header, "MFLOPs"), *rows])


def as_json(timings: Sequence[Timing]) -> str:
    """The same for a program; times in ms, sizes in bytes."""
    return json.dumps({"models": [asdict(timing) for timing in timings]}, indent=2) + "\n"


def _time(
    models: Models, directory: Path, card: Card, runs: int, resident_before: int | None
) -> Timing:
    network = models[card.name]
    _run_times(network, WARM_UP_RUNS)
    resident_after = _resident_bytes()
    grown = None
    if resident_before is not None and resident_after is not None:
        grown = resident_after - resident_before
    wall_s, cpu_s = _run_times(network, runs)
    return Timing(
        name=card.name,
        wall_ms_median=statistics.median(wall_s) * 1e3,
        wall_ms_p95=_p95(wall_s) * 1e3,
        cpu_ms_median=statistics.median(cpu_s) * 1e3,
        cpu_ms_p95=_p95(cpu_s) * 1e3,
        load_ms=models.load_seconds[card.name] * 1e3,
        resident_bytes=grown,
        file_bytes=(directory / card.file).stat().st_size,
        parameters=card.parameters,
        mflops=card.mflops,
        runs=runs,
    )


def _run_times(network: Network, runs: int) -> tuple[list[float], list[float]]:
    """Wall and thread CPU seconds of each run, on a picture of noise."""
    image = np.random.default_rng(0).integers(0, 256, network.shape, np.uint8)
    wall_s, cpu_s = [], []
    for _ in range(runs):
        wall_started, cpu_started = time.perf_counter(), time.thread_time()
        network.run(image)
        cpu_s.append(time.thread_time() - cpu_started)
        wall_s.append(time.perf_counter() - wall_started)
    return wall_s, cpu_s


def _p95(values: Sequence[float]) -> float:
    """The smallest value that at least 95 % do not exceed."""
    ordered = sorted(values)
    return ordered[-(-len(ordered) * 95 // 100) - 1]


def _resident_bytes() -> int | None:
    try:
        pages = int(STATM.read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value
