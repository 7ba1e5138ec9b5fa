"""The steps of those who share one budget: down at once and by as much as is needed, up with care.

    overloaded -> down, all that is needed to get below TARGET, the highest first
    calm, and the next step fits below ROOM -> one step up, the lowest first

Nothing flaps: between where steps go down and where they go up again lies a gap, a step up is only
made into room that was predicted for it, and one that failed all the same is tried again later and
later. quality.py has one ladder for all sessions (the CPU budget), and one for each (its thread).
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from service.policy.levels import Level

if TYPE_CHECKING:
    from collections.abc import Callable

TARGET: Final = 0.87
"""Of the budget, predicted after steps down; or of what is needed now, where that fits the budget
by the figures and is too much by every sign."""
ROOM: Final = 0.87
"""Of the budget, predicted after a step up."""
SETTLE_S: Final = 1.0
"""Until a step down shows in the figures."""
CALM_S: Final = 2.0
"""Without a sign of strain and without a change, before a step up."""
CALM_SIZE_S: Final = 6.0
"""The same before the picture grows again: another size is another encoder and a keyframe."""
FAILED_S: Final = 60.0
"""A step down so soon after one up means that the step up failed."""
FIRST_PAUSE_S: Final = 8.0
LONGEST_PAUSE_S: Final = 240.0
"""After a step up that failed; twice as long each time."""
EASED: Final = 0.75
"""The pause is over when the need has fallen below this share of what it was at its beginning."""

_FEWER: Final = Level.FEWER.step
_SMALLER: Final = Level.SMALLER.step


class Ladder:
    """Which step each member of a group is on: 0 is the highest. No two differ by more than one."""

    def __init__(self, lowest: Level) -> None:
        self.steps: dict[str, int] = {}
        self._lowest = lowest.step
        self._turns: dict[str, int] = {}
        "When a member moved last: those whose turn is longest ago move first."
        self._turn = 0
        self._lowered_s = self._raised_s = self._strained_s = float("-inf")
        self._pause_s = FIRST_PAUSE_S
        self._paused_until_s = float("-inf")
        self._need_at_pause: float | None = None

    def join(self, name: str) -> None:
        """A newcomer begins with those who have least: it must not cost them more."""
        self.steps[name] = max(self.steps.values(), default=0)
        self._take_turn(name)

    def leave(self, name: str) -> None:
        del self.steps[name], self._turns[name]

    def decide(
        self,
        now_s: float,
        need: float,
        cost: Callable[[str, int], float],
        *,
        overloaded: bool,
        strained: bool,
        losing: bool,
    ) -> None:
        """Moves members where they have to, and may, be moved.

        need: all that is needed, over the budget. cost: what a member is predicted to need on a
        step, over the budget. strained: this is no time for a step up. losing: frames are lost as
        it is (or late); until they are, nobody is made to give any up.
        """
        if overloaded or strained:
            self._strained_s = now_s
        self._judge_pause(now_s, need)
        if overloaded:
            # What was done a moment ago has not shown yet; the figures may ask for more already.
            if now_s - self._lowered_s >= SETTLE_S or need > 1.0:
                self._lower(now_s, need, cost, losing=losing)
        elif self._may_rise(now_s):
            self._raise(now_s, need, cost)

    def _lower(
        self, now_s: float, need: float, cost: Callable[[str, int], float], *, losing: bool
    ) -> None:
        goal = TARGET * min(1.0, need)
        lowest = min(self._lowest, self._floor() if losing else _SMALLER)
        waiting = [(step, self._turns[name], name) for name, step in self.steps.items()]
        heapq.heapify(waiting)
        lowered = False
        while waiting and need > goal and waiting[0][0] < lowest:
            step, _, name = heapq.heappop(waiting)
            need += cost(name, step + 1) - cost(name, step)
            self.steps[name] = step + 1
            self._take_turn(name)
            heapq.heappush(waiting, (step + 1, self._turn, name))
            lowered = True
        if not lowered:
            return
        if now_s - self._raised_s < FAILED_S and self._raised_s > self._lowered_s:
            self._paused_until_s = now_s + self._pause_s
            self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s)
        self._need_at_pause = None
        self._lowered_s = now_s

    def _floor(self) -> int:
        """The step that nobody goes below at this time. Nobody loses frames while another has more
        than `smaller`, nor the picture while another has more than `fewer`, nor a moment after
        that: what the cheaper step gives is measured first, since many who come at once look like
        more than they need.
        """
        highest = min(self.steps.values(), default=0)
        if highest < _SMALLER:
            return _SMALLER
        return _FEWER if highest < _FEWER else self._lowest

    def _may_rise(self, now_s: float) -> bool:
        lowest = max(self.steps.values(), default=0)
        if lowest == 0 or now_s < self._paused_until_s:
            return False
        calm_s = CALM_SIZE_S if lowest == _SMALLER else CALM_S
        since_s = max(self._strained_s, self._lowered_s, self._raised_s)
        return now_s - since_s >= calm_s

    def _raise(self, now_s: float, need: float, cost: Callable[[str, int], float]) -> None:
        lowest = max(self.steps.values())
        for name in sorted(self.steps, key=self._turns.__getitem__):
            if self.steps[name] != lowest:
                continue
            need += cost(name, lowest - 1) - cost(name, lowest)
            if need > ROOM:
                return
            self.steps[name] = lowest - 1
            self._take_turn(name)
            self._raised_s = now_s

    def _judge_pause(self, now_s: float, need: float) -> None:
        if self._raised_s > self._lowered_s and now_s - self._raised_s >= FAILED_S:
            self._pause_s = FIRST_PAUSE_S  # the last step up has proved good
        if now_s >= self._paused_until_s or now_s - self._lowered_s < 2 * SETTLE_S:
            return
        if self._need_at_pause is None:
            self._need_at_pause = need
        elif need < EASED * self._need_at_pause:
            self._paused_until_s = now_s

    def _take_turn(self, name: str) -> None:
        self._turn += 1
        self._turns[name] = self._turn
