"""`service bench models`: what each network costs on this machine, beside an article's figures.

Times service.frame.models as a live track calls it, one run at a time on one thread. Each network
has a process of its own, so that its memory is its own. docs/models.md has a table made with it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from service import effectbench, encodebench, framebench, levelbench
from service.fetch import read_fetchable
from service.frame.models import Models, Network, installed_networks, read_manifest
from service.modelcards import MODELS_DIRECTORY, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

DEFAULT_RUNS = 200
WARM_UP_RUNS = 5
"""onnxruntime allocates its buffers in the first run."""
STATM = Path("/proc/self/statm")
ORDER = ("blazeface_short", "facemesh", "posenet", "bodypix", "mobilenet_v2")
"""The rows that the article has come first, in its order."""


@dataclass(frozen=True, slots=True)
class Quoted:
    """What an article measured of the same network, on other hardware and in a browser."""

    webgl_ms: float
    wasm_ms: float
    cpu_ms: float


ARTICLE: Final[Mapping[str, Quoted]] = MappingProxyType(
    {
        "blazeface_short": Quoted(22.5, 15.6, 315.2),
        "facemesh": Quoted(19.3, 19.2, 335.0),
        "posenet": Quoted(42.5, 173.9, 1514.7),
        "bodypix": Quoted(77.0, 188.4, 2683.0),
        "mobilenet_v2": Quoted(37.0, 94.0, 923.6),
    }
)
ARTICLE_NOTE: Final = (
    "article: WebGL, Wasm and CPU back ends of TensorFlow.js, as bellFace's article of 2021 gives "
    "them for other hardware; not measured here"
)


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


@dataclass(frozen=True, slots=True)
class Missing:
    """A network that is not installed."""

    name: str
    fetch: str
    """The command that gets it."""


Row = Timing | Missing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `service bench` takes."""
    parser.add_argument(
        "subject",
        choices=["models", "frames", "levels", "effects", "encode"],
        help="models: every network; frames: the whole frame path over clips; levels: a frame at "
        "each quality level; effects: what each option costs; encode: what a background that stays "
        "saves the encoder",
    )
    parser.add_argument(
        "clips", nargs="*", type=Path, metavar="CLIP", help="for all but models: videos"
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    parser.add_argument("--runs", type=_positive, default=DEFAULT_RUNS, help="runs of each network")
    parser.add_argument("--directory", type=Path, default=MODELS_DIRECTORY, help="folder to read")


def run(arguments: argparse.Namespace) -> int:
    """Times the networks and prints the result."""
    if arguments.subject != "models":
        if not arguments.clips:
            sys.stderr.write(f"bench {arguments.subject}: name one video or more\n")
            return 2
        benches = {
            "frames": framebench.run,
            "levels": levelbench.run,
            "effects": effectbench.run,
            "encode": encodebench.run,
        }
        return benches[arguments.subject](arguments)
    rows = time_models(arguments.directory, arguments.runs)
    text = as_json(rows) if arguments.json else as_table(rows)
    sys.stdout.write(text)
    return 0


def time_models(directory: Path, runs: int = DEFAULT_RUNS) -> list[Row]:
    """Times every network that is installed, and names those of the article that are not.

    Raises ModelError when one cannot be loaded.
    """
    there = installed_networks(directory, read_manifest(directory))
    missing = [name for name in read_fetchable(directory) if name not in there and name in ARTICLE]
    names = sorted((*there, *missing), key=lambda name: (*ORDER, name).index(name))
    # A new process each: one that has run another network has memory to spare for the next.
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as processes:
        return [
            Missing(name, f"python -m service models fetch {name}")
            if name in missing
            else processes.apply(time_model, (directory, name, runs))
            for name in names
        ]


def time_model(directory: Path, name: str, runs: int = DEFAULT_RUNS) -> Timing:
    """Times one network in this process. Raises ModelError when it cannot be loaded."""
    shipped = read_manifest(directory)
    # The first network that a process loads also pays for onnxruntime's own start; it is kept:
    # memory that it gives back would hide what the next one takes.
    first = Models.load(directory, [*shipped][:1])
    resident_before = _resident_bytes()
    models = Models.load(directory, [name])
    network = models[name]
    _run_times(network, WARM_UP_RUNS)
    resident_after = _resident_bytes()
    del first
    wall_s, cpu_s = _run_times(network, runs)
    grown = None
    if resident_before is not None and resident_after is not None:
        grown = max(resident_after - resident_before, 0)
    path, card = installed_networks(directory, shipped)[name]
    return Timing(
        name=name,
        wall_ms_median=statistics.median(wall_s) * 1e3,
        wall_ms_p95=_p95(wall_s) * 1e3,
        cpu_ms_median=statistics.median(cpu_s) * 1e3,
        cpu_ms_p95=_p95(cpu_s) * 1e3,
        load_ms=models.load_seconds[name] * 1e3,
        resident_bytes=grown,
        file_bytes=path.stat().st_size,
        parameters=card.parameters,
        mflops=card.mflops,
        runs=runs,
    )


def as_table(rows: Sequence[Row]) -> str:
    """Aligned columns for a person to read, and below them where the article's come from."""
    header = (
        *("name", "wall ms", "p95", "cpu ms", "p95", "load ms", "RSS MB", "file kB", "params"),
        *("MFLOPs", "article: WebGL", "Wasm", "CPU"),
    )
    lines = table([header, *(_cells(row) for row in rows)])
    hints = "".join(
        f"{row.name} is not installed: {row.fetch}\n" for row in rows if isinstance(row, Missing)
    )
    return f"{lines}\n{ARTICLE_NOTE}\n{hints}"


def as_json(rows: Sequence[Row]) -> str:
    """The same for a program; times in ms, sizes in bytes. What is not known is null."""
    models = []
    for row in rows:
        quoted = ARTICLE.get(row.name)
        models.append(
            {
                "installed": isinstance(row, Timing),
                **asdict(row),
                "article": None if quoted is None else asdict(quoted),
            }
        )
    return json.dumps({"models": models, "article_note": ARTICLE_NOTE}, indent=2) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    quoted = ARTICLE.get(row.name)
    article = (
        ("-", "-", "-")
        if quoted is None
        else (f"{quoted.webgl_ms:.1f}", f"{quoted.wasm_ms:.1f}", f"{quoted.cpu_ms:.1f}")
    )
    if isinstance(row, Missing):
        return (row.name, *["-"] * 9, *article)
    return (
        row.name,
        f"{row.wall_ms_median:.2f}",
        f"{row.wall_ms_p95:.2f}",
        f"{row.cpu_ms_median:.2f}",
        f"{row.cpu_ms_p95:.2f}",
        f"{row.load_ms:.1f}",
        "-" if row.resident_bytes is None else f"{row.resident_bytes / 1e6:.1f}",
        f"{row.file_bytes / 1e3:.0f}",
        f"{row.parameters}",
        f"{row.mflops:.1f}",
        *article,
    )


def _run_times(network: Network, runs: int) -> tuple[list[float], list[float]]:
    """Wall and thread CPU seconds of each run, on a picture of noise.

    A network that remembers gets what it gave in the run before, as in a film.
    """
    image = np.random.default_rng(0).integers(0, 256, network.shape, np.uint8)
    state = network.first_state()
    remembered = len(state)
    wall_s, cpu_s = [], []
    for _ in range(runs):
        wall_started, cpu_started = time.perf_counter(), time.thread_time()
        outputs = network.run(image, *state)
        cpu_s.append(time.thread_time() - cpu_started)
        wall_s.append(time.perf_counter() - wall_started)
        state = outputs[len(outputs) - remembered :]
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
