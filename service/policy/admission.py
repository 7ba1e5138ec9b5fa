"""Whether there is room for another session: what it may ask for in, Admitted or Rejected out.

`service.session.registry` asks before it opens a session and gives the place back when the session
has ended. The cores that a session of these limits is expected to use (`service.policy.cost`) are
reserved in the same call that decides, with nothing awaited between the two, so that a burst of
requests cannot all be told yes; they stay reserved in full until the session's own frames show
what it needs. `service.session.load` tells both, and what the CPU is doing. Not for use from
several threads, but for the figures that are read.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.policy.cost import CostModel, Demand

MIN_RETRY_S: Final = 5
MAX_RETRY_S: Final = 60
REFUSAL_WINDOW_S: Final = 10.0
PLANNED_SHARE: Final = 0.85
"""Of the CPU budget. The rest is for what the mean does not show: two people where there was one,
keyframes, requests, and a quota that is enforced in slices of 100 ms."""
OVERLOAD_RATIO: Final = 0.95
"""CPU used over the budget, from which on there is no room whatever was planned."""
SHRINK_TIME_S: Final = 10.0
"""Time constant by which a reservation falls to what its session uses; it rises at once. Browsers
begin small and grow for some seconds."""


class Reason(StrEnum):
    """Why a session was refused: the value is a metric label and stands in the HTTP answer."""

    DRAINING = "draining"
    SESSION_CAP = "session_cap"
    OVERLOADED = "overloaded"
    CPU_BUDGET = "cpu_budget"


@dataclass(frozen=True, slots=True)
class Admitted:
    """Room is reserved: whoever asked must release it."""

    place: int
    "Names the reservation."


@dataclass(frozen=True, slots=True)
class Rejected:
    """No room; nothing is reserved."""

    reason: Reason
    retry_after_s: int


@dataclass(slots=True)
class _Reservation:
    cores: float
    viewer: bool = False
    "Of a session that another one holds: it counts against the CPU budget, and is no session."
    sized_at_s: float | None = None
    "None until its session sends frames."


class Admission:
    """Weighs what is reserved against the CPU budget, and counts against the configured cap."""

    def __init__(
        self,
        *,
        quota_cores: float,
        cost: CostModel,
        max_sessions: int = 0,
        planned_share: float = PLANNED_SHARE,
    ) -> None:
        """``max_sessions``: 0 is no cap beside the CPU budget. ``planned_share``: of the budget,
        what sessions may reserve; above 1 the quality levels are part of the plan."""
        if not quota_cores > 0 or not planned_share > 0 or max_sessions < 0:
            raise ValueError("quota and share must be positive, and the cap not negative")
        self._quota_cores = quota_cores
        self._cost = cost
        self._max_sessions = max_sessions
        self._planned_share = planned_share
        self._overloaded = False
        self._draining = False
        self._places = itertools.count(1)
        self._reservations: dict[int, _Reservation] = {}
        # Times of the newest refusals: as many as can still lengthen the wait.
        self._refusals: deque[float] = deque(maxlen=MAX_RETRY_S - MIN_RETRY_S)

    @property
    def sessions(self) -> int:
        """How many hold a reservation."""
        # A copy, because a scrape reads it elsewhere.
        return sum(not one.viewer for one in list(self._reservations.values()))

    @property
    def viewers(self) -> int:
        """How many of those who watch a session hold a reservation."""
        return sum(one.viewer for one in list(self._reservations.values()))

    @property
    def reserved_cores(self) -> float:
        """What they hold together. It may exceed the plan where live sessions grew, or the quota
        shrank: then nobody is sent away, but nobody let in either."""
        # Summed anew, for no rounding to pile up; a copy, because a scrape reads it elsewhere.
        return math.fsum(one.cores for one in list(self._reservations.values()))

    @property
    def planned_cores(self) -> float:
        """What may be reserved."""
        return self._quota_cores * self._planned_share

    @property
    def free_cores(self) -> float:
        """What may still be reserved; 0 while nobody would be let in for another reason."""
        capped = bool(self._max_sessions) and self.sessions >= self._max_sessions
        if self._draining or self._overloaded or capped:
            return 0.0
        return max(0.0, self.planned_cores - self.reserved_cores)

    def expected_cores(self, demand: Demand, *, encoded_again: bool = False) -> float:
        """What a session of these limits would reserve, and a viewer of it with it."""
        viewer = self._cost.encoding_cores(demand) if encoded_again else 0.0
        return self._cost.cores(demand) + viewer

    @property
    def draining(self) -> bool:
        """Whether every session is refused from now on: `capacity_ratio` is 1 then, and tells
        nothing of what the open ones hold."""
        return self._draining

    @property
    def capacity_ratio(self) -> float:
        """How full it is, 0 to 1: what is reserved over what may be, or sessions over their cap
        where that is more; 1 while nobody would be let in for another reason."""
        if self._draining or self._overloaded:
            return 1.0
        by_cpu = self.reserved_cores / self.planned_cores
        by_cap = self.sessions / self._max_sessions if self._max_sessions else 0.0
        return min(1.0, max(by_cpu, by_cap))

    def reserve(self, demand: Demand, now: float) -> Admitted | Rejected:
        """Reserves what the most that the session may ask for is expected to cost, if there is
        room. ``now`` is in seconds of any steady clock."""
        if self._draining:
            return Rejected(Reason.DRAINING, MIN_RETRY_S)
        if self._max_sessions and self.sessions >= self._max_sessions:
            return Rejected(Reason.SESSION_CAP, self._retry_after_s(now))
        return self._reserve(_Reservation(self._cost.cores(demand)), now)

    def reserve_viewer(self, demand: Demand, now: float) -> Admitted | Rejected:
        """Reserves what it is expected to cost to encode a session's track of this size and rate
        once more, if there is room. It is held in full until it is released."""
        if self._draining:
            return Rejected(Reason.DRAINING, MIN_RETRY_S)
        return self._reserve(_Reservation(self._cost.encoding_cores(demand), viewer=True), now)

    def _reserve(self, reservation: _Reservation, now: float) -> Admitted | Rejected:
        if (reason := self._objection(reservation.cores)) is not None:
            return Rejected(reason, self._retry_after_s(now))
        place = next(self._places)
        self._reservations[place] = reservation
        return Admitted(place)

    def release(self, place: int) -> None:
        """Gives back what the place holds."""
        if self._reservations.pop(place, None) is None:
            raise ValueError("this place is not reserved")

    def resize(self, place: int, demands: Sequence[Demand], now: float) -> None:
        """What the session's tracks ask for at present. A session that sends no frames keeps
        what it has: it may be about to."""
        reservation = self._reservations[place]
        if not demands:
            return
        cores = math.fsum(self._cost.cores(demand) for demand in demands)
        since_s = 0.0 if reservation.sized_at_s is None else now - reservation.sized_at_s
        reservation.sized_at_s = now
        above = max(0.0, reservation.cores - cores)
        reservation.cores = cores + above * math.exp(-max(0.0, since_s) / SHRINK_TIME_S)

    def see(self, *, quota_cores: float, load_ratio: float, short: bool) -> None:
        """The CPU budget now, the share of it that is used, and whether sessions are on a lower
        quality level for want of CPU: another one would push them further down."""
        self._quota_cores = max(1e-3, quota_cores)
        full = load_ratio >= OVERLOAD_RATIO or (short and self._planned_share <= 1)
        # A server with nobody on it is busy with something that passes.
        self._overloaded = full and self.sessions > 0

    def drain(self) -> None:
        """From now on every session is refused."""
        self._draining = True

    def _objection(self, cores: float) -> Reason | None:
        if not self._reservations:
            return None  # one always fits: a quota below the cost of one would serve nobody, ever
        if self._overloaded:
            return Reason.OVERLOADED
        # The margin keeps three times 0.3 within 0.9 in floating point.
        if self.reserved_cores + cores > self.planned_cores + 1e-9:
            return Reason.CPU_BUDGET
        return None

    def _retry_after_s(self, now: float) -> int:
        """One second more for each recent refusal: a refused crowd comes back spread out."""
        while self._refusals and now - self._refusals[0] > REFUSAL_WINDOW_S:
            self._refusals.popleft()
        wait_s = MIN_RETRY_S + len(self._refusals)
        self._refusals.append(now)
        return wait_s
