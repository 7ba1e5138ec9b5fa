"""How full a fleet may be kept: the same calls under one target after the other, until a target is
found that loses less than is allowed."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from loadtest.plan.autoscaler import Scaling
from loadtest.plan.calls import HOUR_S, Traffic, calls
from loadtest.plan.fleet import Fleet, simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from loadtest.plan.fleet import Outcome

MOST_LOST: Final = 0.001
TARGETS: Final = tuple(step / 100 for step in range(90, 25, -5))
"""Of the mean of backcloth_capacity_ratio, from the fullest on."""
LEAST_OFFERED: Final = 10_000
"""Calls by which a share of a thousandth is told: a small fleet is simulated on several days."""
MOST_DAYS: Final = 40
WARM_UP_S: Final = HOUR_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One fleet under one load."""

    sessions: int
    streams: int
    tries: int
    pod_start_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What one target gave."""

    target: float
    offered: int
    lost: int
    most_pods: int
    """Of the days, the mean, rounded up."""
    pod_hours: float
    """Of a day's part that was simulated, in the mean; so the next."""
    session_hours: float

    @property
    def lost_share(self) -> float:
        return self.lost / self.offered if self.offered else 0.0

    @property
    def held(self) -> bool:
        return self.lost_share <= MOST_LOST


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A scenario under falling targets, until two in a row held."""

    scenario: Scenario
    points: tuple[Point, ...]

    @property
    def best(self) -> Point | None:
        """The fullest target from which on nothing is lost beyond what is allowed."""
        found = None
        for point in reversed(self.points):
            if not point.held:
                break
            found = point
        return found


def curve(
    scenario: Scenario,
    traffic: Traffic,
    *,
    targets: Sequence[float] = TARGETS,
    least_offered: int = LEAST_OFFERED,
    tell: Callable[[Point], None] = lambda _: None,
) -> Curve:
    """Simulates; `traffic` without its number of sessions, which is the scenario's."""
    traffic = dataclasses.replace(traffic, sessions=scenario.sessions)
    points: list[Point] = []
    for target in targets:
        point = _point(scenario, traffic, target, least_offered)
        points.append(point)
        tell(point)
        if len(points) > 1 and points[-1].held and points[-2].held:
            break
    return Curve(scenario=scenario, points=tuple(points))


def _point(scenario: Scenario, traffic: Traffic, target: float, least_offered: int) -> Point:
    days: list[Outcome] = []
    for day in _days(scenario, traffic, target):
        days.append(day)
        if sum(one.offered for one in days) >= least_offered or len(days) == MOST_DAYS:
            break
    return Point(
        target=target,
        offered=sum(one.offered for one in days),
        lost=sum(one.refused + one.cut for one in days),
        most_pods=math.ceil(sum(one.most_pods for one in days) / len(days)),
        pod_hours=round(sum(one.pod_hours for one in days) / len(days), 1),
        session_hours=round(sum(one.session_hours for one in days) / len(days), 1),
    )


def _days(scenario: Scenario, traffic: Traffic, target: float) -> Iterator[Outcome]:
    """The same day again and again with other dice."""
    scaling = Scaling(target=target, pod_start_s=scenario.pod_start_s)
    first = traffic.sessions * traffic.day[0][1] / scenario.streams / target
    pods = max(scaling.least_pods, math.ceil(first))
    fleet = Fleet(streams=scenario.streams, pods=pods, tries=scenario.tries)
    for day in range(MOST_DAYS):
        offered = calls(dataclasses.replace(traffic, seed=traffic.seed + day))
        yield simulate(offered, fleet, scaling, counted_from_s=WARM_UP_S, seed=day)
