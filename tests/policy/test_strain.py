"""What counts as too little CPU: no sign by itself, and each beside another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.policy.strain import HIGH, LACKING, LATE_S, Readings, Strain, Work

TICK_S = 0.25
CALM = Work(received=8, taken=8, composed=8, cpu_s=0.08, waited_s=0.02, wall_s=0.09)
WAITING = replace(CALM, waited_s=0.17)
HELD_BACK = replace(CALM, waited_s=0.0, wall_s=0.25)
DROPPED = replace(CALM, overloaded=3)
QUIET = Readings(
    now_s=0.0,
    span_s=TICK_S,
    quota_cores=1.0,
    used_s=0.5 * TICK_S,
    throttled_s=0.0,
    lag_s=0.0,
    sessions={"a": CALM, "b": CALM},
)
FULL = replace(QUIET, used_s=0.99 * TICK_S)
THROTTLED = replace(QUIET, throttled_s=0.3 * TICK_S)
LATE = replace(QUIET, sessions={"a": WAITING, "b": WAITING})
SLOWED = replace(QUIET, sessions={"a": HELD_BACK, "b": HELD_BACK})
LAGGING = replace(QUIET, lag_s=0.3)
LOSING = replace(QUIET, sessions={"a": CALM, "b": DROPPED})
LOW, ENOUGH = 0.5, HIGH


def after(readings: Readings, *, ticks: int = 3) -> tuple[Strain, float]:
    """A strain that has seen nothing else, and the time then."""
    strain, now_s = Strain(), 10.0
    for _ in range(ticks):
        now_s += TICK_S
        strain.see(replace(readings, now_s=now_s))
    return strain, now_s


@pytest.mark.parametrize("sign", [FULL, THROTTLED])
def test_a_budget_that_is_used_up_needs_another_sign(sign: Readings) -> None:
    strain, now_s = after(sign, ticks=20)
    assert strain.saturated
    assert not strain.late
    assert not strain.overloaded(LOW, now_s)
    assert strain.overloaded(ENOUGH, now_s)


@pytest.mark.parametrize("sign", [LATE, SLOWED, LAGGING, LOSING])
def test_lateness_needs_another_sign_or_to_last(sign: Readings) -> None:
    strain, now_s = after(sign)
    assert strain.late
    assert not strain.saturated
    assert not strain.overloaded(LOW, now_s)
    assert strain.overloaded(ENOUGH, now_s)
    assert strain.overloaded(LOW, now_s + LATE_S)
    both, now_s = after(replace(sign, used_s=FULL.used_s))
    assert both.overloaded(LOW, now_s)


def test_lateness_that_ended_does_not_count_on() -> None:
    strain, now_s = after(LATE)
    for _ in range(8):
        now_s += TICK_S
        strain.see(replace(QUIET, now_s=now_s))
    assert not strain.late
    assert not strain.overloaded(LOW, now_s + LATE_S)


@pytest.mark.parametrize("need", [LOW, ENOUGH, 3.0])
def test_a_need_alone_is_no_overload(need: float) -> None:
    strain, now_s = after(QUIET, ticks=20)
    assert not strain.overloaded(need, now_s)


def test_one_long_moment_among_quiet_ones_is_no_lateness() -> None:
    strain, now_s = after(QUIET)
    strain.see(replace(LATE, now_s=now_s + TICK_S))
    assert not strain.late


def test_a_session_that_fills_its_thread_by_itself_waits_for_nobody() -> None:
    busy = Work(received=8, taken=8, composed=8, cpu_s=0.24, waited_s=0.001, wall_s=0.241)
    strain, now_s = after(replace(QUIET, sessions={"a": busy}), ticks=20)
    assert not strain.late
    assert not strain.overloaded(LOW, now_s)


def test_sessions_without_frames_say_nothing() -> None:
    strain, now_s = after(replace(QUIET, sessions={"a": Work(), "b": Work()}))
    assert not strain.late
    assert not strain.overloaded(3.0, now_s)


def test_the_frames_of_two_cameras_add_up() -> None:
    one = Work(received=8, taken=8, composed=6, merged=2, cpu_s=0.06, decode_cpu_s=0.02)
    two = Work(received=4, taken=4, composed=4, cpu_s=0.02, effect=False)
    both = one.and_also(two)
    assert (both.received, both.composed, both.merged, both.effect) == (12, 10, 2, True)
    rest = both.since(one)
    assert (rest.received, rest.taken, rest.composed, rest.merged) == (4, 4, 4, 0)
    assert rest.cpu_s == pytest.approx(0.02)
    # What was passed over would have cost as much as what was not: 2 more of 0.04 s / 6.
    assert one.frame_cpu_s == pytest.approx((0.06 + 2 * 0.04 / 6) / 8)
    assert Work().frame_cpu_s is None


MERGING = replace(QUIET, sessions={"a": CALM, "b": replace(CALM, merged=2, composed=6)})
"""An eighth of all frames is passed over."""


def test_frames_are_being_lost_where_the_figures_say_why_or_where_it_lasts() -> None:
    strain, _ = after(MERGING, ticks=8)
    assert strain.losing(LACKING)
    assert not strain.losing(ENOUGH)
    lasting = Strain()
    for _ in range(8):
        lasting.see(QUIET)
    for _ in range(8):
        lasting.see(MERGING)
    assert not lasting.losing(ENOUGH), "a moment's peak"
    for _ in range(40):
        lasting.see(MERGING)
    assert lasting.losing(ENOUGH)


@pytest.mark.parametrize(("sign", "losing"), [(FULL, False), (LATE, False), (LAGGING, True)])
def test_frames_that_wait_a_little_are_not_lost(sign: Readings, losing: bool) -> None:
    strain, _ = after(sign, ticks=20)
    assert strain.losing(3.0) is losing


def test_what_was_lost_before_steps_went_down_is_forgotten() -> None:
    strain, _ = after(MERGING, ticks=40)
    strain.lowered()
    assert not strain.losing(3.0)
    strain.see(QUIET)
    assert not strain.losing(3.0)
