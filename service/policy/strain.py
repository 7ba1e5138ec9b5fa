"""Whether there is too little CPU, from what can be measured of it.

No sign is enough by itself. CPU use close to the budget may be a full machine that still keeps up;
throttling comes with bursts; waiting comes with one slow moment. And under load each figure hides
what is missing: use stops at the budget, frames that were passed over cost nothing. So the need
is worked out from the CPU that the frames take (which waiting does not change) and the frames that
arrive, and it counts when a sign that cannot be argued with stands beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

SMOOTHING_S: Final = 0.4
"""Time constant: a moment of 0.25 s counts for less than half."""
HIGH: Final = 0.97
"""Need over the budget at which there is no room for chance any more."""
SATURATED_LOAD: Final = 0.95
SATURATED_THROTTLED: Final = 0.15
"""Share of the time for which the cgroup was held back."""
HELD_UP: Final = 0.85
"""Of the time that a session's own work leaves free, the share in which a frame of it waits for the
workers or for its thread to be given CPU, in the mean: at 1 it is always behind. Frames of 5 ms
on one thread get there at 90 % load."""
LEAST_FREE: Final = 0.05
"""Share of the time that counts as free at least: one thread cannot be busier than that."""
LATE_LOOP_S: Final = 0.1
LOSING: Final = 0.1
"""Share of the frames that are passed over or dropped for want of CPU."""
LOSING_SMOOTHING_S: Final = 1.0
LOSING_LONG_S: Final = 3.0
"""The same where the figures do not say why: a moment's peak is over before."""
LACKING: Final = 1.1
"""Need over the budget at which about a tenth of the frames must be lost."""
LATE_S: Final = 1.0
"""Lateness alone, with CPU to spare by every other sign, counts when it lasts: another process."""


@dataclass(slots=True)
class Work:
    """What the video tracks of a session did, summed up since some moment."""

    received: int = 0
    """Complete frames that arrived."""
    taken: int = 0
    """Frames that jobs took, to decode them at least."""
    merged: int = 0
    """Frames that were passed over because a newer one had come."""
    composed: int = 0
    """Frames that went all the way through the encoder."""
    overloaded: int = 0
    """Frames that a full mailbox dropped."""
    cpu_s: float = 0.0
    """CPU time of the jobs."""
    decode_cpu_s: float = 0.0
    """The part of it that frames cost which are passed over."""
    waited_s: float = 0.0
    """From posting a job until it began."""
    wall_s: float = 0.0
    """From there until it was done."""
    effect: bool = True
    """False where every track shows the camera as it is."""

    def since(self, before: Work) -> Work:
        """What was done since those sums were taken."""
        return Work(
            received=self.received - before.received,
            taken=self.taken - before.taken,
            merged=self.merged - before.merged,
            composed=self.composed - before.composed,
            overloaded=self.overloaded - before.overloaded,
            cpu_s=self.cpu_s - before.cpu_s,
            decode_cpu_s=self.decode_cpu_s - before.decode_cpu_s,
            waited_s=self.waited_s - before.waited_s,
            wall_s=self.wall_s - before.wall_s,
            effect=self.effect,
        )

    def and_also(self, other: Work) -> Work:
        """Of two tracks of one session."""
        return Work(
            received=self.received + other.received,
            taken=self.taken + other.taken,
            merged=self.merged + other.merged,
            composed=self.composed + other.composed,
            overloaded=self.overloaded + other.overloaded,
            cpu_s=self.cpu_s + other.cpu_s,
            decode_cpu_s=self.decode_cpu_s + other.decode_cpu_s,
            waited_s=self.waited_s + other.waited_s,
            wall_s=self.wall_s + other.wall_s,
            effect=self.effect or other.effect,
        )

    @property
    def frame_cpu_s(self) -> float | None:
        """CPU seconds for each frame that arrives, if none of them had to be passed over. None
        where nothing was done."""
        if self.taken <= 0:
            return None
        passed_over_s = 0.0
        if self.merged and self.composed:
            compose_s = max(0.0, self.cpu_s - self.decode_cpu_s) / self.composed
            # At half the frame rate only half of them would have been composed.
            chosen = min(1.0, self.composed / max(1, self.taken - self.merged))
            passed_over_s = self.merged * chosen * compose_s
        return (self.cpu_s + passed_over_s) / self.taken


@dataclass(frozen=True, slots=True)
class Readings:
    """What was measured since the last readings, `span_s` ago."""

    now_s: float
    "Of any steady clock."
    span_s: float
    quota_cores: float
    "The CPU budget, as it is now."
    used_s: float
    "CPU time of all that the budget is for."
    throttled_s: float
    "Time for which the cgroup was held back, of all CPUs together."
    lag_s: float
    "How late the event loop ran a timer."
    sessions: Mapping[str, Work]


class Smoothed:
    """A mean in which the past fades, whatever the distances of the readings are."""

    def __init__(self, constant_s: float = SMOOTHING_S, value: float | None = None) -> None:
        """Without a value it begins at the first reading."""
        self._constant_s = constant_s
        self._value = value

    @property
    def value(self) -> float:
        return self._value or 0.0

    def see(self, reading: float, span_s: float) -> None:
        if self._value is None:
            self._value = reading
        else:
            self._value += (1 - math.exp(-span_s / self._constant_s)) * (reading - self._value)

    def scale(self, factor: float) -> None:
        """Something was changed that is known to change it."""
        if self._value is not None:
            self._value *= factor


class Strain:
    """The signs of too little CPU."""

    def __init__(self) -> None:
        self._load = Smoothed()
        self._throttled = Smoothed()
        self._held_up = Smoothed()
        self._lag = Smoothed()
        self._lost = Smoothed(LOSING_SMOOTHING_S, 0.0)
        self._lost_long = Smoothed(LOSING_LONG_S, 0.0)
        self._late_since_s: float | None = None
        self._dropped = False

    def see(self, readings: Readings) -> None:
        span_s = readings.span_s
        self._load.see(readings.used_s / span_s / readings.quota_cores, span_s)
        self._throttled.see(readings.throttled_s / span_s, span_s)
        self._lag.see(readings.lag_s, span_s)
        busy = [work for work in readings.sessions.values() if work.received or work.taken]
        shares = [_held_up(work, span_s) for work in busy]
        self._held_up.see(sum(shares) / len(shares) if shares else 0.0, span_s)
        self._dropped = any(work.overloaded for work in busy)
        received = sum(work.received for work in busy)
        lost = sum(work.merged + work.overloaded for work in busy)
        for smoothed in (self._lost, self._lost_long):
            smoothed.see(lost / received if received else 0.0, span_s)
        if not self.late:
            self._late_since_s = None
        elif self._late_since_s is None:
            self._late_since_s = readings.now_s

    @property
    def saturated(self) -> bool:
        """The budget is used up."""
        used_up = self._load.value >= SATURATED_LOAD
        return used_up or self._throttled.value >= SATURATED_THROTTLED

    @property
    def late(self) -> bool:
        """Frames are hardly done when the next ones are there."""
        behind = self._held_up.value >= HELD_UP or self._lag.value >= LATE_LOOP_S
        return behind or self._dropped

    def losing(self, need: float) -> bool:
        """Frames are lost as it is, or all late: giving some up makes that no worse."""
        if self._lag.value >= LATE_LOOP_S or self._lost_long.value >= LOSING:
            return True
        return self._lost.value >= LOSING and need >= LACKING

    def lowered(self) -> None:
        """Steps went down: what was lost before says nothing of what will be lost now."""
        self._lost.scale(0.0)
        self._lost_long.scale(0.0)

    def overloaded(self, need: float, now_s: float) -> bool:
        """Whether there is too little CPU for what is needed (over the budget)."""
        if self.late and (self.saturated or self._late_for(now_s) >= LATE_S):
            return True
        return need >= HIGH and (self.saturated or self.late)

    def _late_for(self, now_s: float) -> float:
        return 0.0 if self._late_since_s is None else now_s - self._late_since_s


def _held_up(work: Work, span_s: float) -> float:
    held_s = work.waited_s + max(0.0, work.wall_s - work.cpu_s)
    return held_s / max(LEAST_FREE * span_s, span_s - work.cpu_s)
