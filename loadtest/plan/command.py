"""`python -m loadtest plan`: its options, and what it does."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loadtest.plan import study
from loadtest.plan.calls import Traffic, growth
from loadtest.plan.figures import FILE, read
from loadtest.plan.fleet import ASKS, PASSED_ON
from loadtest.plan.headroom import MOST_LOST, Point, Scenario, curve
from loadtest.plan.table import spliced, tables

if TYPE_CHECKING:
    import argparse

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE, CURVES, DRAWING = "operations.md", "capacity.json", "capacity.svg"
NOT_HELD: Final = 3
USUAL: Final = Traffic(sessions=1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of the command."""
    parser.add_argument(
        "--page", type=Path, nargs="?", const=DOCS, metavar="DIR",
        help=f"write the tables into DIR/{PAGE}, and {CURVES} and {DRAWING} beside it",
    )  # fmt: skip
    parser.add_argument("--figures", type=Path, default=FILE, help="what a stream costs (TOML)")
    one = parser.add_argument_group("one fleet of your own, in place of the tables")
    one.add_argument("--sessions", type=int, help="at once, in the mean of the busiest hour")
    one.add_argument("--streams", type=int, default=8, help="that a pod takes")
    one.add_argument(
        "--tries", type=int, default=3,
        help="pods at random that a call asks; 0: the front knows the emptiest; -1: one at random, "
        "which passes on what it has no room for",
    )  # fmt: skip
    one.add_argument("--pod-start", type=float, default=study.POD_START_S, metavar="S")
    one.add_argument("--mean-stay", type=float, default=USUAL.mean_stay_s, metavar="S")
    one.add_argument(
        "--meeting-share", type=float, default=USUAL.meeting_share, metavar="SHARE",
        help="of the calls: those that begin on the hour or the half hour",
    )  # fmt: skip
    one.add_argument(
        "--growth", type=float, metavar="S",
        help="from a tenth to the peak in so long, in place of a working day",
    )  # fmt: skip
    one.add_argument("--json", type=Path, metavar="FILE", help="write that fleet's curve there")


def run(chosen: argparse.Namespace) -> int:
    """Exit status: 0; 3 where no target holds. Raises ValueError, OSError, NoMarkers."""
    return _one_fleet(chosen) if chosen.sessions is not None else _page(chosen)


def _page(chosen: argparse.Namespace) -> int:
    figures = read(chosen.figures)
    folder = DOCS if chosen.page is None else chosen.page
    page = folder / PAGE
    if chosen.page is not None:
        spliced(page.read_text(encoding="utf-8"), "")  # at the end would be late to find it missing
    wanted = study.scenarios(figures)
    curves = study.study(wanted, study.read(folder / CURVES), _tell_scenario)
    found = tables(figures, curves)
    if chosen.page is None:
        sys.stdout.write(found + "\n")
        return 0
    from loadtest.plan.drawing import svg

    study.write(folder / CURVES, curves)
    (folder / DRAWING).write_text(svg(curves), encoding="utf-8")
    page.write_text(spliced(page.read_text(encoding="utf-8"), found), encoding="utf-8")
    return 0


def _one_fleet(chosen: argparse.Namespace) -> int:
    if (
        chosen.sessions < 1
        or chosen.streams < 1
        or chosen.tries < PASSED_ON
        or chosen.pod_start < 0
    ):
        raise ValueError("--sessions, --streams, --tries or --pod-start is out of range")
    if chosen.mean_stay <= 0 or not 0 <= chosen.meeting_share <= 1:
        raise ValueError("--mean-stay must be above 0, and --meeting-share 0 to 1")
    traffic = Traffic(
        sessions=chosen.sessions,
        mean_stay_s=chosen.mean_stay,
        meeting_share=chosen.meeting_share,
    )
    if chosen.growth is not None:
        if chosen.growth <= 0:
            raise ValueError("--growth must be above 0")
        traffic = dataclasses.replace(traffic, day=growth(chosen.growth), from_hour=0.0)
    scenario = Scenario(
        sessions=chosen.sessions,
        streams=chosen.streams,
        tries=chosen.tries,
        pod_start_s=chosen.pod_start,
    )
    found = curve(scenario, traffic, tell=_tell)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(dataclasses.asdict(found), indent=2) + "\n")
    best = found.best
    if best is None:
        sys.stdout.write(f"no target refuses {MOST_LOST:.1%} or less\n")
        return NOT_HELD
    sys.stdout.write(f"keep the mean at {best.target:.2f}: {best.most_pods} pods at the peak\n")
    return 0


def _tell(point: Point) -> None:
    sys.stdout.write(
        f"target {point.target:.2f}: {point.lost_share:8.3%} refused, {point.most_pods} pods\n"
    )
    sys.stdout.flush()


def _tell_scenario(scenario: Scenario, point: Point) -> None:
    asks = ASKS.get(scenario.tries, f"{scenario.tries} at random")
    sys.stderr.write(
        f"{scenario.sessions} sessions, {scenario.streams} a pod, asking {asks}, "
        f"{scenario.pod_start_s:.0f} s: target {point.target:.2f} {point.lost_share:.3%}\n"
    )
