"""What one run of one session gave, as a value, as JSON and as a line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from loadtest.figures import Percentiles

if TYPE_CHECKING:
    from collections.abc import Mapping

NOISY_PERCENT = 15.0
"""Of one core, by others: what a run gives with more of it beside is not judged."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run gave; JSON takes it as it is."""

    seconds: float
    sent: int
    returned: int
    "Of the frames sent in the measured span: those that came back, up to a second later."
    cpu_ms_per_frame: float
    "CPU of the server's process tree in the span, over the frames that came back in it."
    core_percent: float
    latency_ms: Percentiles | None
    "None: no frame could be matched."
    pairing: str
    "`picture`: matched by numbers read from the pictures; `assumed`: first to first."
    returned_kbps: float
    "RTP payload."
    kbit_per_frame: float
    "The same by returned frame: what a server that cannot keep up is compared by."
    estimate_kbps: float
    "That the receiver told (REMB)."
    levels: tuple[str, ...]
    "Quality levels that the session's JSON gave in the span; empty where there is no such thing."
    others_percent: float
    "Of one core: what the machine did beside server and client. Figures of a busy one are noise."

    @property
    def lost(self) -> int:
        return self.sent - self.returned

    @property
    def noisy(self) -> bool:
        """Whether other processes took so much of the machine that the figures are theirs, too."""
        return self.others_percent > NOISY_PERCENT

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> Figures:
        late = value["latency_ms"]
        return cls(
            **{
                **value,
                "levels": tuple(value["levels"]),
                "latency_ms": None if late is None else Percentiles(**late),
            }
        )

    def as_line(self) -> str:
        """One line for a person."""
        late = self.latency_ms
        latency = "no latency" if late is None else f"p50 {late.p50:.1f} p99 {late.p99:.1f} ms"
        assumed = "" if self.pairing == "picture" else " (pairing assumed)"
        levels = f", {'/'.join(self.levels)}" if self.levels else ""
        others = f" (noisy: others use {self.others_percent:.0f} %)" if self.noisy else ""
        return (
            f"{self.cpu_ms_per_frame:6.2f} ms CPU/frame, {self.core_percent:5.1f} % of a core, "
            f"{self.returned} of {self.sent} back, {latency}{assumed}, "
            f"{self.returned_kbps:.0f} kbit/s{levels}{others}"
        )
