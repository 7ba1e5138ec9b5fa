"""What one track has done lately, as the session's JSON tells it. Pure; track.py feeds it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from service.policy.strain import Work

if TYPE_CHECKING:
    from collections.abc import Mapping

RATE_WINDOW_S = 2.0
MAX_EVENTS = 256
LATENCIES_KEPT = 300
"""The last ten seconds at 30 fps."""
SMOOTHING = 0.9
STAGES = ("decode", "faces", "person", "matte", "composite", "encode")
EVENTS = ("received", "processed", "dropped", "sent", "raw")


class Rate:
    """Events a second over the last RATE_WINDOW_S."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque(maxlen=MAX_EVENTS)

    def mark(self, now_s: float) -> None:
        self._times_s.append(now_s)

    def per_second(self, now_s: float) -> float:
        recent = [t for t in self._times_s if now_s - t <= RATE_WINDOW_S]
        if len(recent) < 2:
            return 0.0
        # The gap to now belongs to the window: a stream that has stopped falls to zero.
        return (len(recent) - 1) / max(now_s - recent[0], 1e-3)


class TrackFigures:
    """Counts, rates, latencies and stage times of one video track."""

    def __init__(self) -> None:
        self.width = 0
        self.height = 0
        self.cpu_seconds = 0.0
        self.frames = dict.fromkeys(EVENTS, 0)
        self.work = Work()
        """Sums since the beginning, from which the quality levels are judged."""
        self._rate_in = Rate()
        self._rate_out = Rate()
        self._latencies_s: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._stage_ms: dict[str, float] = {}

    def received(self, now_s: float) -> None:
        self.frames["received"] += 1
        self.work.received += 1
        self._rate_in.mark(now_s)

    def dropped(self, count: int) -> None:
        self.frames["dropped"] += count

    def processed(self, wall_s: Mapping[str, float], cpu_s: float) -> None:
        """One picture went through the stages (seconds of wall time by stage name)."""
        self.frames["processed"] += 1
        self.cpu_seconds += cpu_s
        # A stage that a picture did without counts as zero: the times are per picture, and add up.
        for stage in self._stage_ms.keys() | wall_s.keys():
            now_ms = wall_s.get(stage, 0.0) * 1e3
            before_ms = self._stage_ms.get(stage, now_ms)
            self._stage_ms[stage] = SMOOTHING * before_ms + (1 - SMOOTHING) * now_ms

    def worked(
        self,
        *,
        taken: int,
        merged: int,
        composed: int,
        cpu_s: float,
        decode_cpu_s: float,
        waited_s: float,
        wall_s: float,
    ) -> None:
        """One job is done, with the fields of Work that it adds to."""
        work = self.work
        work.taken += taken
        work.merged += merged
        work.composed += composed
        work.cpu_s += cpu_s
        work.decode_cpu_s += decode_cpu_s
        work.waited_s += waited_s
        work.wall_s += wall_s

    def sent(self, now_s: float, *, width: int, height: int, latency_s: float) -> None:
        self.frames["sent"] += 1
        self.width, self.height = width, height
        self._rate_out.mark(now_s)
        self._latencies_s.append(latency_s)

    def fps_in(self, now_s: float) -> float:
        """Frames a second that have arrived lately."""
        return self._rate_in.per_second(now_s)

    def describe(self, now_s: float) -> dict[str, object]:
        """JSON of one track as docs/api.md lists it; milliseconds, pixels, frames a second."""
        ordered = sorted(self._latencies_s)
        return {
            "width": self.width,
            "height": self.height,
            "fps_in": round(self._rate_in.per_second(now_s), 1),
            "fps_out": round(self._rate_out.per_second(now_s), 1),
            "latency_ms": {
                "p50": _percentile_ms(ordered, 0.50),
                "p95": _percentile_ms(ordered, 0.95),
            },
            "stage_ms": {s: round(self._stage_ms[s], 2) for s in STAGES if s in self._stage_ms},
            "cpu_seconds": round(self.cpu_seconds, 3),
            "frames": dict(self.frames),
        }


def _percentile_ms(ordered_s: list[float], share: float) -> float | None:
    if not ordered_s:
        return None
    return round(ordered_s[min(len(ordered_s) - 1, int(share * len(ordered_s)))] * 1e3, 1)
