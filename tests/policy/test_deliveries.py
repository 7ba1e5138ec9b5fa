"""Deliveries: in order in each line, bounded, tried again as said; time is a literal."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from service.policy.deliveries import Deliveries, Delivery, Retrying

RETRYING = Retrying(first_s=1.0, longest_s=8.0, give_up_s=100.0)


def deliveries(*, most: int = 100, retrying: Retrying = RETRYING) -> Deliveries[str]:
    """Whose waits are always whole."""
    return Deliveries(most=most, retrying=retrying, chance=lambda: 0.0)


def taken(lines: Deliveries[str], now_s: float) -> list[str]:
    """All that is due; it stays under way."""
    found = []
    while (one := lines.take(now_s)) is not None:
        found.append(one.value)
    return found


def take(lines: Deliveries[str], now_s: float) -> Delivery[str]:
    one = lines.take(now_s)
    assert one is not None
    return one


def test_the_wait_doubles_up_to_its_bound() -> None:
    assert [RETRYING.wait_s(n, 0.0) for n in range(1, 7)] == [1, 2, 4, 8, 8, 8]
    assert RETRYING.wait_s(10_000, 0.0) == 8


@given(st.integers(1, 100_000), st.floats(0, 1))
def test_chance_takes_half_of_it_at_most(failures: int, chance: float) -> None:
    whole = RETRYING.wait_s(failures, 0.0)
    assert whole / 2 <= RETRYING.wait_s(failures, chance) <= whole


def test_one_line_waits_for_its_head_and_the_others_go_on() -> None:
    lines = deliveries()
    for key, value in ("a", "a1"), ("a", "a2"), ("b", "b1"):
        assert lines.add(key, value, now_s=0.0) is None
    first, other = take(lines, 0.0), take(lines, 0.0)
    assert (first.value, other.value) == ("a1", "b1")
    assert lines.take(0.0) is None
    assert lines.due_s() is None
    assert lines.failed(first, now_s=0.0)
    lines.done(other, now_s=0.0)
    lines.add("b", "b2", now_s=0.0)
    assert taken(lines, 0.5) == ["b2"]
    assert lines.due_s() == 1.0
    first = take(lines, 1.0)
    assert first.value == "a1"
    lines.done(first, now_s=1.0)
    assert taken(lines, 1.0) == ["a2"]
    assert len(lines) == 2, "what is under way counts"


def test_waits_grow_with_failures_in_a_row_and_a_success_ends_them() -> None:
    lines = deliveries()
    lines.add("a", "a1", now_s=0.0)
    lines.add("a", "a2", now_s=0.0)
    now_s, waits = 0.0, []
    for _ in range(5):
        lines.failed(take(lines, now_s), now_s=now_s)
        due_s = lines.due_s()
        assert due_s is not None
        waits.append(due_s - now_s)
        now_s = due_s
    assert waits == [1, 2, 4, 8, 8]
    lines.done(take(lines, now_s), now_s=now_s)
    lines.failed(take(lines, now_s), now_s=now_s)
    assert lines.due_s() == now_s + 1


def test_a_receiver_that_asks_for_a_longer_wait_gets_it() -> None:
    lines = deliveries()
    lines.add("a", "a1", now_s=0.0)
    lines.failed(take(lines, 0.0), now_s=0.0, least_s=30.0)
    assert lines.due_s() == 30.0
    lines.failed(take(lines, 30.0), now_s=30.0, least_s=0.5)
    assert lines.due_s() == 32.0


def test_what_is_too_old_is_given_up_and_the_line_waits_on() -> None:
    lines = deliveries()
    lines.add("a", "old", now_s=0.0)
    lines.add("a", "young", now_s=99.0)
    assert not lines.failed(take(lines, 100.0), now_s=100.0)
    assert len(lines) == 1
    assert lines.due_s() == 101.0, "the receiver has not become well by that"
    assert taken(lines, 101.0) == ["young"]


def test_the_oldest_that_is_not_under_way_makes_room() -> None:
    lines = deliveries(most=3)
    for value in ("a1", "a2"):
        lines.add("a", value, now_s=0.0)
    lines.add("b", "b1", now_s=0.0)
    under_way = take(lines, 0.0)
    dropped = lines.add("c", "c1", now_s=1.0)
    assert dropped is not None
    assert dropped.value == "a2"
    dropped = lines.add("c", "c2", now_s=1.0)
    assert dropped is not None
    assert dropped.value == "b1"
    lines.done(under_way, now_s=1.0)
    assert taken(lines, 1.0) == ["c1"]


def test_while_all_is_under_way_nothing_more_is_taken() -> None:
    lines = deliveries(most=1)
    lines.add("a", "a1", now_s=0.0)
    take(lines, 0.0)
    dropped = lines.add("b", "b1", now_s=0.0)
    assert dropped is not None
    assert dropped.value == "b1"
    assert len(lines) == 1


def test_in_a_hurry_all_is_due_and_waits_begin_anew() -> None:
    lines = deliveries()
    for key in "ab":
        lines.add(key, key, now_s=0.0)
    now_s = 0.0
    for _ in range(3):
        for one in [take(lines, now_s), take(lines, now_s)]:
            lines.failed(one, now_s=now_s)
        now_s = lines.due_s() or 0.0
    now_s -= 3.5
    assert lines.take(now_s) is None
    lines.hurry(now_s)
    under_way = take(lines, now_s)
    assert under_way.value == "a"
    lines.hurry(now_s)
    assert taken(lines, now_s) == ["b"]
    lines.failed(under_way, now_s=now_s)
    assert lines.due_s() == now_s + 1


def test_what_failed_is_due_soon_once_something_else_arrives() -> None:
    lines = deliveries()
    for key in "abc":
        lines.add(key, f"{key}1", now_s=0.0)
    now_s = 0.0
    for _ in range(4):
        for one in [take(lines, now_s) for _ in "abc"]:
            lines.failed(one, now_s=now_s, least_s=30.0 if one.key == "c" and now_s == 7.0 else 0.0)
        now_s = lines.due_s() or 0.0
    assert now_s == 15.0, "8 s after the last try, which was at 7"
    lines.add("d", "d1", now_s=8.0)
    lines.done(take(lines, 8.0), now_s=8.0)
    assert lines.due_s() == 9.0, "as after a first failure"
    again = [take(lines, 9.0), take(lines, 9.0)]
    assert {one.key for one in again} == {"a", "b"}
    assert lines.due_s() == 37.0, "the receiver asked to be left alone with it"
    # Waits go on as after a second failure; and each is hurried once.
    for one in again:
        lines.failed(one, now_s=9.0)
    assert lines.due_s() == 11.0
    lines.add("d", "d2", now_s=9.0)
    lines.done(take(lines, 9.0), now_s=9.0)
    assert lines.due_s() == 11.0


def test_what_is_under_way_when_something_else_arrives_is_hurried_by_the_next() -> None:
    lines = deliveries()
    lines.add("a", "a1", now_s=0.0)
    for now_s in (0.0, 1.0, 3.0):
        lines.failed(take(lines, now_s), now_s=now_s)
    one = take(lines, 7.0)
    for value in ("b1", "b2"):
        lines.add("b", value, now_s=7.0)
    lines.done(take(lines, 7.0), now_s=7.0)
    lines.failed(one, now_s=7.0)
    lines.done(take(lines, 7.0), now_s=7.0)
    assert lines.due_s() == 8.0
    assert taken(lines, 8.0) == ["a1"]


def test_a_line_that_is_always_refused_is_not_tried_with_each_success_of_another() -> None:
    lines = deliveries()
    lines.add("bad", "bad1", now_s=0.0)
    tries = 0
    for now_s in range(100):
        lines.add("good", "good", now_s=float(now_s))
        while (one := lines.take(float(now_s))) is not None:
            if one.key == "good":
                lines.done(one, now_s=float(now_s))
            else:
                tries += 1
                lines.failed(one, now_s=float(now_s))
    # 1, 2, 4, then every 8 s; once more from the beginning.
    assert tries <= 100 / 8 + 2 * 3 + 1


def test_what_is_not_under_way_cannot_be_done() -> None:
    lines = deliveries()
    lines.add("a", "a1", now_s=0.0)
    one = take(lines, 0.0)
    lines.done(one, now_s=0.0)
    with pytest.raises(KeyError):
        lines.done(one, now_s=0.0)


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens, every line arrives in order, and nothing is kept twice or without bound."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.made = 0
        self.lines = deliveries(most=6, retrying=Retrying(1.0, 4.0, 20.0))
        self.under_way: list[Delivery[str]] = []
        self.seen: dict[str, int] = {}
        self.gone: set[int] = set()

    @rule(key=st.sampled_from("abc"))
    def add(self, key: str) -> None:
        dropped = self.lines.add(key, key, now_s=self.now_s)
        self.made += 1
        if dropped is not None:
            assert dropped not in self.under_way
            self.leave(dropped)

    @rule()
    def take(self) -> None:
        one = self.lines.take(self.now_s)
        if one is not None:
            assert one.key not in {other.key for other in self.under_way}
            assert one.serial not in self.gone
            self.under_way.append(one)

    @rule(place=st.integers(0, 5))
    def arrive(self, place: int) -> None:
        if self.under_way:
            one = self.under_way.pop(place % len(self.under_way))
            assert one.serial > self.seen.get(one.key, -1), "in order"
            self.seen[one.key] = one.serial
            self.lines.done(one, now_s=self.now_s)
            self.leave(one)

    @rule(place=st.integers(0, 5))
    def fail(self, place: int) -> None:
        if self.under_way:
            one = self.under_way.pop(place % len(self.under_way))
            if not self.lines.failed(one, now_s=self.now_s):
                assert self.now_s - one.added_s >= 20
                self.leave(one)

    @rule(seconds=st.floats(0, 5))
    def turn(self, seconds: float) -> None:
        self.now_s += seconds

    @rule()
    def hurry(self) -> None:
        self.lines.hurry(self.now_s)

    def leave(self, one: Delivery[str]) -> None:
        assert one.serial not in self.gone
        self.gone.add(one.serial)

    @invariant()
    def bounded_and_whole(self) -> None:
        assert len(self.lines) == self.made - len(self.gone) <= 6

    def teardown(self) -> None:
        for one in self.under_way:
            self.lines.done(one, now_s=self.now_s)
            self.leave(one)
        self.lines.hurry(self.now_s)
        while (left := self.lines.take(self.now_s)) is not None:
            assert left.serial > self.seen.get(left.key, -1)
            self.seen[left.key] = left.serial
            self.lines.done(left, now_s=self.now_s)
            self.leave(left)
        assert len(self.lines) == 0, "everything comes out in the end"


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
