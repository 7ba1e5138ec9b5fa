"""The tables of docs/operations.md, between two markers that only this writes between. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from loadtest.plan.fleet import LEAST_LOADED, PASSED_ON
from loadtest.plan.headroom import MOST_LOST, Scenario
from loadtest.plan.study import FLEETS, POD_START_S, scenarios

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from loadtest.plan.figures import Figures, Stream
    from loadtest.plan.headroom import Curve

BEGIN: Final = "<!-- plan:begin -->"
END: Final = "<!-- plan:end -->"
SERVED: Final = (100, 10_000, 1_000_000)
"""Sessions at once, in the mean of the busiest hour."""
FINDS: Final = {
    1: "one, at random",
    PASSED_ON: "one, at random, which passes it on",
    LEAST_LOADED: "the emptiest",
}
NONE_HELD: Final = "none"


class NoMarkers(ValueError):
    """The page has no place for the tables."""


def spliced(page: str, tables: str) -> str:
    """The page with what is between its markers replaced. Raises NoMarkers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise NoMarkers(f"the page must have {BEGIN} and, behind it, {END}, each once")
    return f"{before}{BEGIN}\n{tables.strip()}\n{END}{after}"


def tables(figures: Figures, curves: Sequence[Curve]) -> str:
    """All of them as Markdown. Raises KeyError where a scenario was not simulated."""
    known = {one.scenario: one for one in curves}
    parts = (_origin(figures), _stream(figures), _headroom(figures, known), _served(figures, known))
    return "\n\n".join("\n".join(part) for part in parts)


def _origin(figures: Figures) -> Iterator[str]:
    measured = ", ".join(f"*{one}*" for one in figures.measured)
    estimated = ", ".join(dict.fromkeys(figures.estimated)) or "nothing"
    yield (
        "Made by `python -m loadtest plan --page` from `loadtest/plan/figures.toml`. Computed from "
        f"what [performance.md](performance.md) measured ({measured}). *Estimated*: {estimated}; "
        "how people call; how long pods and metrics take. Pods were simulated, not run."
    )


def _stream(figures: Figures) -> Iterator[str]:
    yield "| session | cores | sessions a pod | memory of a full pod | Mbit/s in | out |"
    yield "|---|---|---|---|---|---|"
    for one in figures.streams:
        yield (
            f"| {one.name} | {one.cores:.2f} | {figures.slots(one)} | {figures.pod_mb(one):.0f} MB "
            f"| {figures.mbit_s(one, out=False):.2f} | {figures.mbit_s(one, out=True):.2f} |"
        )


def _headroom(figures: Figures, known: Mapping[Scenario, Curve]) -> Iterator[str]:
    yield (
        "| sessions at the peak | sessions a pod | pods that a call asks | a pod starts in "
        f"| fullest target with at most {MOST_LOST:.1%} refused | refused at 0.7 "
        "| pods at the peak | mean use |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for scenario in scenarios(figures):
        found = known[scenario]
        best = found.best
        at_usual = next((one for one in found.points if one.target == 0.7), None)
        usual = "less" if at_usual is None else f"{at_usual.lost_share:.2%}"
        asks = FINDS.get(scenario.tries, f"{scenario.tries}, at random")
        held = f"{NONE_HELD} | {usual} | | |"
        if best is not None:
            use = best.session_hours / best.pod_hours / scenario.streams
            held = f"{best.target:.2f} | {usual} | {best.most_pods:,} | {use:.0%} |"
        yield (
            f"| {scenario.sessions:,} | {scenario.streams} | {asks} "
            f"| {scenario.pod_start_s:.0f} s | {held}"
        )


def _served(figures: Figures, known: Mapping[Scenario, Curve]) -> Iterator[str]:
    yield (
        "| sessions at the peak | session | target | pods | cores | memory | Gbit/s in | out "
        "| pods, where pods pass calls on | pods, where calls ask three at random |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for sessions in SERVED:
        for stream in figures.streams:
            yield f"| {sessions:,} | {stream.name} | {_row(figures, known, sessions, stream)} |"


def _row(figures: Figures, known: Mapping[Scenario, Curve], sessions: int, stream: Stream) -> str:
    fleet = max(one for one in FLEETS if one <= sessions)
    fleets = math.ceil(sessions / fleet)

    def pods_of(tries: int) -> tuple[str, int | None]:
        scenario = Scenario(
            sessions=fleet,
            streams=figures.slots(stream),
            tries=tries,
            pod_start_s=POD_START_S,
        )
        best = known[scenario].best
        return (
            (NONE_HELD, None) if best is None else (f"{best.target:.2f}", best.most_pods * fleets)
        )

    target, pods = pods_of(LEAST_LOADED)
    _, passing = pods_of(PASSED_ON)
    _, by_chance = pods_of(3)
    others = " | ".join(NONE_HELD if one is None else f"{one:,}" for one in (passing, by_chance))
    if pods is None:
        return f"{target} | | | | | | {others}"
    gbit_s = [sessions * figures.mbit_s(stream, out=out) / 1000 for out in (False, True)]
    return (
        f"{target} | {pods:,} | {pods * figures.pod_cores:,.0f} "
        f"| {_memory(pods * figures.pod_mb(stream))} | {_three(gbit_s[0])} | {_three(gbit_s[1])} "
        f"| {others}"
    )


def _memory(mb: float) -> str:
    return f"{_three(mb / 1000)} GB" if mb < 1e6 else f"{_three(mb / 1e6)} TB"


def _three(value: float) -> str:
    """Three digits of it."""
    if value >= 100:
        digits = max(0, math.floor(math.log10(value)) - 2)
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"
