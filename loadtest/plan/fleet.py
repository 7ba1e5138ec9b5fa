"""SPINE: a fleet of equal pods over a day, step by step: calls end, pods come and go, calls come.

Pods are numbered in the order in which they were started, and the newest is the first to be stopped
(as a ReplicaSet does), so those that are there are always the numbers 0 to n - 1.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loadtest.plan.autoscaler import Autoscaler, Scaling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loadtest.plan.calls import Calls

LEAST_LOADED = 0
"""`tries`: the front knows how full the pods are, and asks the emptiest."""
PASSED_ON = -1
"""`tries`: one pod at random is asked, and one that is full passes the call on, as the service
does: of PASS_SAMPLE others, drawn at random, it tries the PASS_TRIES emptiest."""
PASS_SAMPLE = 16
PASS_TRIES = 2
"""Both as in service/web/overflow.py."""
ASKS = {LEAST_LOADED: "the emptiest", PASSED_ON: "one that passes it on"}
"""In words; other numbers are themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Equal pods, and how calls find them."""

    streams: int
    """That a pod takes; one more is refused."""
    pods: int
    """At the start."""
    tries: int
    """Pods, drawn at random, that are asked before a call is refused; LEAST_LOADED; PASSED_ON."""


@dataclass(frozen=True, slots=True)
class Minute:
    """The state at one time."""

    at_s: float
    sessions: int
    pods: int
    "Those that are starting included."
    ready: int
    refused: int
    "Since the minute before."


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the calls, from `counted_from_s` on."""

    offered: int
    refused: int
    moved: int
    """Sessions that a stopping pod sent elsewhere."""
    cut: int
    """Of these, those that found no room."""
    ended: int
    there: int
    """At the end."""
    there_before: int
    """At `counted_from_s`."""
    most_sessions: int
    most_pods: int
    pod_hours: float
    session_hours: float
    minutes: tuple[Minute, ...]
    """Of the whole run."""

    @property
    def lost_share(self) -> float:
        """Refused or cut, of those offered."""
        return (self.refused + self.cut) / self.offered if self.offered else 0.0


def simulate(
    calls: Calls,
    fleet: Fleet,
    scaling: Scaling | None,
    *,
    counted_from_s: float = 0.0,
    seed: int = 1,
) -> Outcome:
    """`scaling`: None keeps the pods as they are."""
    run = _Run(calls, fleet, scaling, seed)
    counted_from = int(counted_from_s / calls.step_s)
    for step in range(calls.steps):
        if step == counted_from:
            run.count_from_here()
        run.end(step)
        if scaling is not None:
            run.scale(step, scaling)
        run.begin(step)
        run.note(step)
    return run.outcome()


class _Run:
    def __init__(self, calls: Calls, fleet: Fleet, scaling: Scaling | None, seed: int) -> None:
        self._calls, self._fleet = calls, fleet
        self._chance = np.random.default_rng(seed)
        self._autoscaler = None if scaling is None else Autoscaler(scaling)
        self._where = np.full(calls.start.size, -1, dtype=np.int32)
        "Call -> its pod; -1: not there."
        self._by_end = np.argsort(calls.end, kind="stable")
        edges = np.arange(calls.steps + 1)
        self._end_at = np.searchsorted(calls.end[self._by_end], edges)
        self._start_at = np.searchsorted(calls.start, edges)
        self._taken = np.zeros(fleet.pods, dtype=np.int64)
        "Streams of each pod."
        self._ready_at_s = np.zeros(fleet.pods)
        self._ready = fleet.pods
        self._told: deque[tuple[float, int, float]] = deque()
        "When, how many pods were ready, and the sum of their capacity ratios."
        self._minutes: list[Minute] = []
        self._refused_in_minute = 0
        self._sessions = 0
        self.count_from_here()

    def count_from_here(self) -> None:
        self._offered = self._refused = self._moved = self._cut = self._ended = 0
        self._there_before = self._sessions
        self._most_sessions, self._most_pods = self._sessions, self._taken.size
        self._pod_steps = self._session_steps = 0

    def end(self, step: int) -> None:
        """Those who leave, of those who are there."""
        leaving = self._by_end[self._end_at[step] : self._end_at[step + 1]]
        pods = self._where[leaving]
        pods = pods[pods >= 0]
        self._where[leaving] = -1
        self._taken -= np.bincount(pods, minlength=self._taken.size)
        self._sessions -= pods.size
        self._ended += pods.size

    def scale(self, step: int, scaling: Scaling) -> None:
        """What the autoscaler decides on the figures of some time ago."""
        now_s = step * self._calls.step_s
        self._ready = int(np.searchsorted(self._ready_at_s, now_s, side="right"))
        ratios = self._taken[: self._ready].sum() / self._fleet.streams
        self._told.append((now_s, self._ready, float(ratios)))
        while len(self._told) > 1 and self._told[1][0] <= now_s - scaling.metric_lag_s:
            self._told.popleft()
        if now_s % scaling.sync_s >= self._calls.step_s or self._autoscaler is None:
            return
        pods = self._taken.size
        _, seen, ratio_sum = self._told[0]
        wanted = self._autoscaler.pods(now_s, pods=pods, seen=min(seen, pods), ratio_sum=ratio_sum)
        if wanted > pods:
            self._taken = np.append(self._taken, np.zeros(wanted - pods, dtype=np.int64))
            ready_at_s = np.full(wanted - pods, now_s + scaling.pod_start_s)
            self._ready_at_s = np.append(self._ready_at_s, ready_at_s)
        elif wanted < pods:
            self._stop(wanted)

    def _stop(self, wanted: int) -> None:
        moved = np.flatnonzero(self._where >= wanted)
        self._where[moved] = -1
        self._taken, self._ready_at_s = self._taken[:wanted], self._ready_at_s[:wanted]
        self._ready = min(self._ready, wanted)
        self._sessions -= moved.size
        self._moved += moved.size
        self._cut += self._place(moved)

    def begin(self, step: int) -> None:
        """Those who come."""
        coming = np.arange(self._start_at[step], self._start_at[step + 1])
        refused = self._place(coming)
        self._offered += coming.size
        self._refused += refused
        self._refused_in_minute += refused

    def _place(self, waiting: NDArray[np.intp]) -> int:
        """Finds them pods; how many found none."""
        tries = self._fleet.tries
        if tries == PASSED_ON:
            return self._pass_on(waiting)
        rounds = self._fleet.streams * self._ready if tries == LEAST_LOADED else tries
        for _ in range(rounds):
            if not waiting.size or not self._ready:
                break
            if tries == LEAST_LOADED:
                emptiest = np.argsort(self._taken[: self._ready], kind="stable")
                asked = np.resize(emptiest[: waiting.size], min(waiting.size, self._ready))
                if self._taken[asked[0]] >= self._fleet.streams:
                    break
                now, later = waiting[: asked.size], waiting[asked.size :]
            else:
                asked = self._chance.integers(self._ready, size=waiting.size)
                now, later = waiting, waiting[:0]
            waiting = np.concatenate([self._ask(now, asked), later])
        return int(waiting.size)

    def _pass_on(self, waiting: NDArray[np.intp]) -> int:
        """A pod is told how full the others are once in a while: those that come in one step are
        passed on by what was so at its beginning."""
        if not waiting.size or not self._ready:
            return int(waiting.size)
        told = self._taken.copy()
        waiting = self._ask(waiting, self._chance.integers(self._ready, size=waiting.size))
        passed_on = np.sort(waiting)
        drawn = self._chance.integers(self._ready, size=(passed_on.size, PASS_SAMPLE))
        emptiest_first = np.take_along_axis(drawn, np.argsort(told[drawn], axis=1), axis=1)
        for choice in range(PASS_TRIES):
            asked = emptiest_first[np.searchsorted(passed_on, waiting), choice]
            waiting = self._ask(waiting, asked)
        return int(waiting.size)

    def _ask(self, calls: NDArray[np.intp], asked: NDArray[np.intp]) -> NDArray[np.intp]:
        """One pod each; those that it has no room for."""
        order = np.argsort(asked, kind="stable")
        calls, asked = calls[order], asked[order]
        place = np.arange(asked.size) - np.searchsorted(asked, asked)
        fits = place < self._fleet.streams - self._taken[asked]
        self._where[calls[fits]] = asked[fits]
        self._taken += np.bincount(asked[fits], minlength=self._taken.size)
        self._sessions += int(np.count_nonzero(fits))
        return calls[~fits]

    def note(self, step: int) -> None:
        pods = self._taken.size
        self._most_sessions = max(self._most_sessions, self._sessions)
        self._most_pods = max(self._most_pods, pods)
        self._pod_steps += pods
        self._session_steps += self._sessions
        now_s = step * self._calls.step_s
        if now_s % 60 < self._calls.step_s:
            minute = Minute(now_s, self._sessions, pods, self._ready, self._refused_in_minute)
            self._minutes.append(minute)
            self._refused_in_minute = 0

    def outcome(self) -> Outcome:
        hours = self._calls.step_s / 3600
        return Outcome(
            offered=self._offered,
            refused=self._refused,
            moved=self._moved,
            cut=self._cut,
            ended=self._ended,
            there=self._sessions,
            there_before=self._there_before,
            most_sessions=self._most_sessions,
            most_pods=self._most_pods,
            pod_hours=self._pod_steps * hours,
            session_hours=self._session_steps * hours,
            minutes=tuple(self._minutes),
        )
