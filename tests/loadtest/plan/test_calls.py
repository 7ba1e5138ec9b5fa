"""Calls: as many as asked, around the times that were asked, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.plan.calls import Traffic, calls, growth

STEADY = ((0.0, 1.0),)


def test_little_s_law() -> None:
    """On average rate times stay are there, whatever the kind of call."""
    for share in (0.0, 0.5, 1.0):
        traffic = Traffic(sessions=500, meeting_share=share, day=STEADY, hours=40, from_hour=0)
        found = calls(traffic, step_s=30)
        there = (found.end - found.start).sum() / found.steps
        assert there == pytest.approx(500, rel=0.06)


def test_they_come_in_order_and_stay() -> None:
    found = calls(Traffic(sessions=300))
    assert (np.diff(found.start) >= 0).all()
    assert (found.end > found.start).all()
    assert 0 <= found.start[0] <= found.start[-1] < found.steps
    again = calls(Traffic(sessions=300))
    assert np.array_equal(found.start, again.start)
    assert np.array_equal(found.end, again.end)
    assert not np.array_equal(
        found.start, calls(Traffic(sessions=300, seed=2)).start[: found.start.size]
    )


def test_meetings_begin_around_the_half_hour() -> None:
    traffic = Traffic(sessions=1000, meeting_share=1, day=STEADY, hours=10, from_hour=0)
    found = calls(traffic)
    from_slot_s = (found.start * found.step_s + 900) % 1800 - 900
    assert (np.abs(from_slot_s) < 4 * traffic.meeting_spread_s).mean() > 0.999
    left_s = (found.end * found.step_s + 900) % 1800 - 900
    assert (np.abs(left_s + 60) < 400).mean() > 0.99


def test_a_day_and_a_growth_are_followed() -> None:
    day = Traffic(sessions=1000, from_hour=0, hours=24, meeting_share=0)
    per_hour = np.bincount((calls(day).start * 10 // 3600).astype(int), minlength=24)
    assert per_hour[3] < 0.05 * per_hour[10]
    assert per_hour[12] < per_hour[10]
    grown = Traffic(sessions=1000, from_hour=0, hours=3, meeting_share=0, day=growth(1800))
    halves = np.bincount((calls(grown).start * 10 // 1800).astype(int), minlength=6)
    assert halves[1] == pytest.approx(0.1 * halves[4], rel=0.3)
    assert halves[3] == pytest.approx(halves[4], rel=0.15)


@pytest.mark.parametrize(
    "wrong",
    [
        Traffic(sessions=0),
        Traffic(sessions=1, meeting_share=2),
        Traffic(sessions=1, mean_stay_s=0),
    ],
)
def test_nobody_is_refused_as_a_load(wrong: Traffic) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        calls(wrong)
