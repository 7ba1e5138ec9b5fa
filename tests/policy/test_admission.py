"""Admission: cores are never oversold, and whoever is refused hears why and for how long."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from service.policy.admission import (
    MAX_RETRY_S,
    MIN_RETRY_S,
    OVERLOAD_RATIO,
    SHRINK_TIME_S,
    Admission,
    Admitted,
    Reason,
    Rejected,
)
from service.policy.cost import REFERENCE_FPS, REFERENCE_PIXELS, CostModel, Demand, Spent

REFERENCE = Demand(REFERENCE_PIXELS, REFERENCE_FPS)
SMALL = Demand(640 * 360, 30)

demands = st.builds(Demand, pixels=st.integers(64 * 64, 1920 * 1920), fps=st.floats(1, 60))


def admission(
    quota_cores: float = 1.2,
    session_cores: float = 0.4,
    max_sessions: int = 0,
    planned_share: float = 1.0,
) -> Admission:
    return Admission(
        quota_cores=quota_cores,
        cost=CostModel(session_cores),
        max_sessions=max_sessions,
        planned_share=planned_share,
    )


def place(decision: Admitted | Rejected) -> int:
    assert isinstance(decision, Admitted)
    return decision.place


@pytest.mark.parametrize(
    ("quota_cores", "session_cores", "max_sessions", "share", "room", "reason"),
    [
        (1.2, 0.4, 0, 1.0, 3, Reason.CPU_BUDGET),
        (0.9, 0.3, 0, 1.0, 3, Reason.CPU_BUDGET),
        (2.0, 0.4, 0, 0.85, 4, Reason.CPU_BUDGET),
        (2.0, 0.4, 0, 2.0, 10, Reason.CPU_BUDGET),
        (2.0, 0.4, 3, 1.0, 3, Reason.SESSION_CAP),
        (2.0, 0.4, 6, 1.0, 5, Reason.CPU_BUDGET),
        (0.1, 0.4, 0, 0.85, 1, Reason.CPU_BUDGET),
    ],
)
def test_room(
    quota_cores: float,
    session_cores: float,
    max_sessions: int,
    share: float,
    room: int,
    reason: Reason,
) -> None:
    full = admission(quota_cores, session_cores, max_sessions, share)
    for _ in range(room):
        place(full.reserve(REFERENCE, 0.0))
    assert full.reserve(REFERENCE, 0.0) == Rejected(reason, MIN_RETRY_S)
    assert full.sessions == room


def test_smaller_sessions_find_more_room() -> None:
    full = admission(quota_cores=2.0)
    while isinstance(full.reserve(SMALL, 0.0), Admitted):
        pass
    assert full.sessions == 10  # of half the cost each


def test_what_is_released_is_free_again() -> None:
    full = admission(max_sessions=1)
    held = place(full.reserve(REFERENCE, 0.0))
    full.release(held)
    assert full.capacity_ratio == 0
    assert isinstance(full.reserve(REFERENCE, 0.0), Admitted)
    with pytest.raises(ValueError, match="not reserved"):
        full.release(held)


def test_draining_refuses_while_there_is_room() -> None:
    draining = admission()
    held = place(draining.reserve(REFERENCE, 0.0))
    assert not draining.draining
    draining.drain()
    assert draining.draining
    assert draining.reserve(REFERENCE, 1.0) == Rejected(Reason.DRAINING, MIN_RETRY_S)
    assert draining.capacity_ratio == 1
    draining.release(held)
    assert draining.sessions == 0


@pytest.mark.parametrize(("load", "short"), [(OVERLOAD_RATIO, False), (0.2, True)])
def test_an_overloaded_server_lets_nobody_in_beside_others(load: float, short: bool) -> None:
    one = admission(quota_cores=8.0)
    held = place(one.reserve(REFERENCE, 0.0))
    one.see(quota_cores=8.0, load_ratio=load, short=short)
    assert one.reserve(REFERENCE, 0.0) == Rejected(Reason.OVERLOADED, MIN_RETRY_S)
    assert one.capacity_ratio == 1
    one.see(quota_cores=8.0, load_ratio=0.2, short=False)
    assert isinstance(one.reserve(REFERENCE, 0.0), Admitted)
    # With nobody on it, what keeps the server busy is none of a session's doing.
    alone = admission()
    alone.see(quota_cores=1.2, load_ratio=load, short=short)
    assert isinstance(alone.reserve(REFERENCE, 0.0), Admitted)
    one.release(held)


def test_lowered_levels_are_no_obstacle_where_they_are_planned_for() -> None:
    crowded = admission(quota_cores=2.0, planned_share=1.5)
    place(crowded.reserve(REFERENCE, 0.0))
    crowded.see(quota_cores=2.0, load_ratio=0.9, short=True)
    assert isinstance(crowded.reserve(REFERENCE, 0.0), Admitted)
    crowded.see(quota_cores=2.0, load_ratio=0.99, short=True)
    assert isinstance(crowded.reserve(REFERENCE, 0.0), Rejected)


def test_a_quota_that_shrinks_sends_nobody_away_and_lets_nobody_in() -> None:
    one = admission(quota_cores=1.2)
    places = [place(one.reserve(REFERENCE, 0.0)) for _ in range(3)]
    one.see(quota_cores=0.6, load_ratio=0.5, short=False)
    assert (one.sessions, one.capacity_ratio) == (3, 1)
    one.release(places.pop())
    one.release(places.pop())
    assert isinstance(one.reserve(REFERENCE, 0.0), Rejected)  # 0.4 and 0.4 of 0.6
    one.see(quota_cores=1.2, load_ratio=0.5, short=False)
    assert isinstance(one.reserve(REFERENCE, 0.0), Admitted)


def test_a_reservation_stays_whole_until_frames_come_then_shrinks_slowly() -> None:
    one = admission()
    held = place(one.reserve(REFERENCE, 0.0))
    small_cores = CostModel(0.4).cores(SMALL)
    one.resize(held, [], 30.0)
    assert one.reserved_cores == pytest.approx(0.4)
    one.resize(held, [SMALL], 40.0)
    assert one.reserved_cores == pytest.approx(0.4), "nothing is given back at the first frame"
    one.resize(held, [SMALL], 40.0 + SHRINK_TIME_S)
    assert one.reserved_cores == pytest.approx(small_cores + (0.4 - small_cores) / math.e)
    one.resize(held, [SMALL], 1000.0)
    assert one.reserved_cores == pytest.approx(small_cores)
    one.resize(held, [], 1001.0)
    assert one.reserved_cores == pytest.approx(small_cores), "a pause gives nothing back"


def test_a_reservation_grows_at_once_beyond_what_was_asked_for() -> None:
    one = admission()
    held = place(one.reserve(SMALL, 0.0))
    one.resize(held, [REFERENCE, REFERENCE], 1.0)
    assert one.reserved_cores == pytest.approx(0.8)
    one.resize(held, [REFERENCE] * 9, 1.5)
    assert one.capacity_ratio == 1


def test_what_was_learned_makes_room() -> None:
    cost = CostModel(0.4)
    one = Admission(quota_cores=1.2, cost=cost, planned_share=1.0)
    for _ in range(3):
        place(one.reserve(REFERENCE, 0.0))
    assert isinstance(one.reserve(REFERENCE, 0.0), Rejected)
    for _ in range(200):  # frames turn out to cost half
        spent = [Spent(REFERENCE_PIXELS, 60, 60 * 0.2 / 30)] * 3
        cost.learn(spent, process_cpu_s=3 * 60 * 0.2 / 30, elapsed_s=2.0)
    for number in (1, 2, 3):
        one.resize(number, [REFERENCE], 0.0)
        one.resize(number, [REFERENCE], 100.0)
    assert one.capacity_ratio == pytest.approx(0.5, abs=0.03)
    assert isinstance(one.reserve(REFERENCE, 100.0), Admitted)


def test_a_refused_crowd_is_spread_out_and_the_wait_bounded() -> None:
    full = admission(max_sessions=1)
    full.reserve(REFERENCE, 0.0)

    def waits_s(now: float, count: int) -> list[int]:
        decisions = [full.reserve(REFERENCE, now) for _ in range(count)]
        return [each.retry_after_s for each in decisions if isinstance(each, Rejected)]

    assert waits_s(0.0, 3) == [5, 6, 7]
    assert max(waits_s(1.0, 500)) == MAX_RETRY_S
    assert waits_s(100.0, 1) == [MIN_RETRY_S]


@pytest.mark.parametrize(
    ("quota_cores", "max_sessions", "share"), [(0, 0, 0.85), (1, -1, 0.85), (1, 0, 0)]
)
def test_impossible_limits(quota_cores: float, max_sessions: int, share: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        admission(quota_cores, 0.4, max_sessions, share)


def test_what_is_free_is_what_another_one_may_reserve() -> None:
    full = admission(quota_cores=1.2, max_sessions=3)
    assert full.free_cores == pytest.approx(1.2)
    assert full.expected_cores(REFERENCE) == pytest.approx(0.4)
    first = place(full.reserve(REFERENCE, 0))
    full.reserve(SMALL, 0)
    assert full.free_cores == pytest.approx(0.8 - full.expected_cores(SMALL))
    full.see(quota_cores=1.2, load_ratio=OVERLOAD_RATIO, short=False)
    assert full.free_cores == 0, "overloaded"
    full.see(quota_cores=0.3, load_ratio=0, short=False)
    assert full.free_cores == 0, "less than is reserved"
    full.see(quota_cores=9, load_ratio=0, short=False)
    place(full.reserve(SMALL, 0))
    assert full.free_cores == 0, "the cap is reached"
    full.release(first)
    assert full.free_cores > 8
    full.drain()
    assert full.free_cores == 0


@given(
    st.floats(0.05, 64),
    st.floats(0.02, 4),
    st.floats(0.1, 1),
    st.lists(demands, min_size=1, max_size=100),
)
def test_a_burst_is_never_sold_more_than_there_is(
    quota_cores: float, session_cores: float, share: float, asked: list[Demand]
) -> None:
    one = admission(quota_cores, session_cores, planned_share=share)
    cost = CostModel(session_cores)
    sold: list[float] = []
    for demand in asked:
        fits = not sold or sum(sold) + cost.cores(demand) <= quota_cores * share + 1e-6
        if isinstance(one.reserve(demand, 0.0), Admitted):
            assert fits
            sold.append(cost.cores(demand))
    assert sum(sold) <= max(quota_cores * share + 1e-6, sold[0])
    assert one.reserved_cores == pytest.approx(sum(sold))


@given(st.floats(0.01, 64), st.floats(0.01, 64), st.floats(0.01, 4))
def test_more_quota_never_means_less_room(first: float, second: float, cost: float) -> None:
    rooms = []
    for quota_cores in sorted((first, second)):
        one = admission(quota_cores, cost, max_sessions=200)
        while isinstance(one.reserve(REFERENCE, 0.0), Admitted):
            pass
        rooms.append(one.sessions)
    assert rooms[0] <= rooms[1]


def test_viewers_share_the_budget_and_are_no_sessions() -> None:
    full = admission(quota_cores=1.0, session_cores=0.4, max_sessions=1)
    session = place(full.reserve(REFERENCE, 0.0))
    assert full.reserve(REFERENCE, 0.0) == Rejected(Reason.SESSION_CAP, MIN_RETRY_S)
    held = []
    while isinstance(decision := full.reserve_viewer(REFERENCE, 0.0), Admitted):
        held.append(decision.place)
    # Encoding is half of what a frame costs by the pixel: 0.136 of the reference's 0.4 cores.
    assert len(held) == full.viewers == 4
    assert decision.reason is Reason.CPU_BUDGET
    assert full.sessions == 1
    assert full.reserved_cores == pytest.approx(0.4 + 4 * 0.136)
    full.release(held[0])
    assert place(full.reserve_viewer(SMALL, 0.0)) not in held
    full.see(quota_cores=1.0, load_ratio=OVERLOAD_RATIO, short=False)
    refused = full.reserve_viewer(SMALL, 0.0)
    assert isinstance(refused, Rejected)
    assert refused.reason is Reason.OVERLOADED
    full.release(session)
    full.drain()
    assert full.reserve_viewer(SMALL, 0.0) == Rejected(Reason.DRAINING, MIN_RETRY_S)


class AnyLife(RuleBasedStateMachine):
    """Sessions come, change and go in any order, under any quota."""

    places = Bundle("places")

    def __init__(self) -> None:
        super().__init__()
        self.cost = CostModel(0.4)
        self.admission = Admission(quota_cores=2.0, cost=self.cost, max_sessions=12)
        self.expected: dict[int, float] = {}
        self.now_s = 0.0

    @rule(target=places, demand=demands)
    def ask(self, demand: Demand) -> int:
        before = self.admission.reserved_cores
        decision = self.admission.reserve(demand, self.now_s)
        if isinstance(decision, Rejected):
            assert self.admission.reserved_cores == before
            return 0
        assert decision.place not in self.expected
        taken = self.admission.reserved_cores - before
        assert taken == pytest.approx(self.cost.cores(demand))
        self.expected[decision.place] = taken
        return decision.place

    @rule(held=consumes(places))
    def leave(self, held: int) -> None:
        if held:
            before = self.admission.reserved_cores
            self.admission.release(held)
            given_back = before - self.admission.reserved_cores
            assert given_back == pytest.approx(self.expected.pop(held), abs=1e-9)

    @rule(held=places, tracks=st.lists(demands, max_size=3), after_s=st.floats(0, 30))
    def show(self, held: int, tracks: list[Demand], after_s: float) -> None:
        self.now_s += after_s
        if held in self.expected:
            before = self.admission.reserved_cores
            self.admission.resize(held, tracks, self.now_s)
            self.expected[held] += self.admission.reserved_cores - before
            if tracks:
                least = sum(self.cost.cores(track) for track in tracks)
                assert self.expected[held] >= least - 1e-6

    @rule(quota=st.floats(0, 8), load=st.floats(0, 2), short=st.booleans())
    def see(self, quota: float, load: float, short: bool) -> None:
        self.admission.see(quota_cores=quota, load_ratio=load, short=short)

    @rule(cpu_s=st.floats(0, 10), pixels=st.integers(1, 1920 * 1920))
    def learn(self, cpu_s: float, pixels: int) -> None:
        self.cost.learn([Spent(pixels, 60, cpu_s)], process_cpu_s=cpu_s, elapsed_s=2.0)

    @invariant()
    def holds(self) -> None:
        assert 0 <= self.admission.capacity_ratio <= 1
        assert self.admission.sessions == len(self.expected) <= 12
        assert self.admission.reserved_cores == pytest.approx(sum(self.expected.values()))


TestAnyLife = AnyLife.TestCase
