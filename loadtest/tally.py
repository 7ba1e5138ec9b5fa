"""What one session is worth, frame by frame, in bounded memory however long it lasts.

The client tells of each frame sent and each frame back. What counts is the measured span: it begins
with the first frame that comes back after the warm-up, when the frames' pairing is settled, and
ends when the client decides to leave. `Bin` takes what belongs to the current second of the run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loadtest.figures import LONGEST_MS, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.clients import Pairs

FREEZE_FRAMES = 3
FREEZE_S = 0.150
"""A freeze is a gap between two frames back that is longer than three frame intervals and than this
(after the definition of freezeCount in WebRTC's statistics, with the nominal interval)."""


@dataclass(slots=True)
class Bin:
    """One second of all sessions."""

    sent: int = 0
    back: int = 0
    freezes: int = 0
    latencies_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Bins:
    """Where tallies find the current one."""

    now: Bin = field(default_factory=Bin)


class Tally:
    """Times are those of the monotonic clock, in seconds."""

    def __init__(
        self,
        pairing: Callable[[], Pairs],
        fps: int,
        bins: Bins,
        *,
        warm_up_s: float,
        measure_from_s: float,
    ) -> None:
        """`measure_from_s`: the span begins not before then, nor before `warm_up_s` seconds after
        the first frame back."""
        self.first_back_s: float | None = None
        self.last_back_s: float | None = None
        self.began_s: float | None = None
        "Of the measured span."
        self.measured_s = 0.0
        self.sent_frames = 0
        self.back_frames = 0
        self.lost = 0
        self.freezes = 0
        self.longest_gap_s: float | None = None
        self.latencies = Histogram()
        self.on_begin: Callable[[], None] = lambda: None
        self._pairing = pairing
        self._bins = bins
        self._warm_up_s = warm_up_s
        self._measure_from_s = measure_from_s
        self._freeze_s = max(FREEZE_FRAMES / fps, FREEZE_S)
        self._over = False
        self._this_second = 0
        self._last_number = 0
        # A frame that is not back after this long will not be told from a later one.
        self._sent_at: list[tuple[int, float]] = [(-1, 0.0)] * round(LONGEST_MS / 1e3 * fps)

    @property
    def measuring(self) -> bool:
        return self.began_s is not None and not self._over

    def measured_since(self, at_s: float) -> bool:
        """Whether the span began before that time and goes on."""
        return self.measuring and self.began_s is not None and self.began_s <= at_s

    def sent(self, number: int, at_s: float) -> None:
        """A frame's last packet was handed to the transport."""
        self._sent_at[number % len(self._sent_at)] = (number, at_s)
        self._bins.now.sent += 1
        self.sent_frames += self.measuring

    def back(self, number: int, at_s: float) -> None:
        """A frame's last packet came in; `number` is as in client.Returned."""
        self._bins.now.back += 1
        self._this_second += 1
        if self.first_back_s is None:
            self.first_back_s = at_s
        if self.measuring:
            self._measure(number, at_s)
        elif not self._over and self._is_warm(at_s):
            self.began_s = at_s
            self.on_begin()
        self.last_back_s = at_s
        self._last_number = number

    def end(self, at_s: float) -> None:
        """The client leaves, or was left; frames do not count any more."""
        if self.measuring and self.began_s is not None and self.last_back_s is not None:
            self.measured_s = at_s - self.began_s
            self._gap(at_s - self.last_back_s)
        self._over = True

    def take_second(self) -> int:
        """Frames back since this was asked the last time."""
        count, self._this_second = self._this_second, 0
        return count

    def _is_warm(self, at_s: float) -> bool:
        assert self.first_back_s is not None, "a frame is back"
        return (
            at_s >= max(self.first_back_s + self._warm_up_s, self._measure_from_s)
            and self._pairing().over
        )

    def _measure(self, number: int, at_s: float) -> None:
        assert self.last_back_s is not None, "it began with a frame back"
        self.back_frames += 1
        self.lost += max(0, number - self._last_number - 1)
        self._gap(at_s - self.last_back_s)
        sent = number + self._pairing().shift
        found, sent_s = self._sent_at[sent % len(self._sent_at)]
        late_s = at_s - sent_s if found == sent else LONGEST_MS / 1e3
        self.latencies.add(late_s)
        self._bins.now.latencies_s.append(late_s)

    def _gap(self, gap_s: float) -> None:
        self.longest_gap_s = max(gap_s, self.longest_gap_s or 0.0)
        if gap_s > self._freeze_s:
            self.freezes += 1
            self._bins.now.freezes += 1
