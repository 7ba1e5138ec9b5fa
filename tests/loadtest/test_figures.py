"""Figures: percentiles, per-frame cost, ratios."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.figures import Comparison, Histogram, Measurement, Paired, Percentiles

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
    verified=2,
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
        "(least 29.5 of 30), latency p50 7.0 p95 9.0 p99 12.0 ms, "
        "500 kbit/s back of 800 sent, client 10 % of a core"
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


def test_paired() -> None:
    ratios = Paired((3.0, 2.5, 4.0))
    assert ratios.median == 3.0
    assert str(ratios) == "3.00 2.50 4.00; median 3.00, range 2.50 to 4.00"
    assert Paired.of([None, None]) is None


def test_comparison() -> None:
    other = replace(RUN, server_cpu_seconds=6.0, returned_kbps=1000.0)
    found = Comparison(((RUN, other), (RUN, other)))
    assert found.cpu_ratio == Paired((2.0, 2.0))
    assert found.cpu_points is not None
    assert found.cpu_points.pairs == pytest.approx((15.0, 15.0))
    assert found.bitrate_ratio == Paired((2.0, 2.0))
    written = json.loads(json.dumps(found.as_json()))
    assert written["cpu_ratio"] == {"pairs": [2.0, 2.0], "median": 2.0}
    assert written["pairs"][0]["b"]["returned_kbps"] == 1000.0
    assert "points of a core a session: 15.00 15.00" in "\n".join(found.as_lines())


def test_comparison_without_cpu() -> None:
    found = Comparison(((replace(RUN, server_cpu_seconds=None), RUN),))
    assert found.cpu_ratio is None
    assert found.as_json()["cpu_points"] is None
    assert found.as_lines()[0] == "CPU was not measured"


@given(st.lists(st.floats(0, 0.999), min_size=1), st.lists(st.floats(0, 0.999)))
def test_a_histogram_has_the_percentiles_of_its_values(
    some: list[float], others: list[float]
) -> None:
    both = Histogram(some)
    both.merge(Histogram(others))
    exact = Percentiles.of([*some, *others])
    found = both.percentiles()
    assert exact is not None
    assert found is not None
    assert len(both) == len(some) + len(others)
    for name in ("p50", "p95", "p99", "largest"):
        # A tenth of a millisecond wide, and rounding may fall to either side.
        assert getattr(found, name) == pytest.approx(getattr(exact, name), abs=0.0511)


def test_a_histogram_is_bounded() -> None:
    found = Histogram([-1.0, 1e9, *(n / 1e3 for n in range(70_000))])
    assert len(found) == 70_002
    assert len(found._counts) < 20_000
    percentiles = found.percentiles()
    assert percentiles is not None
    assert percentiles.largest == 60_000
    assert percentiles.p50 == pytest.approx(35_000, abs=10)


def test_a_histogram_of_nothing() -> None:
    assert Histogram().percentiles() is None


def test_bins_of_a_millisecond() -> None:
    found = Histogram([0.0, 0.0004, 0.0011, 0.0019, 0.25, 2.0]).bins()
    assert found == ((0.0, 2), (1.0, 2), (250.0, 1), (2000.0, 1))
    assert Histogram().bins() == ()
