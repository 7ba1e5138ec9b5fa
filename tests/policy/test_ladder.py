"""One ladder, decision by decision: by how much, in which order, and after how long a pause."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.policy.ladder import (
    CALM_S,
    CALM_SIZE_S,
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    ROOM,
    SETTLE_S,
    TARGET,
    Ladder,
)
from service.policy.levels import Level

SAVED = 0.1
"""Of the budget, by each step of each member."""


@dataclass
class Group:
    """Members that all cost the same, and a clock."""

    full_need: float
    names: tuple[str, ...] = ("a", "b", "c")
    lowest: Level = Level.BACKGROUND
    now_s: float = 100.0
    ladder: Ladder = field(init=False)

    def __post_init__(self) -> None:
        self.ladder = Ladder(self.lowest)
        for name in self.names:
            self.ladder.join(name)

    @property
    def steps(self) -> list[int]:
        return [self.ladder.steps[name] for name in self.names]

    def need(self) -> float:
        return self.full_need - SAVED * sum(self.steps)

    def decide(
        self,
        *,
        after_s: float = 0.25,
        overloaded: bool = False,
        strained: bool = False,
        losing: bool = True,
    ) -> list[int]:
        self.now_s += after_s
        self.ladder.decide(
            self.now_s,
            self.need(),
            lambda _, step: 1.0 - SAVED * step,
            overloaded=overloaded,
            strained=strained,
            losing=losing,
        )
        return self.steps


def test_as_many_steps_as_are_needed_and_no_more() -> None:
    group = Group(full_need=1.25)
    assert group.decide(overloaded=True) == [2, 1, 1]
    assert group.need() <= TARGET < group.need() + SAVED


def test_a_need_that_fits_by_the_figures_is_still_lowered_where_every_sign_says_so() -> None:
    group = Group(full_need=0.6)
    assert group.decide(overloaded=True) == [1, 0, 0]


def test_who_moved_longest_ago_moves_next() -> None:
    group = Group(full_need=1.0)
    assert group.decide(overloaded=True) == [1, 1, 0]
    group.full_need = 1.2
    assert group.decide(overloaded=True, after_s=SETTLE_S) == [2, 1, 1]
    group.full_need = 1.17
    assert group.decide(after_s=CALM_S) == [1, 1, 1]
    group.full_need = 1.07
    assert group.decide(after_s=CALM_S) == [1, 0, 1], "b was lowered before c"


def test_a_step_down_is_given_time_to_show_unless_the_figures_ask_for_more() -> None:
    group = Group(full_need=1.0)
    assert group.decide(overloaded=True) == [1, 1, 0]
    assert group.decide(overloaded=True) == [1, 1, 0]
    group.full_need = 1.4
    assert group.decide(overloaded=True) == [2, 2, 2]


def test_frames_and_then_the_picture_are_given_up_by_decisions_of_their_own() -> None:
    group = Group(full_need=5.0)
    smaller, fewer, background = Level.SMALLER.step, Level.FEWER.step, Level.BACKGROUND.step
    assert group.decide(overloaded=True) == [smaller] * 3
    assert group.decide(overloaded=True) == [fewer] * 3
    assert group.decide(overloaded=True) == [background] * 3
    assert group.decide(overloaded=True) == [background] * 3
    group.full_need = 0.2 + SAVED * sum(group.steps)
    assert group.decide(after_s=CALM_S) == [fewer] * 3
    group.full_need = 0.87 + SAVED * sum(group.steps) - 2 * SAVED
    assert group.decide(after_s=CALM_S) == [fewer - 1, fewer, fewer]
    group.full_need += 2 * SAVED
    assert group.decide(overloaded=True) == [fewer] * 3, "nobody is hidden while one has more"


def test_nobody_goes_below_the_lowest() -> None:
    group = Group(full_need=5.0, lowest=Level.HALF)
    assert group.decide(overloaded=True) == [1, 1, 1]
    assert Group(full_need=5.0, lowest=Level.FULL).decide(overloaded=True) == [0, 0, 0]


def test_a_step_up_needs_calm_and_room() -> None:
    group = Group(full_need=1.1)
    assert group.decide(overloaded=True) == [1, 1, 1]
    assert group.decide(after_s=CALM_S) == [1, 1, 1], "there is no room for it"
    group.full_need = ROOM + 2 * SAVED - 0.01
    assert group.decide(strained=True) == [1, 1, 1]
    assert group.decide(after_s=CALM_S / 2) == [1, 1, 1], "the strain was a moment ago"
    assert group.decide(after_s=CALM_S / 2) == [0, 1, 1]
    assert group.need() <= ROOM


def test_frames_are_kept_where_the_smaller_picture_proves_enough() -> None:
    group = Group(full_need=2.0)
    smaller = Level.SMALLER.step
    assert group.decide(overloaded=True) == [smaller] * 3
    group.full_need = 0.9 + SAVED * sum(group.steps)  # less than it looked: all came at once
    assert group.decide(overloaded=True) == [smaller] * 3, "it has not shown yet"
    assert group.decide(after_s=SETTLE_S) == [smaller] * 3


def test_frames_are_given_up_only_where_they_are_lost_as_it_is() -> None:
    group = Group(full_need=5.0)
    smaller, fewer = Level.SMALLER.step, Level.FEWER.step
    assert group.decide(overloaded=True, losing=False) == [smaller] * 3
    assert group.decide(overloaded=True, losing=False, after_s=SETTLE_S) == [smaller] * 3
    assert group.decide(overloaded=True, losing=True) == [fewer] * 3


def test_the_picture_grows_again_after_a_longer_calm() -> None:
    group = Group(full_need=1.7, names=("a",))
    assert group.decide(overloaded=True) == [Level.SMALLER.step]
    assert group.decide(overloaded=True) == [Level.FEWER.step]
    group.full_need = 0.5
    assert group.decide(after_s=CALM_S) == [Level.SMALLER.step]
    assert group.decide(after_s=CALM_S) == [Level.SMALLER.step]
    assert group.decide(after_s=CALM_SIZE_S - CALM_S) == [Level.THIRD.step]


def failing(group: Group) -> float:
    """Wait for the step up, let it fail; how long the step up took to come."""
    began_s, before = group.now_s, group.steps
    while group.steps == before:
        group.decide()
    assert sum(group.steps) < sum(before)
    waited_s = group.now_s - began_s
    group.full_need += 1.0  # it costs more than was predicted
    group.decide(overloaded=True)
    group.full_need -= 1.0
    group.ladder.steps.update(zip(group.names, before, strict=True))  # and no further
    return waited_s


def test_a_step_up_that_failed_is_tried_again_later_and_later() -> None:
    group = Group(full_need=0.9, names=("a",))
    group.decide(overloaded=True)
    waits_s = [failing(group) for _ in range(8)]
    assert waits_s[0] == CALM_S
    assert waits_s[1:4] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert waits_s[-1] == LONGEST_PAUSE_S


def test_a_need_that_has_fallen_ends_the_pause() -> None:
    group = Group(full_need=0.9, names=("a",))
    group.decide(overloaded=True)
    for _ in range(6):
        failing(group)
    group.decide(after_s=2 * SETTLE_S)
    group.full_need = 0.5
    assert group.decide(after_s=CALM_S) == [1]


def test_whoever_leaves_is_forgotten_and_newcomers_join_the_lowest() -> None:
    group = Group(full_need=1.0)
    group.decide(overloaded=True)
    group.ladder.join("d")
    assert group.ladder.steps == {"a": 1, "b": 1, "c": 0, "d": 1}
    for name in "abd":
        group.ladder.leave(name)
    group.ladder.join("e")
    assert group.ladder.steps == {"c": 0, "e": 0}
