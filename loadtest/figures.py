"""What a run gave, as values, as text and as JSON."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HISTOGRAM_STEP_MS = 0.1
LONGEST_MS = 60_000.0
"""What took longer, or is not back yet, counts as this."""
COARSE_FROM_MS = 1000.0
COARSE_STEPS = 100
"""From there on a bucket is that many steps wide: a bound on their number, not on any figure that
matters."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of a list of times, in milliseconds."""

    p50: float
    p95: float
    p99: float
    largest: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Percentiles | None:
        """None when there is nothing to rank."""
        if not seconds:
            return None
        ordered = sorted(seconds)
        return cls(
            *(
                # The smallest value that at least that share do not exceed.
                round(1e3 * ordered[-(-len(ordered) * share // 100) - 1], 3)
                for share in (50, 95, 99, 100)
            )
        )


class Histogram:
    """Latencies of a session or of a run of hours in bounded memory: percentiles to 0.1 ms below a
    second, and to 10 ms above."""

    __slots__ = ("_counts",)

    def __init__(self, seconds: Iterable[float] = ()) -> None:
        self._counts: Counter[int] = Counter()
        for one in seconds:
            self.add(one)

    def __len__(self) -> int:
        return self._counts.total()

    def add(self, seconds: float) -> None:
        """Negative ones count as 0."""
        ms = min(max(0.0, 1e3 * seconds), LONGEST_MS)
        step = round(ms / HISTOGRAM_STEP_MS)
        if ms >= COARSE_FROM_MS:
            step = step // COARSE_STEPS * COARSE_STEPS
        self._counts[step] += 1

    def merge(self, other: Histogram) -> None:
        self._counts.update(other._counts)

    def bins(self) -> tuple[tuple[float, int], ...]:
        """Lower edge in milliseconds and count of each millisecond that has any, rising."""
        found: Counter[int] = Counter()
        for step, count in self._counts.items():
            found[int(step * HISTOGRAM_STEP_MS)] += count
        return tuple((float(edge), found[edge]) for edge in sorted(found))

    def percentiles(self) -> Percentiles | None:
        """None when there is nothing to rank."""
        total = self._counts.total()
        if not total:
            return None
        ranks = [-(-total * share // 100) for share in (50, 95, 99, 100)]
        found: list[float] = []
        passed = 0
        for step in sorted(self._counts):
            passed += self._counts[step]
            while len(found) < len(ranks) and passed >= ranks[len(found)]:
                found.append(round(step * HISTOGRAM_STEP_MS, 1))
        return Percentiles(*found)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run against one server."""

    target: str
    codec: str
    width: int
    height: int
    fps: int
    sessions: int
    seconds: float
    "Length of the measured window; the warm-up is not in it."
    returned_frames: int
    returned_fps: tuple[float, ...]
    "One figure per session."
    latency_ms: Percentiles | None
    pairing: str
    "`picture`: frames were matched by a number read from them; `assumed`: first to first."
    verified: int
    "Sessions in which numbers read again at the end said the same."
    server_cpu_seconds: float | None
    "None when the server's process is not known."
    client_cpu_seconds: float
    sent_kbps: float
    returned_kbps: float
    "Per session, RTP payload."

    @property
    def cpu_ms_per_frame(self) -> float | None:
        if self.server_cpu_seconds is None or not self.returned_frames:
            return None
        return 1e3 * self.server_cpu_seconds / self.returned_frames

    @property
    def cores_per_session(self) -> float | None:
        """Of the server."""
        if self.server_cpu_seconds is None:
            return None
        return self.server_cpu_seconds / self.seconds / self.sessions

    def as_json(self) -> dict[str, object]:
        per_frame = self.cpu_ms_per_frame
        return {
            **asdict(self),
            "cpu_ms_per_frame": None if per_frame is None else round(per_frame, 3),
        }

    def _percent(self, cpu_seconds: float) -> float:
        return 100 * cpu_seconds / self.seconds

    def as_line(self) -> str:
        """One line for a person."""
        per_frame = self.cpu_ms_per_frame
        cpu = (
            "CPU not measured"
            if per_frame is None or self.cores_per_session is None
            else f"{per_frame:.2f} ms CPU/frame "
            f"({100 * self.cores_per_session:.1f} % of a core a session)"
        )
        late = self.latency_ms
        latency = (
            "no frame matched"
            if late is None
            else f"latency p50 {late.p50:.1f} p95 {late.p95:.1f} p99 {late.p99:.1f} ms"
            + ("" if self.pairing == "picture" else " (pairing assumed)")
        )
        return (
            f"{self.target}: {cpu}, {statistics.mean(self.returned_fps):.1f} fps back "
            f"(least {min(self.returned_fps):.1f} of {self.fps}), {latency}, "
            f"{self.returned_kbps:.0f} kbit/s back of {self.sent_kbps:.0f} sent, "
            f"client {self._percent(self.client_cpu_seconds):.0f} % of a core"
        )


@dataclass(frozen=True, slots=True)
class Paired:
    """One figure of two servers, measured pair by pair: B over A, or B minus A."""

    pairs: tuple[float, ...]

    @classmethod
    def of(cls, found: Iterable[float | None]) -> Paired | None:
        """None where no pair has it."""
        pairs = tuple(one for one in found if one is not None)
        return cls(pairs) if pairs else None

    @property
    def median(self) -> float:
        return statistics.median(self.pairs)

    def __str__(self) -> str:
        listed = " ".join(f"{pair:.2f}" for pair in self.pairs)
        return (
            f"{listed}; median {self.median:.2f}, range {min(self.pairs):.2f} to "
            f"{max(self.pairs):.2f}"
        )

    def as_json(self) -> dict[str, object]:
        return {
            "pairs": [round(pair, 3) for pair in self.pairs],
            "median": round(self.median, 3),
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two servers in alternation."""

    pairs: tuple[tuple[Measurement, Measurement], ...]
    "A and B, whichever ran first."

    @property
    def cpu_ratio(self) -> Paired | None:
        """CPU per returned frame, B over A; None where no CPU was measured."""
        return Paired.of(
            b.cpu_ms_per_frame / a.cpu_ms_per_frame
            if a.cpu_ms_per_frame and b.cpu_ms_per_frame is not None
            else None
            for a, b in self.pairs
        )

    @property
    def cpu_points(self) -> Paired | None:
        """Points of a core for each session, B minus A."""
        return Paired.of(
            100 * (b.cores_per_session - a.cores_per_session)
            if a.cores_per_session is not None and b.cores_per_session is not None
            else None
            for a, b in self.pairs
        )

    @property
    def bitrate_ratio(self) -> Paired | None:
        """Returned kbit/s, B over A: who sends less has an easier time."""
        return Paired.of(
            b.returned_kbps / a.returned_kbps if a.returned_kbps else None for a, b in self.pairs
        )

    def as_json(self) -> dict[str, object]:
        figures = {
            "cpu_ratio": self.cpu_ratio,
            "cpu_points": self.cpu_points,
            "bitrate_ratio": self.bitrate_ratio,
        }
        return {
            "pairs": [{"a": a.as_json(), "b": b.as_json()} for a, b in self.pairs],
            **{name: None if one is None else one.as_json() for name, one in figures.items()},
        }

    def as_lines(self) -> list[str]:
        """For a person."""
        if self.cpu_ratio is None or self.cpu_points is None:
            return ["CPU was not measured", f"B/A kbit/s back: {self.bitrate_ratio}"]
        return [
            f"B/A CPU per frame: {self.cpu_ratio}",
            f"B-A points of a core a session: {self.cpu_points}",
            f"B/A kbit/s back: {self.bitrate_ratio}",
        ]
