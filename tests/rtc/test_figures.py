"""What a track says of itself."""

from __future__ import annotations

import pytest

from service.rtc.figures import Rate, TrackFigures


def test_a_steady_rate_is_measured_and_a_stopped_one_falls() -> None:
    rate = Rate()
    for n in range(90):
        rate.mark(n / 30)
    assert rate.per_second(89 / 30) == pytest.approx(30, rel=0.02)
    assert rate.per_second(89 / 30 + 1.0) == pytest.approx(15, rel=0.1)
    assert rate.per_second(100.0) == 0.0


def test_latencies_and_stages() -> None:
    figures = TrackFigures()
    assert figures.describe(0.0)["latency_ms"] == {"p50": None, "p95": None}
    for n in range(100):
        figures.sent(n / 30, width=640, height=360, latency_s=n / 1000)
    figures.processed({"decode": 0.002}, cpu_s=0.25)
    told = figures.describe(3.3)
    assert told["latency_ms"] == {"p50": 50.0, "p95": 95.0}
    assert told["stage_ms"] == {"decode": 2.0}
    figures.processed({"decode": 0.002, "faces": 0.1}, cpu_s=0.0)
    figures.processed({"decode": 0.002}, cpu_s=0.0)
    assert figures.describe(3.3)["stage_ms"] == {"decode": 2.0, "faces": 90.0}
    assert (told["width"], told["height"], told["cpu_seconds"]) == (640, 360, 0.25)
