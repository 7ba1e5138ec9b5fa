"""Figures: percentiles, per-frame cost, ratios."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from loadtest.figures import Measurement, Percentiles, Ratios

RUN = Measurement(
    target="backcloth",
    codec="h264",
    width=640,
    height=360,
    fps=30,
    sessions=2,
    seconds=10.0,
    returned_frames=600,
    returned_fps=(30.0, 29.5),
    latency_ms=Percentiles(7.0, 9.0, 12.0, 30.0),
    pairing="picture",
    server_cpu_seconds=3.0,
    client_cpu_seconds=1.0,
    sent_kbps=800.0,
    returned_kbps=500.0,
)


def test_percentiles_are_values_that_occurred() -> None:
    found = Percentiles.of([n / 1000 for n in range(100, 0, -1)])
    assert found == Percentiles(50, 95, 99, 100)


def test_percentiles_of_one_value() -> None:
    assert Percentiles.of([0.004]) == Percentiles(4, 4, 4, 4)


def test_percentiles_of_nothing() -> None:
    assert Percentiles.of([]) is None


def test_cost_of_a_frame() -> None:
    assert RUN.cpu_ms_per_frame == pytest.approx(5.0)
    assert replace(RUN, returned_frames=0).cpu_ms_per_frame is None
    assert replace(RUN, server_cpu_seconds=None).cpu_ms_per_frame is None


def test_line() -> None:
    assert RUN.as_line() == (
        "backcloth: 5.00 ms CPU/frame (15.0 % of a core a session), 29.8 fps back "
        "(least 29.5 of 30), latency p50 7.0 p95 9.0 p99 12.0 ms, client 10 % of a core"
    )


def test_line_says_what_is_missing() -> None:
    line = replace(RUN, server_cpu_seconds=None, latency_ms=None).as_line()
    assert "CPU not measured" in line
    assert "no frame matched" in line
    assert "(pairing assumed)" in replace(RUN, pairing="assumed").as_line()


def test_json_has_everything() -> None:
    found = json.loads(json.dumps(RUN.as_json()))
    assert found["cpu_ms_per_frame"] == 5.0
    assert found["latency_ms"] == {"p50": 7.0, "p95": 9.0, "p99": 12.0, "largest": 30.0}


def test_ratios() -> None:
    ratios = Ratios((3.0, 2.5, 4.0))
    assert ratios.median == 3.0
    assert str(ratios) == "3.00 2.50 4.00; median 3.00, range 2.50 to 4.00"
