"""What the plots of a run show: lines over its seconds, thinned so that an hour fits on a page."""

from __future__ import annotations

import math
import re
import statistics
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from loadtest.results import LoadResult, Second

MOST_POINTS = 600
MOST_KINDS = 8
"""Of stacked ones; the rarest share the last."""
OTHERS = "others"
MIB = 1 << 20
QUOTA_EVENT = re.compile(r"CPU quota set to ([0-9.e+-]+) cores")

Value = float | None


@dataclass(frozen=True, slots=True)
class Line:
    """One series; None where it was not measured."""

    name: str
    values: tuple[Value, ...]
    limit: bool = False
    "A bound, not a measurement."

    @property
    def measured(self) -> bool:
        return any(value is not None for value in self.values)


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot over time."""

    key: str
    title: str
    unit: str
    caption: str
    lines: tuple[Line, ...]
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Timeline:
    """All panels of a run, over the same time."""

    at_s: tuple[float, ...]
    "Middles of the spans that the points stand for."
    end_s: float
    events_s: tuple[float, ...]
    panels: tuple[Panel, ...]
    missing: tuple[str, ...]
    "Names of the series that were not measured."
    seconds_per_point: int


def timeline(result: LoadResult) -> Timeline:
    """Panels and lines in which nothing was measured are left out, and named."""
    seconds = result.seconds
    group = max(1, math.ceil(len(seconds) / MOST_POINTS))
    starts = range(0, len(seconds), group)
    panels, missing = [], []
    for panel in _panels(result, _Thinned(seconds, group)):
        lines = tuple(line for line in panel.lines if line.measured)
        missing += [f"{panel.title}: {line.name}" for line in panel.lines if not line.measured]
        if any(not line.limit for line in lines):
            panels.append(
                Panel(panel.key, panel.title, panel.unit, panel.caption, lines, panel.stacked)
            )
        elif not panel.lines:
            missing.append(panel.title)
    return Timeline(
        at_s=tuple(seconds[start].at_s + min(group, len(seconds) - start) / 2 for start in starts),
        end_s=seconds[-1].at_s + 1.0 if seconds else 1.0,
        events_s=tuple(event.at_s for event in result.events),
        panels=tuple(panels),
        missing=tuple(missing),
        seconds_per_point=group,
    )


class _Thinned:
    """The seconds, as many to a point as needed."""

    def __init__(self, seconds: Sequence[Second], group: int) -> None:
        self._groups = [seconds[at : at + group] for at in range(0, len(seconds), group)]

    def __len__(self) -> int:
        return len(self._groups)

    def mean(self, of: Callable[[Second], Value]) -> tuple[Value, ...]:
        return self._each(of, statistics.fmean)

    def largest(self, of: Callable[[Second], Value]) -> tuple[Value, ...]:
        return self._each(of, max)

    def least(self, of: Callable[[Second], Value]) -> tuple[Value, ...]:
        return self._each(of, min)

    def last(self, of: Callable[[Second], Value]) -> tuple[Value, ...]:
        return self._each(of, lambda values: values[-1])

    def kinds(self, of: Callable[[Second], Mapping[str, int]]) -> tuple[Line, ...]:
        """A line for each name, the most frequent first; a name that is not there counts as 0."""
        sums: dict[str, int] = {}
        for group in self._groups:
            for second in group:
                for name, count in of(second).items():
                    sums[name] = sums.get(name, 0) + count
        ranked = sorted(sums, key=lambda name: (-sums[name], name))
        kept, rest = ranked[:MOST_KINDS], frozenset(ranked[MOST_KINDS:])
        lines = [
            Line(name, self.mean(lambda second, name=name: float(of(second).get(name, 0))))  # type: ignore[misc]
            for name in kept
        ]
        if rest:
            others = self.mean(
                lambda second: float(sum(n for name, n in of(second).items() if name in rest))
            )
            lines.append(Line(OTHERS, others))
        return tuple(lines)

    def _each(
        self, of: Callable[[Second], Value], how: Callable[[list[float]], float]
    ) -> tuple[Value, ...]:
        found: list[Value] = []
        for group in self._groups:
            values = [value for second in group if (value := of(second)) is not None]
            found.append(how(values) if values else None)
        return tuple(found)


def _panels(result: LoadResult, thin: _Thinned) -> Iterator[Panel]:
    setup, slo = result.setup, result.setup.slo
    steady = {
        one.at_s: one.open
        for before, one in pairwise(result.seconds)
        if before.open == one.open and before.admitted == one.admitted
    }

    def bound(name: str, value: float) -> Line:
        return Line(name, (value,) * len(thin), limit=True)

    yield Panel(
        "sessions",
        "Sessions open",
        "sessions",
        "Those with a connection, as the clients count them and as the server does.",
        (
            Line("open", thin.mean(lambda one: one.open)),
            Line("the server's count", thin.mean(lambda one: one.server_sessions)),
        ),
    )
    yield Panel(
        "outcomes",
        "Sessions asked for",
        "sessions",
        "Since the start of the run.",
        (
            Line("admitted", thin.last(lambda one: one.admitted)),
            Line("refused", thin.last(lambda one: one.refused)),
            Line("failed", thin.last(lambda one: one.failed)),
            Line("cut off", thin.last(lambda one: one.cut_off)),
        ),
    )
    yield Panel(
        "fps",
        "Frames of a session",
        "frames/s",
        "Mean of the open sessions, without the seconds in which one came or left, and the session "
        "to which fewest came back.",
        (
            Line("sent", thin.mean(lambda one: _share(one.sent_fps, steady.get(one.at_s)))),
            Line("back", thin.mean(lambda one: _share(one.back_fps, steady.get(one.at_s)))),
            Line("least back", thin.least(lambda one: one.least_fps)),
            bound("SLO", slo.least_fps_share * setup.fps),
        ),
    )
    yield Panel(
        "latency",
        "Latency",
        "ms",
        "From a frame's leaving the client to its coming back, of the frames of each second.",
        (
            Line("p50", thin.largest(lambda one: getattr(one.latency_ms, "p50", None))),
            Line("p95", thin.largest(lambda one: getattr(one.latency_ms, "p95", None))),
            Line("p99", thin.largest(lambda one: getattr(one.latency_ms, "p99", None))),
            bound("SLO for p95", slo.p95_ms),
        ),
    )
    yield Panel(
        "cpu",
        "CPU of the server",
        "cores",
        "User and system time of the whole process tree.",
        (
            Line("used", thin.mean(lambda one: one.server_cores)),
            *_quota(result, thin),
        ),
    )
    yield Panel(
        "throttled",
        "Held back by the CPU quota",
        "s in a second",
        "Time for which the server's threads were runnable and not let run, all together.",
        (Line("throttled", thin.mean(lambda one: one.throttled_s)),),
    )
    yield Panel(
        "lag",
        "Event-loop lag of the server",
        "ms",
        "Upper edges of the histogram's buckets in /metrics.",
        (
            Line("p50", thin.largest(lambda one: one.loop_lag_p50_ms)),
            Line("p99", thin.largest(lambda one: one.loop_lag_p99_ms)),
        ),
    )
    yield Panel(
        "memory",
        "Memory of the server",
        "MiB",
        "Resident, of the whole process tree.",
        (Line("resident", thin.mean(lambda one: _scaled(one.server_rss_bytes, 1 / MIB))),),
    )
    yield Panel(
        "handles",
        "Threads and descriptors",
        "",
        "Of the server's whole process tree.",
        (
            Line("threads", thin.largest(lambda one: one.server_threads)),
            Line("descriptors", thin.largest(lambda one: one.server_files)),
        ),
    )
    yield Panel(
        "quality",
        "Quality levels",
        "sessions",
        "Sessions at each level.",
        thin.kinds(lambda one: one.quality),
        stacked=True,
    )
    yield Panel(
        "dropped",
        "Frames dropped by the server",
        "frames/s",
        "All sessions together, by the server's reason.",
        thin.kinds(lambda one: one.dropped),
        stacked=True,
    )
    yield Panel(
        "freezes",
        "Freezes",
        "in a second",
        "Gaps between two frames back that are longer than three frame intervals and 150 ms.",
        (Line("freezes", thin.largest(lambda one: one.freezes)),),
    )
    yield Panel(
        "capacity",
        "Capacity in use",
        "share",
        "The server's own figure, which autoscaling reads.",
        (Line("in use", thin.mean(lambda one: one.capacity_ratio)),),
    )
    yield Panel(
        "client-cpu",
        "CPU of the clients",
        "cores",
        "All client processes together.",
        (Line("used", thin.mean(lambda one: one.client_cores)),),
    )
    yield Panel(
        "client-lag",
        "Event-loop lag of the clients",
        "ms",
        "The latest timer of each second: a client that is late itself counts as latency.",
        (Line("largest", thin.largest(lambda one: one.client_lag_ms)),),
    )


def _quota(result: LoadResult, thin: _Thinned) -> tuple[Line, ...]:
    """What the server was allowed at each moment; nothing where it was not limited."""
    changes = [
        (event.at_s, float(match[1]))
        for event in result.events
        if (match := QUOTA_EVENT.search(event.what)) is not None
    ]
    if result.setup.server_quota is None and not changes:
        return ()

    def at(second: Second) -> Value:
        quota = result.setup.server_quota
        for at_s, cores in changes:
            if at_s <= second.at_s + 0.5:
                quota = cores
        return quota

    return (Line("quota", thin.last(at), limit=True),)


def _share(value: float, parts: int | None) -> Value:
    return value / parts if parts else None


def _scaled(value: Value, factor: float) -> Value:
    return None if value is None else value * factor
