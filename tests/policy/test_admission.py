"""Admission: places are never oversold, and whoever is refused hears why and for how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.policy.admission import (
    MAX_RETRY_S,
    MIN_RETRY_S,
    Admission,
    Admitted,
    Reason,
    Rejected,
)


def admission(
    quota_cores: float = 1.2, session_cost_cores: float = 0.4, max_sessions: int = 0
) -> Admission:
    return Admission(
        quota_cores=quota_cores,
        session_cost_cores=session_cost_cores,
        max_sessions=max_sessions,
    )


@pytest.mark.parametrize(
    ("quota_cores", "cost_cores", "max_sessions", "places", "reason"),
    [
        (1.2, 0.4, 0, 3, Reason.CPU_BUDGET),
        (0.9, 0.3, 0, 3, Reason.CPU_BUDGET),
        (2.0, 0.4, 3, 3, Reason.SESSION_CAP),
        (2.0, 0.4, 5, 5, Reason.SESSION_CAP),
        (2.0, 0.4, 6, 5, Reason.CPU_BUDGET),
        (0.1, 0.4, 0, 1, Reason.CPU_BUDGET),
    ],
)
def test_places(
    quota_cores: float, cost_cores: float, max_sessions: int, places: int, reason: Reason
) -> None:
    full = admission(quota_cores, cost_cores, max_sessions)
    assert full.places == places
    assert [full.reserve(0.0) for _ in range(places)] == [Admitted()] * places
    assert full.capacity_ratio == 1
    assert full.reserve(0.0) == Rejected(reason, MIN_RETRY_S)
    assert full.reserved == places


def test_a_released_place_is_free_again() -> None:
    full = admission(max_sessions=1)
    full.reserve(0.0)
    full.release()
    assert full.capacity_ratio == 0
    assert full.reserve(0.0) == Admitted()


def test_a_place_that_nobody_has_cannot_be_released() -> None:
    with pytest.raises(ValueError, match="no place"):
        admission().release()


def test_draining_refuses_while_there_is_room() -> None:
    draining = admission()
    draining.reserve(0.0)
    draining.drain()
    assert draining.reserve(1.0) == Rejected(Reason.DRAINING, MIN_RETRY_S)
    assert draining.capacity_ratio == 1
    draining.release()
    assert draining.reserved == 0


def test_a_refused_crowd_is_spread_out_and_the_wait_bounded() -> None:
    full = admission(max_sessions=1)
    full.reserve(0.0)

    def waits_s(now: float, count: int) -> list[int]:
        decisions = [full.reserve(now) for _ in range(count)]
        return [each.retry_after_s for each in decisions if isinstance(each, Rejected)]

    assert waits_s(0.0, 3) == [5, 6, 7]
    assert max(waits_s(1.0, 500)) == MAX_RETRY_S
    assert waits_s(100.0, 1) == [MIN_RETRY_S]


@pytest.mark.parametrize(
    ("quota_cores", "cost_cores", "max_sessions"), [(0, 0.4, 0), (1, 0, 0), (1, 0.4, -1)]
)
def test_impossible_limits(quota_cores: float, cost_cores: float, max_sessions: int) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        admission(quota_cores, cost_cores, max_sessions)


@given(
    st.floats(0.01, 64),
    st.floats(0.01, 4),
    st.integers(0, 50),
    st.lists(st.booleans(), max_size=80),
)
def test_never_more_reserved_than_places(
    quota_cores: float, cost_cores: float, max_sessions: int, asks: list[bool]
) -> None:
    one = admission(quota_cores, cost_cores, max_sessions)
    for now, ask in enumerate(asks):
        before = one.reserved
        if ask:
            admitted = isinstance(one.reserve(float(now)), Admitted)
            assert one.reserved == before + admitted
            assert admitted == (before < one.places)
        elif before:
            one.release()
        assert 0 <= one.reserved <= one.places
        assert 0 <= one.capacity_ratio <= 1


@given(st.floats(0.01, 64), st.floats(0.01, 64), st.floats(0.01, 4))
def test_more_quota_never_means_fewer_places(first: float, second: float, cost: float) -> None:
    less, more = sorted((first, second))
    assert admission(less, cost).places <= admission(more, cost).places
