"""Figures come back from JSON as they were, and say on one line what a reader must doubt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from loadtest.bench.figures import NOISY_PERCENT, Figures

if TYPE_CHECKING:
    from collections.abc import Callable


def test_json_and_back(figures: Callable[..., Figures]) -> None:
    for one in (figures(), figures(latency_ms=None, levels=(), pairing="assumed")):
        assert Figures.of_json(json.loads(json.dumps(one.as_json()))) == one


def test_a_line(figures: Callable[..., Figures]) -> None:
    quiet = figures(returned=298).as_line()
    assert "298 of 300 back" in quiet
    assert "p50 5.0 p99 11.0 ms" in quiet
    assert quiet.endswith("full")
    noisy = figures(latency_ms=None, pairing="assumed", others_percent=NOISY_PERCENT + 1).as_line()
    assert "no latency (pairing assumed)" in noisy
    assert noisy.endswith("(noisy: others use 16 %)")
