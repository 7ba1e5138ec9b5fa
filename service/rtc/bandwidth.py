"""What may come in over one transport: aiortc's estimator, fed by bursts and not by packets.

The estimator (libwebrtc's of REMB times) compares the distances in which groups of packets were
sent with those in which they came in. It makes the groups itself, of what was sent within 5 ms;
here they are made before it, so that a picture of four packets costs it one step and not four.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from aiortc.rate import (
    MIN_FRAME_PERIOD_HISTORY_LENGTH,
    OveruseEstimator,
    RemoteBitrateEstimator,
)

if TYPE_CHECKING:
    from service.rtc.packet import IncomingPacket

REMB_INTERVAL_MS = 200
"""aiortc's estimator answers nearly every step while it sees overuse."""
GROUP_UNITS = (5 << 18) // 1000
"""5 ms of abs-send-time: what aiortc's estimator takes for one burst."""
ABS_SEND_TIME_MODULUS = 1 << 24
RATE_WINDOW_MS = 1000


class IncomingRate:
    """Bits per second over the last RATE_WINDOW_MS.

    In the place of the estimator's own counter, which walks over every millisecond that passed.
    """

    def __init__(self) -> None:
        self._bursts: deque[tuple[int, int]] = deque()
        "(milliseconds, bytes): one for each millisecond with traffic at most."
        self._bytes = 0
        self._since_ms: int | None = None

    def add(self, value: int, now_ms: int) -> None:
        if self._since_ms is None:
            self._since_ms = now_ms
        if self._bursts and self._bursts[-1][0] == now_ms:
            self._bursts[-1] = (now_ms, self._bursts[-1][1] + value)
        else:
            self._bursts.append((now_ms, value))
        self._bytes += value

    def rate(self, now_ms: int) -> int | None:
        """None while too little has come in to say."""
        if self._since_ms is None:
            return None
        self._since_ms = max(self._since_ms, now_ms - RATE_WINDOW_MS + 1)
        while self._bursts and self._bursts[0][0] < self._since_ms:
            self._bytes -= self._bursts.popleft()[1]
        window_ms = now_ms - self._since_ms + 1
        return round(8000 * self._bytes / window_ms) if self._bursts and window_ms > 1 else None

    def reset(self) -> None:
        self.__init__()  # type: ignore[misc]


class BurstEstimator(OveruseEstimator):
    """aiortc's filter, which looks for the shortest of sixty distances in a Python loop."""

    def update_min_frame_period(self, ts_delta: float) -> float:
        if len(self.ts_delta_hist) >= MIN_FRAME_PERIOD_HISTORY_LENGTH:
            del self.ts_delta_hist[0]
        shortest = min(self.ts_delta_hist, default=ts_delta)
        self.ts_delta_hist.append(ts_delta)
        return min(shortest, ts_delta)


class Bandwidth:
    """The estimate for all video streams of one transport together (REMB).

    A browser takes a REMB for the whole transport: estimates by stream would throttle each other.
    """

    def __init__(self) -> None:
        self._estimator = RemoteBitrateEstimator()
        self._estimator.estimator = BurstEstimator()
        self._estimator.incoming_bitrate = IncomingRate()  # type: ignore[assignment]
        self._told_ms = -REMB_INTERVAL_MS
        # The burst that is coming in.
        self._ssrc: int | None = None
        self._first_sent = 0
        self._last_sent = 0
        self._arrived_ms = 0
        self._bytes = 0

    @property
    def streams(self) -> int:
        """How many streams the estimate is made of."""
        return len(self._estimator.ssrcs)

    def add(self, packet: IncomingPacket, arrived_s: float) -> tuple[int, list[int]] | None:
        """Feed it; bits per second and SSRCs when it is time to tell the sender."""
        sent = packet.extensions.abs_send_time
        if sent is None:
            return None
        told = None
        apart = (sent - self._first_sent) % ABS_SEND_TIME_MODULUS
        if packet.ssrc != self._ssrc or apart > GROUP_UNITS:
            told = self._end_burst()
            self._ssrc, self._first_sent = packet.ssrc, sent
        self._last_sent = sent
        self._arrived_ms = int(arrived_s * 1000)
        self._bytes += len(packet.payload) + packet.padding_bytes
        # The last packet of a picture: what follows is a frame away, so nothing is waited for.
        return (self._end_burst() or told) if packet.marker else told

    def forget(self, ssrc: int) -> None:
        self._estimator.ssrcs.pop(ssrc, None)
        if self._ssrc == ssrc:
            self._ssrc, self._bytes = None, 0

    def _end_burst(self) -> tuple[int, list[int]] | None:
        if self._ssrc is None:
            return None
        estimate = self._estimator.add(
            abs_send_time=self._last_sent,
            arrival_time_ms=self._arrived_ms,
            payload_size=self._bytes,
            ssrc=self._ssrc,
        )
        now_ms, self._ssrc, self._bytes = self._arrived_ms, None, 0
        if estimate is None or now_ms - self._told_ms < REMB_INTERVAL_MS:
            return None
        self._told_ms = now_ms
        return estimate
