"""Whether there is room for another session: load in, Admitted or Rejected out.

``service.session.registry`` asks before it opens a session and gives the place back when the
session has ended. A place is reserved in the same call that decides, with nothing awaited between
the two, so that a burst of requests cannot all be told yes. Not for use from several threads.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MIN_RETRY_S: Final = 5
MAX_RETRY_S: Final = 60
REFUSAL_WINDOW_S: Final = 10.0


class Reason(StrEnum):
    """Why a session was refused: the value is a metric label and stands in the HTTP answer."""

    DRAINING = "draining"
    SESSION_CAP = "session_cap"
    CPU_BUDGET = "cpu_budget"


@dataclass(frozen=True, slots=True)
class Admitted:
    """A place is reserved: whoever asked must release it."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """No place; nothing is reserved."""

    reason: Reason
    retry_after_s: int


class Admission:
    """Counts reserved places against the CPU budget and the configured cap."""

    def __init__(
        self, *, quota_cores: float, session_cost_cores: float, max_sessions: int = 0
    ) -> None:
        """``session_cost_cores``: what one session is expected to use; ``max_sessions``: 0 is
        no cap beside the CPU budget."""
        if not quota_cores > 0 or not session_cost_cores > 0 or max_sessions < 0:
            raise ValueError("quota and cost must be positive, and the cap not negative")
        # One session always fits: a quota below the cost of one would else serve nobody, ever.
        # The margin keeps 0.9 cores / 0.3 cores at 3 in floating point.
        self._cpu_places = max(1, math.floor(quota_cores / session_cost_cores + 1e-9))
        self._max_sessions = max_sessions
        self._reserved = 0
        self._draining = False
        # Times of the newest refusals: as many as can still lengthen the wait.
        self._refusals: deque[float] = deque(maxlen=MAX_RETRY_S - MIN_RETRY_S)

    @property
    def reserved(self) -> int:
        """Places in use."""
        return self._reserved

    @property
    def places(self) -> int:
        """How many sessions may be open at once."""
        return min(self._cpu_places, self._max_sessions or self._cpu_places)

    @property
    def capacity_ratio(self) -> float:
        """Places in use over places there are, 0 to 1; 1 while draining."""
        return 1.0 if self._draining else self._reserved / self.places

    def reserve(self, now: float) -> Admitted | Rejected:
        """Takes a place if there is one. ``now`` is in seconds of any steady clock."""
        if self._draining:
            return Rejected(Reason.DRAINING, MIN_RETRY_S)
        if self._reserved < self.places:
            self._reserved += 1
            return Admitted()
        capped = self._max_sessions and self._max_sessions <= self._cpu_places
        return Rejected(
            Reason.SESSION_CAP if capped else Reason.CPU_BUDGET, self._retry_after_s(now)
        )

    def release(self) -> None:
        """Gives one place back."""
        if self._reserved == 0:
            raise ValueError("no place is reserved")
        self._reserved -= 1

    def drain(self) -> None:
        """From now on every session is refused."""
        self._draining = True

    def _retry_after_s(self, now: float) -> int:
        """One second more for each recent refusal: a refused crowd comes back spread out."""
        while self._refusals and now - self._refusals[0] > REFUSAL_WINDOW_S:
            self._refusals.popleft()
        wait_s = MIN_RETRY_S + len(self._refusals)
        self._refusals.append(now)
        return wait_s
