"""The largest number of sessions at once that holds an SLO.

`largest` is the search, pure but for the trial that it is given; `capacity` runs each trial against
a server with fresh sessions, and a fresh server where it starts them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from loadtest.load import load
from loadtest.profiles import Ramp
from loadtest.results import CapacityResult, LoadResult, Trial

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from loadtest.load import Plan
    from loadtest.results import Second
    from loadtest.server import Target

ARRIVAL_INTERVAL_S = 0.25
"""Handshakes of a crowd that comes at once are another question than what it costs to serve it."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where the search ended."""

    largest: int
    "0: not even one."
    bounded: bool
    "Whether one more was tried and failed."


async def largest(trial: Callable[[int], Awaitable[bool]], *, start: int, most: int) -> Found:
    """Doubles from `start` until a number fails, then halves the gap. A number fails when it fails
    twice running: a machine has other things to do now and then."""

    async def holds(sessions: int) -> bool:
        return await trial(sessions) or await trial(sessions)

    held, failed, sessions = 0, most + 1, start
    while failed - held > 1:
        if await holds(sessions):
            held = sessions
        else:
            failed = sessions
        sessions = min(2 * held, most) if failed > most else (held + failed) // 2
    return Found(held, failed <= most)


async def capacity(
    target: Target,
    plan: Plan,
    *,
    start: int,
    most: int,
    tell_trial: Callable[[int, LoadResult | None], None],
    tell: Callable[[Second], None],
    stop: asyncio.Event,
) -> CapacityResult:
    """`plan.profile` is replaced by each trial's. `tell_trial` is told when a trial begins, without
    a result, and when it is over. A stopped search gives what it has found. Raises as `load` does.
    """
    trials: list[Trial] = []
    best: LoadResult | None = None
    beyond: LoadResult | None = None
    newest: LoadResult | None = None

    async def trial(sessions: int) -> bool:
        nonlocal best, beyond, newest
        tell_trial(sessions, None)
        one = replace(plan, profile=Ramp(sessions, ARRIVAL_INTERVAL_S), together=True)
        newest = await load(target, one, tell=tell, stop=stop)
        if stop.is_set():
            raise _StoppedError
        held = newest.held
        tell_trial(sessions, newest)
        broke = tuple(f"{one.name}: {one.value}" for one in newest.slo if not one.held)
        trials.append(Trial(sessions, held, broke, newest.totals))
        if held:
            best = newest  # a number that holds is never below one that held before
        else:
            beyond = newest  # nor one that fails above one that failed
        return held

    try:
        found = await largest(trial, start=start, most=most)
    except _StoppedError:
        found = Found(max((one.sessions for one in trials if one.held), default=0), bounded=False)
    assert newest is not None, "at least one number was tried"
    return CapacityResult(
        setup=replace(newest.setup, profile=f"{start} to {most} sessions, a run for each number"),
        largest=found.largest,
        bounded=found.bounded,
        trials=tuple(trials),
        at_largest=best,
        beyond=beyond,
    )


class _StoppedError(Exception):
    """By hand, in the middle of a trial."""
