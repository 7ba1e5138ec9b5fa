"""Whether anybody is in view: what the away picture and the events of a session go by.

In media time, so that a stalled stream is nobody's absence. Used by pipeline.py.
"""

from __future__ import annotations

BACK_S = 0.3
"""Somebody must be in view for so long to be back: a false mask of one frame is nobody."""


class Presence:
    """Of one track. Somebody is taken to be there until nobody was for long enough."""

    def __init__(self) -> None:
        self.away = False
        self._since_s: float | None = None

    def see(self, person: bool, now_s: float, after_s: float) -> bool:
        """One frame: whether it showed a person; True while everybody is away."""
        if person is not self.away:
            self._since_s = None  # as it was thought to be
            return self.away
        if self._since_s is None or now_s < self._since_s:
            self._since_s = now_s
        if now_s - self._since_s >= (BACK_S if self.away else after_s):
            self.away = not self.away
            self._since_s = None
        return self.away
