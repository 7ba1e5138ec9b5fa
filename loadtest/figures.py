"""What a run gave, as values, as text and as JSON."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


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
            if per_frame is None or self.server_cpu_seconds is None
            else f"{per_frame:.2f} ms CPU/frame "
            f"({self._percent(self.server_cpu_seconds / self.sessions):.1f} % of a core a session)"
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
            f"client {self._percent(self.client_cpu_seconds):.0f} % of a core"
        )


@dataclass(frozen=True, slots=True)
class Ratios:
    """B over A, pair by pair."""

    pairs: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.pairs)

    def __str__(self) -> str:
        listed = " ".join(f"{pair:.2f}" for pair in self.pairs)
        return (
            f"{listed}; median {self.median:.2f}, range {min(self.pairs):.2f} to "
            f"{max(self.pairs):.2f}"
        )
