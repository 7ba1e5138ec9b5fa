"""Arrivals: as many as asked, in order, the same for the same seed."""

from __future__ import annotations

import statistics
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.profiles import Arrival, AtOnce, Poisson, Ramp, within


def test_at_once() -> None:
    assert within(AtOnce(3), None) == tuple(Arrival(n, 0.0, None) for n in range(3))
    assert str(AtOnce(3)) == "3 at once"


def test_ramp() -> None:
    assert [one.at_s for one in within(Ramp(4, 0.5), None)] == [0.0, 0.5, 1.0, 1.5]
    assert str(Ramp(4, 0.5)) == "4, one every 0.5 s"


def test_nobody_comes_after_the_end() -> None:
    assert [one.number for one in within(Ramp(10, 1.0), 3.0)] == [0, 1, 2]


@given(seed=st.integers(0, 1000), rate=st.floats(0.01, 10), stay_s=st.floats(0.1, 600))
def test_poisson_is_in_order_and_repeats(seed: int, rate: float, stay_s: float) -> None:
    one = Poisson(rate, stay_s, seed, 50)
    found = within(one, None)
    assert found == within(one, None)
    assert [arrival.number for arrival in found] == list(range(50))
    assert all(a.at_s < b.at_s for a, b in pairwise(found))
    assert all(arrival.stay_s is not None and arrival.stay_s > 0 for arrival in found)


def test_poisson_has_the_means_it_was_asked_for() -> None:
    found = list(islice(Poisson(2.0, 30.0, 1, None).arrivals(), 20_000))
    pauses = [b.at_s - a.at_s for a, b in pairwise(found)]
    stays = [one.stay_s or 0.0 for one in found]
    assert statistics.mean(pauses) == pytest.approx(0.5, rel=0.03)
    assert statistics.stdev(pauses) == pytest.approx(0.5, rel=0.05)  # as of an exponential
    assert statistics.mean(stays) == pytest.approx(30.0, rel=0.03)


def test_another_seed_is_another_day() -> None:
    assert within(Poisson(1.0, 10.0, 1, 5), None) != within(Poisson(1.0, 10.0, 2, 5), None)


def test_poisson_ends_somewhere() -> None:
    endless = Poisson(5.0, 1.0, 1, None)
    found = within(endless, 10.0)
    assert 20 < len(found) < 100
    assert found[-1].at_s < 10.0
    with pytest.raises(ValueError, match="number of sessions or of seconds"):
        within(endless, None)
