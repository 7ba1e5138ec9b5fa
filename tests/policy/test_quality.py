"""The levels of all sessions: they react in time, are fair, never flap and always recover."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.policy import ladder, strain
from service.policy.levels import LADDER, Level
from service.policy.quality import Quality
from service.policy.strain import Readings, Work
from tests.policy.plant import LOWEST_STEP, TICK_S, Plant

REACTION_S = 2.0
RECOVERY_S = ladder.LONGEST_PAUSE_S + 90.0
"""The longest pause after a step up that failed, and the way up."""


def plant(sessions: int = 4, cores: float = 0.2, **rest: object) -> Plant:
    names = [f"s{number}" for number in range(sessions)]
    lowest = rest.pop("lowest", Level.BACKGROUND)
    assert isinstance(lowest, Level)
    return Plant(Quality(lowest), dict.fromkeys(names, cores), **rest)  # type: ignore[arg-type]


ratios = st.tuples(*(st.floats(0.55, 1.0) for _ in range(LOWEST_STEP)))
"""What a level saves is at most 45 %, and may be nothing at all."""
plants = st.builds(
    plant,
    sessions=st.integers(1, 12),
    cores=st.floats(0.02, 0.3),
    ratios=ratios,
    noise=st.floats(0.0, 0.1),
    seed=st.integers(0, 1 << 16),
    other_cores=st.floats(0.0, 0.1),
)


# The levels that a change of the quota leads to.


def test_a_full_load_whose_quota_is_halved_and_returns() -> None:
    full = plant()
    assert full.run(20) == []
    full.quota_cores = 0.5
    halved_s = full.now_s
    lowered = full.run(30)
    assert lowered[0][0] <= halved_s + 1.0
    assert all(change.lowered for _, change in lowered)
    assert lowered[-1][0] <= halved_s + REACTION_S
    assert full.needed() <= 0.5
    assert {full.level(name) for name in full.cores} <= {Level.SMALLER, Level.FEWER}
    full.quota_cores = 1.0
    back_s = full.now_s
    raised = full.run(60)
    assert not any(change.lowered for _, change in raised)
    assert full.steps() == [0, 0, 0, 0]
    assert raised[-1][0] <= back_s + 20.0


@given(
    sessions=st.integers(1, 16),
    load=st.floats(0.8, 0.93),
    share=st.floats(0.25, 0.6),
    noise=st.floats(0.0, 0.1),
    seed=st.integers(0, 1 << 16),
)
def test_steps_go_down_within_two_seconds(
    sessions: int, load: float, share: float, noise: float, seed: int
) -> None:
    full = plant(sessions, (load - 0.05) / sessions, noise=noise, seed=seed, quota_cores=1.0)
    full.run(10)
    before = full.steps()
    full.quota_cores = share
    at_s = full.now_s
    changes = full.run(REACTION_S)
    assert changes
    assert changes[0][0] - at_s <= REACTION_S
    assert all(now >= then for now, then in zip(full.steps(), before, strict=True))
    assert sum(full.steps()) > sum(before)
    # Nobody is hidden by the first decision, however large the lack.
    first_s = changes[0][0]
    assert all(c.after is not Level.BACKGROUND for at, c in changes if at == first_s)


def test_another_process_that_takes_the_cores_is_noticed_by_lateness_alone() -> None:
    crowded = plant(quota_cores=2.0, noise=0.05)
    assert crowded.run(20) == []
    crowded.thief_cores = 1.5
    at_s = crowded.now_s
    changes = crowded.run(30)
    assert changes
    assert changes[0][0] - at_s <= REACTION_S
    assert (1 - strain.LOSING) * crowded.needed() <= 0.5
    crowded.thief_cores = 0.0
    crowded.run(RECOVERY_S)
    assert crowded.steps() == [0, 0, 0, 0]


def test_a_lack_that_costs_few_frames_does_not_cost_half_of_them() -> None:
    # Everybody at `smaller` takes 0.98 of the quota, and by chance more now and then.
    full = plant(cores=0.29, quota_cores=0.85, noise=0.1)
    full.run(60)
    assert max(full.steps()) == Level.SMALLER.step
    assert full.needed() > 0.95 * full.quota_cores
    full.quota_cores = 0.6
    full.run(4)
    assert max(full.steps()) == Level.FEWER.step


def test_a_load_that_fits_changes_nothing() -> None:
    fits = plant(cores=0.2, quota_cores=1.0, noise=0.1)
    assert fits.run(600) == []


def test_one_bad_moment_changes_nothing() -> None:
    calm = plant(cores=0.1)
    calm.run(10)
    calm.thief_cores = 2.0
    calm.run(TICK_S)
    calm.thief_cores = 0.0
    assert calm.changes == []
    assert calm.run(10) == []


@pytest.mark.parametrize("lowest", LADDER)
def test_no_session_goes_below_the_lowest_level(lowest: Level) -> None:
    crushed = plant(lowest=lowest, quota_cores=0.1)
    crushed.run(20)
    assert crushed.steps() == [lowest.step] * 4


# Fairness.


@given(plants, st.lists(st.tuples(st.floats(0.1, 3.0), st.integers(1, 60)), max_size=8))
@settings(deadline=None)
def test_steps_differ_by_one_at_most(any_plant: Plant, trace: list[tuple[float, int]]) -> None:
    # No session is too much for a thread of its own here: those have a ladder to themselves.
    for quota_cores, ticks in trace:
        any_plant.quota_cores = quota_cores
        any_plant.run(ticks * TICK_S)
    assert any_plant.widest <= 1


def test_a_newcomer_begins_with_those_who_have_least() -> None:
    full = plant(quota_cores=0.4)
    full.run(10)
    lowest = max(full.steps())
    assert lowest > 0
    full.cores["late"] = 0.2
    full.run(TICK_S)
    assert full.level("late").step >= lowest
    del full.cores["late"]
    full.run(TICK_S)
    assert full.level("late") is Level.FULL  # nothing is kept of who has left
    assert sum(full.quality.counts().values()) == 4


# It never flaps.


@given(plants, st.floats(0.1, 3.0))
@example(plant(noise=0.1, ratios=(1.0, 1.0, 1.0, 1.0, 1.0)), 0.8)
@example(plant(4, 0.3, noise=0.1, ratios=(0.55,) * 5), 1.0)
@settings(deadline=None, max_examples=25)
def test_under_a_constant_load_changes_are_few_and_get_rarer(
    any_plant: Plant, quota_cores: float
) -> None:
    any_plant.quota_cores = quota_cores
    any_plant.run(300)
    sessions = len(any_plant.cores)
    # To the bottom, and tries after pauses of 8, 16, 32, 64 and 128 s, of a few steps up and down.
    assert len(any_plant.changes) <= 40 * sessions
    later = any_plant.run(600)
    tries = 600 / ladder.LONGEST_PAUSE_S + 2
    assert len(later) <= 6 * tries * sessions


# It always recovers.


@given(
    plants,
    st.lists(st.tuples(st.floats(0.05, 3.0), st.floats(0.0, 2.0), st.integers(1, 80)), max_size=8),
)
@settings(deadline=None, max_examples=40)
def test_when_the_load_is_gone_every_session_is_back_at_full(
    any_plant: Plant, trace: list[tuple[float, float, int]]
) -> None:
    for quota_cores, thief_cores, ticks in trace:
        any_plant.quota_cores, any_plant.thief_cores = quota_cores, thief_cores
        any_plant.run(ticks * TICK_S)
    any_plant.quota_cores, any_plant.thief_cores = 8.0, 0.0
    any_plant.run(RECOVERY_S)
    assert set(any_plant.steps()) == {0}
    assert not any_plant.quality.short


def test_a_quota_that_returns_ends_the_pause_after_a_failed_step() -> None:
    # Every step up fails: the levels save far more than is expected of them.
    misjudged = plant(noise=0.0, ratios=(0.55,) * 5, quota_cores=0.6)
    misjudged.run(300)
    misjudged.quota_cores = 2.0
    misjudged.run(25)
    assert misjudged.steps() == [0, 0, 0, 0]


# More of a lack never leads to less of an answer.


@given(plants, st.floats(0.2, 1.5), st.integers(4, 80), st.floats(1.0, 3.0))
@settings(deadline=None)
def test_the_answer_grows_with_the_need(
    any_plant: Plant, quota_cores: float, ticks: int, factor: float
) -> None:
    one, other = (
        Plant(
            Quality(),
            dict(any_plant.cores),
            quota_cores=quota_cores,
            ratios=any_plant.ratios,
            noise=any_plant.noise,
            seed=any_plant.seed,
        )
        for _ in range(2)
    )
    one.run(ticks * TICK_S)
    other.run(ticks * TICK_S)
    assert one.steps() == other.steps()
    other.cores = {name: factor * cores for name, cores in other.cores.items()}
    one.run(TICK_S)
    other.run(TICK_S)
    assert sum(other.steps()) >= sum(one.steps())


# One session that is too much for its own thread.


def test_a_session_that_one_thread_cannot_carry_goes_down_alone() -> None:
    mixed = plant(3, 0.1, quota_cores=8.0)
    mixed.cores["large"] = 1.5
    mixed.run(20)
    assert mixed.level("large").step > 0
    assert [mixed.level(f"s{number}") for number in range(3)] == [Level.FULL] * 3
    assert not mixed.quality.short
    mixed.cores["large"] = 0.3
    mixed.run(RECOVERY_S)
    assert mixed.level("large") is Level.FULL


# A relay has no model to spare.


def test_a_relay_goes_straight_to_what_helps() -> None:
    relays = plant(effect=False, quota_cores=0.5)
    readings = relays.readings()
    for _ in range(40):
        relays.quality.tick(readings)
        readings = relays.readings()
    assert min(relays.steps()) >= Level.FEWER.step


# Readings that are hardly any.


def test_no_sessions_and_sessions_without_frames() -> None:
    quality = Quality()
    for tick in range(1, 9):
        sessions = {"idle": Work()} if tick > 4 else {}
        assert (
            quality.tick(
                Readings(
                    now_s=tick * TICK_S,
                    span_s=TICK_S,
                    quota_cores=1.0,
                    used_s=0.01,
                    throttled_s=0.0,
                    lag_s=0.0,
                    sessions=sessions,
                )
            )
            == []
        )
    assert quality.counts()[Level.FULL] == 1


def test_changes_tell_where_from_and_where_to() -> None:
    full = plant(1, 0.6, quota_cores=0.3)
    full.run(10)
    full.quota_cores = 2.0
    full.run(60)
    levels = [(change.before, change.after) for _, change in full.changes]
    assert levels[0][0] is Level.FULL
    assert levels[-1][1] is Level.FULL
    assert all(one[1] is next_one[0] for one, next_one in pairwise(levels))
