"""The command line: `python -m loadtest run|compare|load|capacity|report|plan`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from loadtest import options, results, summary
from loadtest.capacity import capacity
from loadtest.client import clients_on_loopback
from loadtest.load import load
from loadtest.plan import command as planning
from loadtest.profiles import AtOnce
from loadtest.progress import bar
from loadtest.quota import NoQuota
from loadtest.results import CapacityResult, LoadResult, Trial
from loadtest.run import Load, NothingBack, compare, measure
from loadtest.server import NotStarted
from loadtest.workers import WorkerDied
from loadtest.wrtc.install import NotInstalled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loadtest.progress import Bar

STOPPED = 130
"""Exit status after ^C, as shells have it."""
NOT_HELD = 3
"""Exit status where everything was measured and something did not hold."""
LOAD_SECONDS = 30.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status: 1 where it could not be measured, 3 where an SLO or a
    soak's criterion did not hold."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    chosen = parser().parse_args(words)
    chosen.words = words
    if chosen.client_cores is not None:
        os.sched_setaffinity(0, chosen.client_cores)
    clients_on_loopback()
    try:
        return int(uvloop.run(chosen.run(chosen)))
    except (
        NotStarted, NothingBack, NoQuota, NotInstalled, WorkerDied, ValueError, OSError,
    ) as exc:  # fmt: skip
        sys.stderr.write(f"loadtest: {type(exc).__name__}: {exc}\n")
        return 1
    except KeyboardInterrupt:
        return STOPPED


def parser() -> argparse.ArgumentParser:
    """Of all commands."""
    top = argparse.ArgumentParser(
        prog="python -m loadtest",
        description=options.ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    one = commands.add_parser("run", help="one server, sessions at once, one line of figures")
    options.add_target(one, prefix="", adapter="backcloth")
    options.add_span(one)
    _add_common(one)
    one.set_defaults(run=_run)

    two = commands.add_parser("compare", help="two servers, or two effects, in alternation")
    options.add_target(two, prefix="a-", adapter="backcloth")
    options.add_target(two, prefix="b-", adapter="offer")
    two.add_argument("--runs", type=options.positive, default=5, help="pairs of runs")
    options.add_span(two)
    _add_common(two)
    two.set_defaults(run=_compare)

    many = commands.add_parser("load", help="sessions that come and go, second by second")
    options.add_target(many, prefix="", adapter="backcloth")
    options.add_arrivals(many)
    options.add_client(many)
    options.add_limits(many)
    _add_common(many, html=True)
    many.set_defaults(run=_load)

    most = commands.add_parser("capacity", help="the largest number of sessions that holds an SLO")
    options.add_target(most, prefix="", adapter="backcloth")
    most.add_argument("--from", dest="start", type=options.positive, default=1, help="tried first")
    most.add_argument("--most", type=options.positive, default=64, help="never tried more")
    most.add_argument(
        "--seconds", type=options.seconds, default=10.0, help="measured in each trial"
    )
    options.add_client(most)
    options.add_limits(most)
    _add_common(most, html=True)
    most.set_defaults(run=_capacity)
    again = commands.add_parser("report", help="an HTML report of what --json wrote")
    again.add_argument("json", type=Path, metavar="IN.json", help="of load or capacity")
    again.add_argument("html", type=Path, metavar="OUT.html")
    again.set_defaults(run=_report, client_cores=None)

    fleet = commands.add_parser("plan", help="pods for so many sessions, by simulation")
    planning.add_arguments(fleet)
    fleet.set_defaults(run=_plan, client_cores=None)
    return top


def _add_common(command: argparse.ArgumentParser, *, html: bool = False) -> None:
    options.add_media(command)
    options.add_place(command)
    command.add_argument("--json", type=Path, metavar="FILE", help="write the whole result there")
    if html:
        command.add_argument("--html", type=Path, metavar="FILE", help="write a report there")


async def _run(chosen: argparse.Namespace) -> int:
    target, clip = options.target_of(chosen), options.clip_of(chosen)
    what = Load(
        clip,
        options.wish_of(clip, chosen.effect),
        chosen.sessions,
        chosen.seconds,
        chosen.client,
    )
    with bar() as shown:
        shown.begin("measuring", None)
        found = await measure(target, what, tell=shown.second)
    _say(found.as_line())
    _write(chosen.json, found.as_json())
    return 0


async def _compare(chosen: argparse.Namespace) -> int:
    first, second = options.target_of(chosen, "a_"), options.target_of(chosen, "b_")
    clip = options.clip_of(chosen)
    effects = (chosen.a_effect or chosen.effect, chosen.b_effect or chosen.effect)
    a, b = (
        Load(clip, options.wish_of(clip, effect), chosen.sessions, chosen.seconds, chosen.client)
        for effect in effects
    )
    found = await compare(first, second, a, runs=chosen.runs, tell=_say, what_second=b)
    for line in found.as_lines():
        _say(line)
    _write(chosen.json, {"effects": dict(zip("ab", effects, strict=True)), **found.as_json()})
    return 0


async def _load(chosen: argparse.Namespace) -> int:
    profile = options.profile_of(chosen)
    seconds = chosen.seconds
    if seconds is None and not (chosen.profile == "poisson" and chosen.sessions):
        seconds = LOAD_SECONDS
    plan = options.plan_of(chosen, profile, seconds, together=False)
    with bar() as shown, _stoppable() as stop:
        shown.begin(str(profile), seconds)
        result = await load(options.target_of(chosen), plan, tell=shown.second, stop=stop)
    for line in summary.of_load(result):
        _say(line)
    _keep(chosen, result)
    if result.interrupted:
        return STOPPED
    return 0 if result.held and all(one.held for one in result.soak) else NOT_HELD


async def _capacity(chosen: argparse.Namespace) -> int:
    if chosen.start > chosen.most:
        raise ValueError("--from is above --most")
    plan = options.plan_of(chosen, AtOnce(1), chosen.seconds, together=True)
    with bar() as shown, _stoppable() as stop:
        result = await capacity(
            options.target_of(chosen),
            plan,
            start=chosen.start,
            most=chosen.most,
            tell_trial=lambda sessions, one: _tell_trial(shown, sessions, one),
            tell=shown.second,
            stop=stop,
        )
    _say(summary.of_capacity(result))
    _keep(chosen, result)
    return STOPPED if stop.is_set() else 0


async def _report(chosen: argparse.Namespace) -> int:
    kept = json.loads(chosen.json.read_text())
    if not isinstance(kept, dict):
        raise ValueError("not a result")
    if "trials" in kept:
        _draw(chosen.html, results.from_json(CapacityResult, kept))
    else:
        _draw(chosen.html, results.from_json(LoadResult, kept))
    return 0


async def _plan(chosen: argparse.Namespace) -> int:
    return planning.run(chosen)  # it has the loop to itself


def _tell_trial(shown: Bar, sessions: int, result: LoadResult | None) -> None:
    if result is None:
        shown.begin(f"{sessions} sessions", None)
        return
    broke = tuple(f"{one.name}: {one.value}" for one in result.slo if not one.held)
    _say(summary.of_trial(Trial(sessions, result.held, broke, result.totals)))


@contextmanager
def _stoppable() -> Iterator[asyncio.Event]:
    """An event that ^C sets; a second ^C ends the program at once."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def pressed() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        stop.set()

    loop.add_signal_handler(signal.SIGINT, pressed)
    try:
        yield stop
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _keep(chosen: argparse.Namespace, result: LoadResult | CapacityResult) -> None:
    _write(chosen.json, results.to_json(result))
    if chosen.html is not None:
        _draw(chosen.html, result)


def _draw(path: Path, result: LoadResult | CapacityResult) -> None:
    from loadtest import report  # what draws is loaded by those who want a drawing

    report.write(result, path)


def _write(path: Path | None, value: dict[str, Any]) -> None:
    if path is not None:
        path.write_text(json.dumps(value, indent=2) + "\n")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
