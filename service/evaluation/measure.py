"""SPINE of an evaluation: a clip through every method at once, and many clips in several processes.

command.py says what is to be measured; report.py shows what comes out.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.errors import BackclothError
from service.evaluation.clips import Pair, read
from service.evaluation.figures import Figures, Tally, frame_figures
from service.evaluation.methods import PLAIN, PLAIN_NETWORK, Live, Method, Plain, sparse_name
from service.evaluation.strips import Strip
from service.footage import ClipError
from service.frame.models import SERVED, Models
from service.frame.person.choice import networks_of
from service.modelcards import MODELS_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from service.evaluation.figures import U8
    from service.frame.look import Look
    from service.frame.person.source import Networks


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured of each clip."""

    looks: Mapping[str, Look]
    """Of each live model, by its name."""
    plain: bool
    """Whether the plain network is measured too."""
    every: int
    """Above 1: each live model once more, asked in every so many frames only."""
    skip: int
    """Frames at the start of a clip that no figure counts; the methods see them."""
    limit: int | None
    """Frames of a clip that are read at most."""
    strips: Path | None
    """Folder for pictures of the worst frames."""
    worst: int
    """Frames in such a picture at most."""

    @property
    def methods(self) -> tuple[str, ...]:
        """Their names, in the order of their rows."""
        sparse = [sparse_name(name, self.every) for name in self.looks if self.every > 1]
        return (*self.looks, *sparse, *((PLAIN,) if self.plain else ()))

    def networks(self) -> Models:
        """Every network that the plan runs. Raises ModelError."""
        names = dict.fromkeys((*SERVED, PLAIN_NETWORK))
        for look in self.looks.values():
            model = getattr(look.effect, "model", None)
            names |= dict.fromkeys(networks_of(model) if model is not None else ())
        return Models.load(MODELS_DIRECTORY, names)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found of a clip or still."""

    name: str
    still: bool
    width: int
    height: int
    frames: int
    """That the figures are means of."""
    figures: dict[str, Figures]
    """By method."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A clip that could not be measured, and why."""

    name: str
    error: str


def measure_all(pairs: Sequence[Pair], plan: Plan, jobs: int) -> Iterator[Measured | Failed]:
    """Each pair's outcome in the order of pairs, in as many processes as jobs."""
    networks = plan.networks()  # where one is missing, it is this process that says so
    if jobs == 1:
        yield from (_outcome(pair, plan, networks) for pair in pairs)
        return
    # A forked child would share the parent's threads of onnxruntime, which did not survive.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(jobs, len(pairs)), mp_context=context, initializer=_prepare, initargs=(plan,)
    ) as pool:
        yield from pool.map(_in_child, pairs)


def measure(pair: Pair, plan: Plan, networks: Networks) -> Measured:
    """One clip through every method. Raises ClipError for a pair that does not fit together."""
    skip = 0 if pair.still else plan.skip
    methods: dict[str, Method] = {name: Live(networks, look) for name, look in plan.looks.items()}
    if plan.every > 1:
        for name, look in plan.looks.items():
            methods[sparse_name(name, plan.every)] = Live(networks, look, every=plan.every)
    if plan.plain:
        methods[PLAIN] = Plain(networks)
    tallies = {name: Tally() for name in methods}
    strips = {name: Strip(plan.worst) for name in methods} if plan.strips else {}
    before: dict[str, tuple[U8, U8]] = {}
    size = (0, 0)
    count = 0
    for index, (frame, true) in enumerate(read(pair, plan.limit)):
        size = (frame.width, frame.height)
        for name, method in methods.items():
            found = method.step(frame, show=bool(strips))
            last = before.get(name)
            before[name] = (found.alpha, true)
            if index < skip:
                continue
            figures = frame_figures(found.alpha, true, last, found.cpu_ms)
            tallies[name].add(figures)
            if name in strips and found.shown is not None:
                strips[name].offer(index, frame, true, found.alpha, found.shown, figures)
        count = index + 1
    if count <= skip:
        raise ClipError(f"{pair.picture} has {count} frames, and the first {skip} do not count")
    for name, strip in strips.items():
        assert plan.strips is not None
        strip.write(plan.strips / f"{pair.name}.{name}.png", f"{pair.name}: {name}")
    means = {name: tally.mean() for name, tally in tallies.items()}
    return Measured(pair.name, pair.still, *size, count - skip, means)


def _outcome(pair: Pair, plan: Plan, networks: Networks) -> Measured | Failed:
    try:
        return measure(pair, plan, networks)
    except BackclothError as exc:
        return Failed(pair.name, str(exc))


# ---------------------------------------------------------------- a child process
_plan: Plan | None = None
_networks: Models | None = None


def _prepare(plan: Plan) -> None:
    global _plan, _networks
    _plan, _networks = plan, plan.networks()


def _in_child(pair: Pair) -> Measured | Failed:
    assert _plan is not None
    assert _networks is not None
    return _outcome(pair, _plan, _networks)
