"""Who calls, and how long they stay: every call of a run, known beforehand, and the same for the
same seed. Two kinds: those that come at any time (a Poisson process that follows the hour of the
day, with exponential stays), and meetings, which begin and end around the hour and the half hour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WORKING_DAY: Final = (
    (0.0, 0.03), (5.0, 0.03), (7.0, 0.25), (8.0, 0.6), (9.0, 1.0), (11.5, 1.0), (12.5, 0.6),
    (13.5, 0.9), (15.5, 1.0), (17.0, 0.7), (19.0, 0.2), (22.0, 0.05), (24.0, 0.03),
)  # fmt: skip
"""Hour -> share of the busiest hour's calls, straight in between; the working day of one region,
estimated. Seven to nine is the steepest."""
HOUR_S: Final = 3600.0
LEAST_STAY_S: Final = 60.0
END_BEFORE_S: Final = 60.0
"""Meetings end a minute early in the mean: people have the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What is offered. Sessions that are refused do not come again (lost calls cleared)."""

    sessions: float
    """At once, in the mean of the busiest hour (offered load, in erlangs)."""
    mean_stay_s: float = 2700.0
    meeting_share: float = 0.5
    """Of the calls, 0 to 1: those that begin at a meeting's start."""
    meeting_every_s: float = 1800.0
    meeting_spread_s: float = 90.0
    """Standard deviation around a meeting's start and end."""
    day: Sequence[tuple[float, float]] = WORKING_DAY
    """Hour -> share of the busiest hour's calls. ((0, 1),) is a steady load."""
    from_hour: float = 5.0
    hours: float = 7.0
    seed: int = 1


def growth(seconds: float, start: float = 0.1) -> tuple[tuple[float, float], ...]:
    """A day that grows from `start` to the peak within so many seconds, from its second hour on."""
    return ((0.0, start), (1.0, start), (1.0 + seconds / HOUR_S, 1.0))


@dataclass(frozen=True, slots=True)
class Calls:
    """All calls of a run, in the order in which they come."""

    step_s: float
    steps: int
    start: NDArray[np.int32]
    """N, rising: the step in which each comes."""
    end: NDArray[np.int32]
    """N: the step in which each leaves, later than `start`; may be past the run's end."""


def calls(traffic: Traffic, step_s: float = 10.0) -> Calls:
    """Raises ValueError where nobody could come."""
    if not (traffic.sessions > 0 and traffic.mean_stay_s > 0 and 0 <= traffic.meeting_share <= 1):
        raise ValueError("sessions and stay must be positive, the share of meetings 0 to 1")
    chance = np.random.default_rng(traffic.seed)
    seconds = traffic.hours * HOUR_S
    steps = math.ceil(seconds / step_s)
    per_s = traffic.sessions / traffic.mean_stay_s  # Little's law
    begun_s, stays_s = zip(
        _any_time(traffic, per_s * (1 - traffic.meeting_share), steps, step_s, chance),
        _meetings(traffic, per_s * traffic.meeting_share, chance),
        strict=True,
    )
    at_s, stay_s = np.concatenate(begun_s), np.concatenate(stays_s)
    order = np.argsort(at_s, kind="stable")
    at_s, stay_s = at_s[order], stay_s[order]
    inside = (at_s >= 0) & (at_s < seconds)
    at_s, stay_s = at_s[inside], stay_s[inside]
    start = (at_s // step_s).astype(np.int32)
    end = np.maximum(start + 1, ((at_s + stay_s) // step_s).astype(np.int32))
    return Calls(step_s, steps, start, end)


def _any_time(
    traffic: Traffic, per_s: float, steps: int, step_s: float, chance: np.random.Generator
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    middles_s = (np.arange(steps) + 0.5) * step_s
    counts = chance.poisson(per_s * step_s * _share(traffic, middles_s))
    at_s = np.repeat(middles_s, counts)
    return at_s, chance.exponential(traffic.mean_stay_s, at_s.size)


def _meetings(
    traffic: Traffic, per_s: float, chance: np.random.Generator
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    every_s = traffic.meeting_every_s
    slots_s = np.arange(0, traffic.hours * HOUR_S, every_s)
    counts = chance.poisson(per_s * every_s * _share(traffic, slots_s))
    slot_s = np.repeat(slots_s, counts)
    at_s = slot_s + chance.normal(0, traffic.meeting_spread_s, slot_s.size)
    # One slot or several, so that the mean is as asked: 45 minutes are one half hour or two.
    least = max(1.0, math.floor(traffic.mean_stay_s / every_s))
    more = max(0.0, traffic.mean_stay_s / every_s - least)
    slots = least + (chance.random(slot_s.size) < more)
    end_s = slot_s + slots * every_s - END_BEFORE_S
    end_s += chance.normal(0, traffic.meeting_spread_s, slot_s.size)
    return at_s, np.maximum(LEAST_STAY_S, end_s - at_s)


def _share(traffic: Traffic, at_s: NDArray[np.floating]) -> NDArray[np.floating]:
    hours, shares = zip(*traffic.day, strict=True)
    share: NDArray[np.floating] = np.interp(traffic.from_hour + at_s / HOUR_S, hours, shares)
    return share
