"""Bitrates with hysteresis and keyframes at a bounded rate; time is a literal."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from service.rtc.bitrate import (
    KEYFRAME_PAUSE_S,
    LONGEST_RAISE_PAUSE_S,
    LOWER_PAUSE_S,
    MAX_BITRATE_BPS,
    MIN_BITRATE_BPS,
    RAISE_PAUSE_S,
    BitrateControl,
    KeyframeRequests,
    talking_head_bps,
)


def test_a_talking_head_starts_with_what_it_needs() -> None:
    assert 700_000 <= talking_head_bps(640, 360) <= 900_000
    assert 1_800_000 <= talking_head_bps(1280, 720) <= 2_200_000
    assert talking_head_bps(3840, 2160) == MAX_BITRATE_BPS


def full_path(control: BitrateControl, sent_bps: int, estimate_bps: int, now_s: float) -> None:
    """The receiver estimates that while this much was sent in the last second."""
    for step in range(10):
        control.sent(sent_bps // 80, now_s=now_s - 0.9 + step * 0.1)
    control.estimate(estimate_bps, now_s=now_s)


def test_a_full_path_lowers_it_and_small_changes_do_nothing() -> None:
    control = BitrateControl()
    start = control.choose(640, 360, now_s=0.0)
    full_path(control, start, int(start * 0.9), 10.0)
    assert control.choose(640, 360, now_s=10.0) == start
    full_path(control, start, 400_000, 20.0)
    assert control.choose(640, 360, now_s=20.0) == 400_000


def test_a_calm_picture_does_not_talk_its_bitrate_down() -> None:
    """An estimate is bounded by what was sent: far above that it says nothing of the path."""
    control = BitrateControl()
    start = control.choose(640, 360, now_s=0.0)
    full_path(control, 150_000, 225_000, 10.0)
    assert control.choose(640, 360, now_s=10.0) == start


def test_it_comes_back_by_steps_with_pauses_and_arrives() -> None:
    control = BitrateControl()
    start = control.choose(640, 360, now_s=0.0)
    full_path(control, start, 300_000, 2.0)
    assert control.choose(640, 360, now_s=LOWER_PAUSE_S / 2) == start
    assert control.choose(640, 360, now_s=2.0) == 300_000
    control.estimate(10_000_000, now_s=3.0)
    assert control.choose(640, 360, now_s=2.0 + RAISE_PAUSE_S / 2) == 300_000
    assert control.choose(640, 360, now_s=2.0 + RAISE_PAUSE_S) == 450_000
    later = [control.choose(640, 360, now_s=20.0 + n * RAISE_PAUSE_S) for n in range(3)]
    assert later == [675_000, start, start]


def test_a_path_that_never_bears_more_is_tried_ever_more_seldom() -> None:
    """The receiver holds its estimate; the picture sends less than it may."""
    control = BitrateControl()
    last, changes_s = control.choose(1280, 720, now_s=0.0), []
    for second in range(1, 600):
        full_path(control, int(0.7 * last), 1_500_000, float(second))
        chosen = control.choose(1280, 720, now_s=float(second))
        changes_s += [second] if chosen > last else []
        last = chosen
    waits_s = [after - before for before, after in itertools.pairwise(changes_s)]
    assert waits_s[0] < 3 * RAISE_PAUSE_S
    assert waits_s[-1] >= LONGEST_RAISE_PAUSE_S
    assert waits_s == sorted(waits_s)


def test_another_size_takes_its_own_rate_at_once() -> None:
    control = BitrateControl()
    control.choose(640, 360, now_s=0.0)
    assert control.choose(1280, 720, now_s=0.01) == talking_head_bps(1280, 720)


@given(
    st.lists(
        st.tuples(st.integers(0, 10**7), st.integers(0, 10**6), st.floats(0.001, 1.0)),
        max_size=200,
    )
)
def test_it_never_flaps(steps: list[tuple[int, int, float]]) -> None:
    control = BitrateControl()
    now_s, changes, last = 0.0, 0, control.choose(640, 360, now_s=0.0)
    for estimate_bps, sent_bytes, passed_s in steps:
        now_s += passed_s
        control.sent(sent_bytes, now_s=now_s)
        control.estimate(estimate_bps, now_s=now_s)
        chosen = control.choose(640, 360, now_s=now_s)
        assert MIN_BITRATE_BPS <= chosen <= MAX_BITRATE_BPS
        changes += chosen != last
        last = chosen
    assert changes <= now_s / LOWER_PAUSE_S + 1


def test_a_flood_of_picture_loss_makes_few_keyframes() -> None:
    requests = KeyframeRequests()
    made = 0
    for step in range(1000):
        requests.ask()
        made += requests.due(now_s=step * 0.01)
    assert made <= 10 / KEYFRAME_PAUSE_S + 1


def test_a_request_inside_the_pause_is_kept() -> None:
    requests = KeyframeRequests()
    requests.ask()
    assert requests.due(now_s=0.0)
    requests.ask()
    assert not requests.due(now_s=KEYFRAME_PAUSE_S / 2)
    assert requests.due(now_s=KEYFRAME_PAUSE_S)
    assert not requests.due(now_s=10.0)
