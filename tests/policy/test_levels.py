"""The levels themselves: each saves what the one above it does, and what they save is learned."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.policy.levels import EFFORTS, FULL_EFFORT, LADDER, LEAST_RATIO, Level, Savings
from service.settings import Settings, load

PAGE = Path(__file__).parents[2] / "service" / "web" / "page" / "texts.js"


def test_each_level_does_no_more_than_the_one_above_it() -> None:
    for above, below in pairwise(EFFORTS[level] for level in LADDER):
        assert below != above
        assert below.every >= above.every
        assert below.scale <= above.scale
        assert below.fewer >= above.fewer
        assert below.background >= above.background
    assert [level.step for level in LADDER] == list(range(len(LADDER)))


@pytest.mark.parametrize(("session_fps", "fps"), [(60, 15), (30, 15), (24, 12), (1, 0.5)])
def test_fewer_frames(session_fps: int, fps: float) -> None:
    assert FULL_EFFORT.max_fps(session_fps) == session_fps
    assert EFFORTS[Level.FEWER].max_fps(session_fps) == fps


def test_the_setting_and_the_page_know_every_level() -> None:
    for level in LADDER:
        assert load({"BACKCLOTH_LOWEST_QUALITY": level.value}).lowest_quality == level.value
    (field,) = [one for one in dataclasses.fields(Settings) if one.name == "lowest_quality"]
    assert field.metadata["limits"] == ", ".join(level.value for level in LADDER)
    words = PAGE.read_text().partition("lowered: {")[2].partition("}")[0]
    assert [line.partition(":")[0].strip() for line in words.splitlines() if ":" in line] == [
        level.value for level in LADDER[1:]
    ]


steps = st.integers(0, len(LADDER) - 1)


@given(steps, steps, st.booleans())
def test_there_and_back_costs_the_same(before: int, after: int, effect: bool) -> None:
    savings = Savings()
    there = savings.ratio(before, after, effect=effect)
    assert there * savings.ratio(after, before, effect=effect) == pytest.approx(1)
    assert (there <= 1) == (after >= before) or there == 1


@given(steps, steps, st.floats(0.0, 3.0))
def test_what_is_seen_is_learned_in_time(before: int, after: int, seen: float) -> None:
    savings = Savings()
    down = seen if after >= before else 1 / max(seen, 1e-6)
    for _ in range(80):
        savings.learn(before, after, seen)
    low, high = sorted((before, after))
    learned = savings.ratio(low, high, effect=True)
    assert LEAST_RATIO ** (high - low) - 1e-9 <= learned <= 1
    if before != after:
        # No level is taken to cost more than the one above it, nor next to nothing.
        possible = min(1.0, max(down, LEAST_RATIO ** (high - low)))
        assert learned == pytest.approx(possible, rel=0.35)
    for step in range(len(LADDER) - 1):
        if not low <= step < high:
            assert savings.ratio(step, step + 1, effect=True) == Savings().ratio(
                step, step + 1, effect=True
            )
