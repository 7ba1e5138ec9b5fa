"""Which returned frame is which sent frame, where every frame carries its number.

Has what crowd.py and tally.py ask of pairing.Pairing; the shift is always 0, because the numbers
that are told are those of the sent frames.
"""

from __future__ import annotations

from loadtest import stamp

GIVEN_UP_AFTER = 150
"""Frames in which no number was ever read: it is not on the person, or covered."""
LEAST_READ = 0.9
"""Of the frames since the first that was read."""


class Numbers:
    """Numbers of one session. A frame whose own cannot be read is taken for the one after the last:
    it is that one unless something was dropped just there."""

    def __init__(self) -> None:
        self.shift = 0
        self.verified = 0
        "Frames whose number was read."
        self.mispaired = 0
        "Numbers that were read and cannot be: of a frame before the last, or not sent yet."
        self._last = -1
        self._seen = 0
        self._seen_since_first = 0

    @property
    def over(self) -> bool:
        """Whether frames can be told apart, or never will be."""
        return self.verified > 0 or self._seen >= GIVEN_UP_AFTER

    @property
    def known(self) -> bool:
        return 0 < LEAST_READ * self._seen_since_first <= self.verified

    def number(self, read: int | None, newest_sent: int) -> int:
        """The number of a returned frame, of which `read` was read, modulo stamp.NUMBERS."""
        self._seen += 1
        sent = None if read is None else newest_sent - (newest_sent - read) % stamp.NUMBERS
        if sent is not None and self._last < sent:
            self.verified += 1
            self._last = sent
        else:
            self.mispaired += read is not None
            self._last = min(self._last + 1, newest_sent)
        self._seen_since_first += self.verified > 0
        return self._last
