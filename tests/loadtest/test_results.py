"""Results go to JSON and come back as they were."""

from __future__ import annotations

import dataclasses
import json

import pytest

from loadtest.results import (
    CapacityResult,
    Criterion,
    LoadResult,
    Outcome,
    Trial,
    from_json,
    to_json,
)
from tests.loadtest import made

CAPACITY = CapacityResult(
    setup=made.SETUP,
    largest=3,
    bounded=True,
    trials=(Trial(4, False, ("freezes: worst 2",), made.TOTALS),),
    at_largest=made.RESULT,
    beyond=None,
)


@pytest.mark.parametrize("result", [made.RESULT, CAPACITY], ids=lambda one: type(one).__name__)
def test_there_and_back(result: LoadResult | CapacityResult) -> None:
    text = json.dumps(to_json(result))
    found = from_json(type(result), json.loads(text))
    assert found == result
    assert json.dumps(to_json(found)) == text


def test_values_have_their_types_back() -> None:
    found = from_json(LoadResult, json.loads(json.dumps(to_json(made.RESULT))))
    assert found.sessions[1].outcome is Outcome.REFUSED
    assert found.seconds[0].latency_ms == made.LATENCY
    assert found.seconds[1].latency_ms is None
    assert isinstance(found.events, tuple)


def test_another_format_is_not_misread() -> None:
    with pytest.raises(ValueError, match="format 99"):
        from_json(LoadResult, {**to_json(made.RESULT), "format": 99})


def test_half_a_result_is_none() -> None:
    half = to_json(made.RESULT)
    del half["totals"]
    with pytest.raises(ValueError, match="totals"):
        from_json(LoadResult, half)


@pytest.mark.parametrize(("held", "all_held"), [(True, True), (False, False), (None, False)])
def test_held(held: bool | None, all_held: bool) -> None:
    more = Criterion("freezes", "0", "?", held)
    result = dataclasses.replace(made.RESULT, slo=(*made.RESULT.slo, more))
    assert result.held is all_held
