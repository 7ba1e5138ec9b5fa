"""RTP timestamps of one incoming video stream as presentation times. Pure; track.py feeds it."""

from __future__ import annotations

from service.rtc.codecs import VIDEO_CLOCK_HZ

TIMESTAMP_MODULUS = 1 << 32
LONGEST_STEP_TICKS = 10 * VIDEO_CLOCK_HZ
NOMINAL_STEP_TICKS = VIDEO_CLOCK_HZ // 30


class TimestampMapper:
    """32-bit RTP timestamps -> ever-growing pts that starts at zero (RFC 3550 5.1)."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._pts = 0

    def map(self, timestamp: int) -> int:
        if self._last is not None:
            passed = (timestamp - self._last) % TIMESTAMP_MODULUS
            if passed >= TIMESTAMP_MODULUS // 2:
                passed = 0
            # A longer step is a sender that started anew, with another origin.
            self._pts += passed if passed <= LONGEST_STEP_TICKS else NOMINAL_STEP_TICKS
        self._last = timestamp
        return self._pts
