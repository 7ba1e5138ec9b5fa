"""The cost model: it finds what frames cost, and nobody can drive it far."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.policy.cost import (
    BOUND,
    MIN_FRAMES,
    REFERENCE_PIXELS,
    CostModel,
    Demand,
    Spent,
)

SMALL = 640 * 360
LARGE = 1280 * 720
PRIOR_CORES = 0.4

anything = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-10, 10)


def model() -> CostModel:
    return CostModel(PRIOR_CORES)


def cores(cost: CostModel, pixels: int) -> float:
    return cost.cores(Demand(pixels, 30))


def teach(
    cost: CostModel, sizes: list[int], fixed_s: float, pixel_s: float, *, ticks: int, noise: float
) -> None:
    """Sessions of these sizes run at 30 fps for so many ticks of 2 s; a third of what a frame costs
    at any size is not in the tracks' own jobs."""
    chance = random.Random(7)
    for _ in range(ticks):
        spent, process_s = [], 0.0
        for pixels in sizes:
            frame_s = (fixed_s * 2 / 3 + pixel_s * pixels) * (1 + chance.uniform(-noise, noise))
            spent.append(Spent(pixels, 60, 60 * frame_s))
            process_s += 60 * (frame_s + fixed_s / 3)
        cost.learn(spent, process_cpu_s=process_s, elapsed_s=2.0)


def test_before_anything_is_known_the_prior_stands_for_the_reference_session() -> None:
    assert cores(model(), REFERENCE_PIXELS) == pytest.approx(PRIOR_CORES)
    assert model().cores(Demand(REFERENCE_PIXELS, 15)) == pytest.approx(PRIOR_CORES / 2)
    # A quarter of the pixels costs about half (docs/performance.md).
    assert cores(model(), SMALL) / PRIOR_CORES == pytest.approx(6.37 / 12.93, abs=0.01)


@pytest.mark.parametrize("prior", [0.0, -1.0, math.nan, math.inf])
def test_an_impossible_prior(prior: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        CostModel(prior)


@given(st.floats(0.4, 3), st.floats(0.4, 3))
def test_both_terms_are_learned_from_sessions_of_two_sizes(fixed: float, by_pixel: float) -> None:
    frame_s = PRIOR_CORES / 30
    fixed_s, pixel_s = fixed * 0.32 * frame_s, by_pixel * 0.68 * frame_s / REFERENCE_PIXELS
    cost = model()
    teach(cost, [SMALL, LARGE, SMALL], fixed_s, pixel_s, ticks=300, noise=0.3)
    for pixels in (SMALL, LARGE):
        assert cores(cost, pixels) == pytest.approx(30 * (fixed_s + pixel_s * pixels), rel=0.15)


@given(st.floats(0.3, 3.5))
def test_from_one_size_that_size_is_learned_and_the_others_follow(factor: float) -> None:
    cost = model()
    true_cores = factor * cores(cost, SMALL)
    before = cores(cost, LARGE)
    teach(cost, [SMALL], true_cores / 30, 0.0, ticks=150, noise=0.0)
    assert cores(cost, SMALL) == pytest.approx(true_cores, rel=0.1)
    assert (cores(cost, LARGE) - before) * (factor - 1) >= 0


def test_one_session_moves_it_within_minutes() -> None:
    cost = model()
    teach(cost, [SMALL], 2 * cores(cost, SMALL) / 30, 0.0, ticks=300, noise=0.0)
    learned = cores(cost, SMALL)
    ticks = 0
    while cores(cost, SMALL) > 0.6 * learned:
        teach(cost, [SMALL], 0.5 * learned / 30, 0.0, ticks=1, noise=0.0)
        ticks += 1
    assert 15 <= ticks * 2 <= 300  # seconds


def test_one_observation_after_many_moves_little() -> None:
    cost = model()
    teach(cost, [LARGE], 0.0, 0.37 / 30 / LARGE, ticks=300, noise=0.1)
    settled = cores(cost, LARGE)
    cost.learn([Spent(LARGE, 60, 1e6)], process_cpu_s=1e6, elapsed_s=2.0)
    assert cores(cost, LARGE) == pytest.approx(settled, rel=0.06)
    cost.learn([Spent(LARGE, 60, 0.0)], process_cpu_s=0.0, elapsed_s=2.0)
    assert cores(cost, LARGE) == pytest.approx(settled, rel=0.06)


def test_frames_that_cost_less_for_a_while_teach_nothing() -> None:
    cost = model()
    cheap = [Spent(SMALL, 60, 0.01, typical=False), Spent(LARGE, MIN_FRAMES - 1, 1e-4)]
    for _ in range(100):
        cost.learn(cheap, process_cpu_s=0.02, elapsed_s=2.0)
    assert cores(cost, LARGE) == pytest.approx(PRIOR_CORES)


def test_cpu_of_no_track_is_shared_by_frames() -> None:
    """Two tracks alike, one of them not typical: half of what is left belongs to it."""
    fair, alone = model(), model()
    for _ in range(100):
        fair.learn(
            [Spent(SMALL, 60, 0.2), Spent(SMALL, 60, 0.2, typical=False)],
            process_cpu_s=0.6,
            elapsed_s=2.0,
        )
        alone.learn([Spent(SMALL, 60, 0.2)], process_cpu_s=0.3, elapsed_s=2.0)
    assert cores(fair, SMALL) == pytest.approx(cores(alone, SMALL))


@given(
    st.lists(
        st.tuples(
            st.lists(
                st.builds(
                    Spent,
                    pixels=st.integers(-5, 2**40),
                    frames=st.integers(-5, 2**40),
                    cpu_s=anything,
                ),
                max_size=4,
            ),
            anything,
            anything,
        ),
        max_size=30,
    )
)
def test_garbage_is_bounded(ticks: list[tuple[list[Spent], float, float]]) -> None:
    cost = model()
    priors = {pixels: cores(cost, pixels) for pixels in (1, SMALL, LARGE, 1920 * 1920)}
    for spent, process_cpu_s, elapsed_s in ticks:
        cost.learn(spent, process_cpu_s=process_cpu_s, elapsed_s=elapsed_s)
    for pixels, prior in priors.items():
        assert prior / BOUND * 0.999 <= cores(cost, pixels) <= prior * BOUND * 1.001
    # And it is not broken by it: what is true is learned afterwards.
    teach(cost, [SMALL, LARGE], 0.004, 0.0085 / LARGE, ticks=600, noise=0.0)
    assert cores(cost, LARGE) == pytest.approx(30 * 0.0125, rel=0.15)


@given(st.integers(1, 4 * LARGE), st.integers(1, 4 * LARGE))
def test_more_pixels_never_cost_less(first: int, second: int) -> None:
    less, more = sorted((first, second))
    cost = model()
    teach(cost, [SMALL], 0.02, 0.0, ticks=50, noise=0.5)
    assert cores(cost, less) <= cores(cost, more)
