"""SPINE of the bench: rows -> runs in turn -> what came back -> ratios.

For each row (clip, codec, size) and each pair of runs, four things take turns: Backcloth with a
colour behind the person, Backcloth without an effect, the naive server, and the floor. Every
outcome goes to the ledger at once; a run that fails is reported, and the others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import math
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loadtest import fidelity, floor
from loadtest.adapters import Refused, Wish
from loadtest.awake import awake
from loadtest.bench import micro, session
from loadtest.bench.figures import Figures
from loadtest.bench.rows import FPS, Kind, Row, clip_of, order
from loadtest.bench.session import NothingReturned
from loadtest.bench.summary import Summary, summarise
from loadtest.planes import GREEN
from loadtest.server import NotStarted
from loadtest.stamp import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from loadtest.bench.ledger import Ledger
    from loadtest.bench.session import Evidence
    from loadtest.clip import EncodedClip
    from loadtest.server import Target

FAILURES = (
    NotStarted, Refused, NothingReturned, fidelity.NotComparable, RuntimeError, ValueError, OSError,
)  # fmt: skip
"""What a run may end with; ConnectionError and TimeoutError are an OSError."""
INDENT = " " * 16


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run, and with what."""

    rows: tuple[tuple[Row, Path | None], ...]
    "Each with its film; None: the drawn test person."
    service: Target
    naive: Target
    pairs: int
    seconds: float
    core: int | None
    "The servers', the floor's, and the micro-benchmarks'."
    awake: bool = False
    "Whether that core is kept from halting meanwhile (awake.py)."
    mark: Place = Place()  # noqa: RUF009 (frozen)
    micro: bool = True
    "Whether the micro-benchmarks run first."
    short_micro: bool = False


async def bench(plan: Plan, ledger: Ledger, tell: Callable[[str], None]) -> list[Summary]:
    """Run what the ledger does not have yet. `tell` gets a line for each run, as it ends."""
    with contextlib.ExitStack() as stack:
        spinner = None
        if plan.awake and plan.core is not None:
            spinner = stack.enter_context(awake(plan.core))
        if plan.micro:
            await _micro(plan, ledger, tell)
        for row, film in plan.rows:
            await _row(plan, ledger, row, film, spinner, tell)
    summaries = [summarise(row, ledger, plan.pairs) for row, _ in plan.rows]
    ledger.content["summary"] = [one.as_json() for one in summaries]
    ledger.save()
    return summaries


async def _micro(plan: Plan, ledger: Ledger, tell: Callable[[str], None]) -> None:
    films = list(dict.fromkeys(film for _, film in plan.rows if film is not None))
    for name in ("models", "frames"):
        if "error" not in ledger.content["micro"].get(name, {"error": ""}):
            continue  # of a run that is gone on from
        try:
            found = await micro.run(name, films, plan.core, short=plan.short_micro)
            tell(f"micro-benchmark {name}: done")
        except FAILURES as exc:
            found = {"error": _words(exc)}
            tell(f"micro-benchmark {name}: failed: {found['error']}")
        ledger.enter_micro(name, found)


async def _row(
    plan: Plan,
    ledger: Ledger,
    row: Row,
    film: Path | None,
    spinner: int | None,
    tell: Callable[[str], None],
) -> None:
    tell(f"{row.name}: {plan.pairs} x {plan.seconds:g} s, {row.bitrate_bps / 1e6:.2f} Mbit/s")
    clip = await asyncio.to_thread(clip_of, row, film, plan.mark)
    for pair in range(plan.pairs):
        for kind in order(list(Kind), pair):
            if _done(ledger.figures(row, pair, kind)):
                continue
            try:
                outcome, line = await _outcome(plan, row, clip, kind, spinner, judge=pair == 0)
            except FAILURES as exc:
                outcome = {"error": _words(exc)}
                line = f"failed: {outcome['error']}"
            tell(f"  pair {pair + 1} {kind.value:6} {line}")
            ledger.enter(row, pair, kind, outcome)


def _done(outcome: Mapping[str, Any] | None) -> bool:
    """Whether a run need not be made again: it did not fail, and nobody was in its way."""
    if outcome is None or "figures" not in outcome:
        return outcome is not None
    return not Figures.of_json(outcome["figures"]).noisy


async def _outcome(
    plan: Plan, row: Row, clip: EncodedClip, kind: Kind, spinner: int | None, *, judge: bool
) -> tuple[dict[str, Any], str]:
    """One run's figures for the ledger, and a line for whoever watches. Raises FAILURES.

    Judging what came back takes as long as the run and says the same each time: of one will do.
    """
    if kind is Kind.FLOOR:
        frames = round(plan.seconds * FPS)
        paced, tight, codecs = await _floors(clip, frames, row.bitrate_bps, plan.core)
        line = (
            f"{paced.as_line()}; in a tight loop {tight.total_ms:.2f}, "
            f"decoding and encoding alone {codecs.total_ms:.2f}"
        )
        others = {
            "tight_ms": round(tight.total_ms, 3),
            "codecs_percent": round(codecs.total_ms * clip.fps / 10, 3),
        }
        return paced.as_json() | others, line
    effect = {"type": "none"} if kind is Kind.NONE else {"type": "color", "color": GREEN}
    done = await session.run(
        plan.naive if kind is Kind.NAIVE else plan.service,
        clip,
        Wish(effect=effect, width=row.width, height=row.height, fps=FPS),
        seconds=plan.seconds,
        estimate_bps=row.bitrate_bps,
        spinner=spinner,
    )
    outcome: dict[str, Any] = {"figures": done.figures.as_json()}
    line = done.figures.as_line()
    if judge and kind is Kind.COLOR:
        outcome["fidelity"] = judged = await _fidelity(clip, done.evidence)
        line += f"\n{INDENT}{json.dumps(judged)}"
    if judge and kind is Kind.NAIVE and done.evidence is not None:
        outcome["psnr_db"] = await _naive_psnr_db(clip, done.evidence)
    return outcome, line


async def _floors(
    clip: EncodedClip, frames: int, bitrate_bps: int, core: int | None
) -> list[floor.Floor]:
    """At the clip's rate; in a tight loop; and of no effect at the clip's rate. In a process of its
    own, on the servers' core: a heap that nobody has used, as theirs."""
    cores = os.sched_getaffinity(0) if core is None else {core}
    loop = asyncio.get_running_loop()
    found = []
    with ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), os.sched_setaffinity, (0, cores)
    ) as pool:
        for way in ({}, {"paced": False}, {"effect": False}):
            measure = functools.partial(
                floor.measure, clip, frames, floor.MODEL, bitrate_bps, **way
            )
            found.append(await loop.run_in_executor(pool, measure))
    return found


async def _fidelity(clip: EncodedClip, evidence: Evidence | None) -> dict[str, object]:
    if evidence is None:
        return {"error": "it is not known which returned frame is which (--mark on the person)"}
    try:
        found = await fidelity.judge(
            clip,
            evidence.sent,
            evidence.returned,
            judged=evidence.measured.__contains__,
            effect=GREEN,
        )
    except fidelity.NotComparable as exc:
        return {"error": str(exc)}
    return found.as_json()


async def _naive_psnr_db(clip: EncodedClip, evidence: Evidence) -> float | None:
    """None where it cannot be told; a naive server that returns rubbish is still one to beat."""
    with contextlib.suppress(fidelity.NotComparable):
        found = await asyncio.to_thread(
            fidelity.example_psnr_db,
            clip,
            evidence.sent,
            evidence.returned,
            evidence.measured.__contains__,
        )
        return round(found, 2) if math.isfinite(found) else None
    return None


def _words(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}".strip()
