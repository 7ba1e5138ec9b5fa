"""What waits to be delivered, and when it is tried: lines, back-off, bounds. Time is passed in.

Everything of one key (a session) stands in a line: what is behind is not tried before what is in
front has arrived or was given up. The lines know nothing of each other, so one whose head is
refused again and again holds up none but itself. They share one receiver, though: once something
arrives, what had failed waits no longer than after a first failure, so that no long back-off is
sat out after the receiver is back. Each head gains by that once, or a line that is always refused
would be tried whenever another one is not.
service/webhooks/outbox.py does what is said here.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MAX_DOUBLINGS: Final = 32
"""Of the first wait; by then every sensible longest wait is reached."""


@dataclass(frozen=True, slots=True)
class Retrying:
    """How often a delivery that failed is tried again."""

    first_s: float = 1.0
    "The wait after the first failure; it doubles with each other one in a row."
    longest_s: float = 60.0
    give_up_s: float = 3600.0
    "What is older is tried no more."

    def wait_s(self, failures: int, chance: float) -> float:
        """Until the next try, after so many failures in a row. `chance`, 0 to 1, takes up to half
        of it away, so that what failed together does not come back together."""
        full_s = min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, MAX_DOUBLINGS))
        return full_s * (1 - chance / 2)


@dataclass(frozen=True, slots=True)
class Delivery(Generic[T]):
    """One thing that is to be delivered."""

    key: str
    value: T
    added_s: float
    serial: int
    "Its place in the order of all."


@dataclass(slots=True)
class _Line(Generic[T]):
    waiting: deque[Delivery[T]] = field(default_factory=deque)
    failures: int = 0
    "In a row."
    due_s: float = 0.0
    turn: int = -1
    "Which entry of the heap is this line's; others are out of date."
    busy: bool = False
    "The head is being delivered."
    hurried: bool = False
    "The head was due before its time, because something else had arrived."
    not_before_s: float = 0.0
    "So long the receiver asked to be left alone with it."


class Deliveries(Generic[T]):
    """The lines of all keys. All times are seconds of one steady clock."""

    def __init__(self, *, most: int, retrying: Retrying, chance: Callable[[], float]) -> None:
        """Holds `most` deliveries, those that are under way included; `chance` gives 0 to 1."""
        self._most = most
        self._retrying = retrying
        self._chance = chance
        self._lines: dict[str, _Line[T]] = {}
        self._due: list[tuple[float, int, str]] = []
        self._all: OrderedDict[int, str] = OrderedDict()
        "The serial numbers of everything that is here, oldest first, and their keys."
        self._failed: set[str] = set()
        "Lines whose head failed, and was not hurried."
        self._serials = itertools.count()
        self._turns = itertools.count()

    def __len__(self) -> int:
        return len(self._all)

    def add(self, key: str, value: T, *, now_s: float) -> Delivery[T] | None:
        """Puts it at the end of its line; what had to go for it, which is the oldest of all that
        is not under way, and it itself where everything is."""
        dropped = self._drop() if len(self._all) >= self._most else None
        delivery = Delivery(key, value, now_s, next(self._serials))
        if len(self._all) >= self._most:
            return delivery
        line = self._lines.setdefault(key, _Line())
        line.waiting.append(delivery)
        self._all[delivery.serial] = key
        if len(line.waiting) == 1:
            self._schedule(key, line, now_s)
        return dropped

    def take(self, now_s: float) -> Delivery[T] | None:
        """The next that is due, which is under way from now on: until `done` or `failed`."""
        if (due_s := self.due_s()) is None or due_s > now_s:
            return None
        _, _, key = heapq.heappop(self._due)
        line = self._lines[key]
        line.busy = True
        return line.waiting[0]

    def due_s(self) -> float | None:
        """When the next one is due; None: nothing waits for its time."""
        while self._due:
            due_s, turn, key = self._due[0]
            line = self._lines.get(key)
            if line is not None and line.turn == turn and not line.busy:
                return due_s
            heapq.heappop(self._due)
        return None

    def done(self, delivery: Delivery[T], *, now_s: float) -> None:
        """It arrived, or nobody wants it: the next of its line is due at once, and what had
        failed in others is soon."""
        line = self._leave(delivery)
        line.failures = 0
        self._next(delivery.key, line, now_s)
        self._recover(now_s)

    def failed(self, delivery: Delivery[T], *, now_s: float, least_s: float = 0.0) -> bool:
        """It did not arrive: whether it is tried again, `least_s` from now at the earliest."""
        line = self._lines[delivery.key]
        line.failures += 1
        line.not_before_s = now_s + least_s
        again = now_s - delivery.added_s < self._retrying.give_up_s
        if again:
            line.busy = False
            if not line.hurried:
                self._failed.add(delivery.key)
        else:
            self._leave(delivery)
        wait_s = max(least_s, self._retrying.wait_s(line.failures, self._chance()))
        self._next(delivery.key, line, now_s + wait_s)
        return again

    def hurry(self, now_s: float) -> None:
        """Everything that waits is due now, and is waited for anew: there is little time left."""
        for key, line in self._lines.items():
            line.failures = 0
            if not line.busy:
                self._schedule(key, line, now_s)

    def _recover(self, now_s: float) -> None:
        for key in [key for key in self._failed if not self._lines[key].busy]:
            self._failed.discard(key)
            line = self._lines[key]
            soon_s = max(now_s + self._retrying.wait_s(1, self._chance()), line.not_before_s)
            if soon_s < line.due_s:
                line.hurried = True
                line.failures = 1
                self._schedule(key, line, soon_s)

    def _schedule(self, key: str, line: _Line[T], due_s: float) -> None:
        line.due_s, line.turn = due_s, next(self._turns)
        heapq.heappush(self._due, (due_s, line.turn, key))

    def _next(self, key: str, line: _Line[T], due_s: float) -> None:
        if line.waiting:
            self._schedule(key, line, due_s)
        else:
            self._forget(key)

    def _forget(self, key: str) -> None:
        del self._lines[key]
        self._failed.discard(key)

    def _leave(self, delivery: Delivery[T]) -> _Line[T]:
        """Out of its line, at whose head it stands."""
        line = self._lines[delivery.key]
        assert line.waiting[0] is delivery, "what is under way is the head of its line"
        line.waiting.popleft()
        line.busy = line.hurried = False
        self._failed.discard(delivery.key)
        del self._all[delivery.serial]
        return line

    def _drop(self) -> Delivery[T] | None:
        """Drops the oldest that is not under way; few are, so it is found at once."""
        for serial, key in self._all.items():
            line = self._lines[key]
            # The oldest of a line is its head, unless that is under way.
            place = 1 if line.busy else 0
            if len(line.waiting) > place and line.waiting[place].serial == serial:
                delivery = line.waiting[place]
                del line.waiting[place], self._all[serial]
                if not line.waiting:
                    self._forget(key)
                return delivery
        return None
