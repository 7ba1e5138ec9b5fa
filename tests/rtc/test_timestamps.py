"""Presentation times grow, whatever the sender's clock does."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from service.rtc.timestamps import LONGEST_STEP_TICKS, NOMINAL_STEP_TICKS, TimestampMapper


def mapped(*timestamps: int) -> list[int]:
    mapper = TimestampMapper()
    return [mapper.map(timestamp) for timestamp in timestamps]


def test_distances_are_kept_through_a_wrap() -> None:
    assert mapped((1 << 32) - 3000, 0, 3000, 9000) == [0, 3000, 6000, 12000]


def test_a_step_back_stays_where_it_was() -> None:
    assert mapped(9000, 6000, 9000) == [0, 0, 3000]


def test_another_origin_is_one_frame_later() -> None:
    far = 5000 + LONGEST_STEP_TICKS + 1
    assert mapped(5000, far, far + 3000) == [0, NOMINAL_STEP_TICKS, NOMINAL_STEP_TICKS + 3000]


@given(st.lists(st.integers(0, (1 << 32) - 1), max_size=50))
def test_they_never_go_back_and_never_jump(timestamps: list[int]) -> None:
    times = [0, *mapped(*timestamps)]
    steps = [after - before for before, after in itertools.pairwise(times)]
    assert all(0 <= step <= LONGEST_STEP_TICKS for step in steps)
