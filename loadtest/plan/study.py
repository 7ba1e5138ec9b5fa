"""The scenarios of docs/operations.md, and their curves as JSON: what was simulated already under
the same assumptions is not simulated again."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, Final

from loadtest.plan.autoscaler import Scaling
from loadtest.plan.calls import Traffic
from loadtest.plan.fleet import LEAST_LOADED, PASSED_ON
from loadtest.plan.headroom import LEAST_OFFERED, MOST_DAYS, Curve, Point, Scenario, curve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from loadtest.plan.figures import Figures

FORMAT: Final = 1
"""Of the JSON; goes up, too, when the simulation would answer otherwise."""
FLEETS: Final = (100, 10_000)
"""Sessions at once of the fleets that are simulated."""
TRIES: Final = (1, 3, PASSED_ON, LEAST_LOADED)
POD_START_S: Final = 60.0
NODE_START_S: Final = 240.0
"""Where a node has to come before the pod."""


def scenarios(figures: Figures) -> tuple[Scenario, ...]:
    """Each fleet and kind of stream, for every way in which calls find a pod; then with pods that
    come late."""
    wanted = [
        (sessions, stream, tries, POD_START_S)
        for stream in figures.streams
        for sessions in FLEETS
        for tries in TRIES
    ]
    wanted += [
        (sessions, stream, tries, NODE_START_S)
        for stream in figures.streams
        for sessions in FLEETS
        for tries in (PASSED_ON, LEAST_LOADED)
    ]
    made = (
        Scenario(sessions=sessions, streams=figures.slots(stream), tries=tries, pod_start_s=start_s)
        for sessions, stream, tries, start_s in wanted
    )
    return tuple(dict.fromkeys(made))  # two kinds of stream may fill a pod alike


def target(figures: Figures, curves: Sequence[Curve], *, pod_start_s: float) -> float | None:
    """The fullest that loses no more than is allowed for every fleet and kind of stream whose pods
    pass on what they have no room for and start in so long. None where there is none."""
    of = {scenario for scenario in scenarios(figures) if scenario.tries == PASSED_ON}
    best = [
        one.best for one in curves if one.scenario in of and one.scenario.pod_start_s == pod_start_s
    ]
    held = [one.target for one in best if one is not None]
    return min(held) if held and len(held) == len(best) else None


def assumptions() -> dict[str, Any]:
    """All that the curves depend on, beside their scenario."""
    traffic = dataclasses.asdict(Traffic(sessions=1))
    scaling = dataclasses.asdict(Scaling(target=1))
    for held, name in ((traffic, "sessions"), (scaling, "target"), (scaling, "pod_start_s")):
        del held[name]
    days = {"least_offered": LEAST_OFFERED, "most_days": MOST_DAYS}
    made = {"format": FORMAT, "traffic": traffic, "scaling": scaling, "days": days}
    found: dict[str, Any] = json.loads(json.dumps(made))
    return found


def study(
    wanted: Sequence[Scenario], known: Sequence[Curve], tell: Callable[[Scenario, Point], None]
) -> tuple[Curve, ...]:
    """The curve of each scenario."""
    have = {one.scenario: one for one in known}
    return tuple(
        have.get(one)
        or curve(one, Traffic(sessions=1), tell=lambda point, one=one: tell(one, point))  # type: ignore[misc]
        for one in wanted
    )


def write(path: Path, curves: Sequence[Curve]) -> None:
    """One line a point, so that a change can be read."""
    lines = []
    for one in curves:
        points = ",\n   ".join(json.dumps(dataclasses.asdict(point)) for point in one.points)
        scenario = json.dumps(dataclasses.asdict(one.scenario))
        lines.append(f'{{"scenario": {scenario}, "points": [\n   {points}]}}')
    held = json.dumps(assumptions(), indent=1)[1:-1].strip()
    path.write_text("{" + held + ',\n "curves": [\n  ' + ",\n  ".join(lines) + "\n ]}\n")


def read(path: Path) -> tuple[Curve, ...]:
    """Those that hold under the present assumptions; none where there is no file."""
    if not path.exists():
        return ()
    found = json.loads(path.read_text(encoding="utf-8"))
    curves = found.pop("curves")
    if found != assumptions():
        return ()
    return tuple(
        Curve(
            scenario=Scenario(**one["scenario"]),
            points=tuple(Point(**point) for point in one["points"]),
        )
        for one in curves
    )
