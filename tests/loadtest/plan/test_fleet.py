"""The fleet: Erlang's formula where it holds, no session lost from the books, more room fewer
refusals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from loadtest.plan import fleet as plan
from loadtest.plan.autoscaler import Scaling
from loadtest.plan.calls import Calls, Traffic, calls
from loadtest.plan.fleet import LEAST_LOADED, PASSED_ON, Fleet, Outcome, simulate
from service.web import overflow

STEADY = Traffic(
    sessions=300, mean_stay_s=1800, meeting_share=0, day=((0.0, 1.0),), from_hour=0, hours=24
)


def erlang_b(servers: int, erlangs: float) -> float:
    """The share of calls that find all servers taken; lost calls are cleared (Erlang 1917)."""
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = erlangs * blocked / (number + erlangs * blocked)
    return blocked


@pytest.fixture(scope="module")
def steady() -> Calls:
    return calls(STEADY)


def lost(offered: Calls, *, pods: int, streams: int, tries: int) -> float:
    fleet = Fleet(pods=pods, streams=streams, tries=tries)
    return simulate(offered, fleet, None, counted_from_s=4 * 3600).lost_share


def test_erlang_b_of_the_whole_fleet(steady: Calls) -> None:
    """A front that knows which pods are empty makes one group of servers of them."""
    found = lost(steady, pods=70, streams=4, tries=LEAST_LOADED)
    assert found == pytest.approx(erlang_b(280, 300), rel=0.1)


@pytest.mark.parametrize(("pods", "streams"), [(100, 4), (50, 8)])
def test_erlang_b_of_each_pod(steady: Calls, pods: int, streams: int) -> None:
    """Drawn at random and asked once, each pod has a Poisson process of its own."""
    found = lost(steady, pods=pods, streams=streams, tries=1)
    assert found == pytest.approx(erlang_b(streams, 300 / pods), rel=0.05)


def test_pods_that_pass_calls_on_are_nearly_one_group(steady: Calls) -> None:
    """Asking the pods that are full does far better than asking one, and never better than a front
    that knows the emptiest."""
    by_chance, passed_on, emptiest = (
        lost(steady, pods=90, streams=4, tries=tries) for tries in (1, PASSED_ON, LEAST_LOADED)
    )
    assert emptiest <= passed_on < by_chance / 10


def test_pods_pass_calls_on_as_the_service_does() -> None:
    assert (plan.PASS_SAMPLE, plan.PASS_TRIES) == (overflow.MOST_ASKED, overflow.MOST_TRIED)


def test_the_formula_itself() -> None:
    assert erlang_b(1, 1.0) == 0.5
    assert erlang_b(10, 5.0) == pytest.approx(0.018385, abs=1e-6)


def balanced(found: Outcome) -> bool:
    there = found.there_before + found.offered - found.refused - found.cut - found.ended
    return there == found.there


@pytest.mark.parametrize("tries", [1, 3, PASSED_ON, LEAST_LOADED])
@pytest.mark.parametrize("target", [0.9, 0.6])
def test_no_session_is_lost_from_the_books(tries: int, target: float) -> None:
    """A day that goes up and down, so that pods are stopped and their sessions move."""
    scaling = Scaling(target=target, down_window_s=60, down_pods=5, down_period_s=30)
    offered = calls(Traffic(sessions=400, hours=16), step_s=15)
    fleet = Fleet(pods=4, streams=8, tries=tries)
    found = simulate(offered, fleet, scaling, counted_from_s=3600)
    assert balanced(found)
    assert found.moved > found.cut >= 0
    assert found.ended > 1000
    assert all(
        0 <= m.sessions <= m.ready * fleet.streams <= m.pods * fleet.streams for m in found.minutes
    )
    assert sum(m.refused for m in found.minutes) >= found.refused


def test_more_room_fewer_refusals_and_more_pods() -> None:
    offered = calls(Traffic(sessions=1000), step_s=15)
    fleet = Fleet(pods=10, streams=8, tries=3)
    found = [
        simulate(offered, fleet, Scaling(target=target), counted_from_s=3600)
        for target in (0.9, 0.75, 0.6, 0.45)
    ]
    shares = [one.lost_share for one in found]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.1 > 0.001 > shares[-1]
    hours = [one.pod_hours for one in found]
    assert hours == sorted(hours)


def test_pods_that_come_late_refuse_more() -> None:
    offered = calls(Traffic(sessions=1000), step_s=15)
    fleet = Fleet(pods=10, streams=8, tries=LEAST_LOADED)
    soon, late = (
        simulate(offered, fleet, Scaling(target=0.8, pod_start_s=start_s)).lost_share
        for start_s in (15, 300)
    )
    assert late > soon


def test_a_fleet_of_enough_pods_refuses_nobody_and_one_of_none_all() -> None:
    offered = calls(dataclasses.replace(STEADY, hours=2))
    roomy = simulate(offered, Fleet(pods=200, streams=8, tries=LEAST_LOADED), None)
    assert (roomy.refused, roomy.most_pods) == (0, 200)
    assert roomy.session_hours <= roomy.offered
    nobody = simulate(offered, Fleet(pods=0, streams=8, tries=3), None)
    assert nobody.refused == nobody.offered == np.count_nonzero(offered.start >= 0)
