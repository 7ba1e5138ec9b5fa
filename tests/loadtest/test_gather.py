"""Seconds are put together from several clients and the server, in whatever order they are told."""

from __future__ import annotations

import pytest

from loadtest.crowd import Finished, SecondCounts
from loadtest.figures import Histogram
from loadtest.gather import RANKED_AFTER_S, Gathering
from loadtest.procfs import Usage
from loadtest.watch import Metrics, Sample
from tests.loadtest import made


def counts(at_s: int, **fields: object) -> SecondCounts:
    usual: dict[str, object] = {
        "open": 1,
        "admitted": 1,
        "refused": 0,
        "failed": 0,
        "cut_off": 0,
        "sent": 30,
        "back": 29,
        "least": 29,
        "latencies_s": (0.01,) * 29,
        "freezes": 0,
        "cpu_s": 0.03,
        "lag_s": 0.002,
    }
    return SecondCounts(at_s=at_s, **{**usual, **fields})  # type: ignore[arg-type]


def sample(at_s: float, cpu_s: float, dropped: int = 0) -> Sample:
    page = (
        "# TYPE backcloth_frames_dropped_total counter\n"
        f'backcloth_frames_dropped_total{{reason="overload"}} {dropped}\n'
    )
    return Sample(at_s, Usage(cpu_s, 100, 5, 6), Metrics(page))


def test_two_clients_are_one() -> None:
    gathering = Gathering()
    gathering.told(0, counts(0, latencies_s=(0.01,), lag_s=0.001))
    gathering.told(1, counts(0, latencies_s=(0.03,), least=20, open=2, admitted=3, lag_s=0.009))
    (second,) = gathering.seconds()
    assert (second.open, second.admitted) == (3, 4)
    assert (second.sent_fps, second.back_fps, second.least_fps) == (60, 58, 20)
    assert second.latency_ms is not None
    assert (second.latency_ms.p50, second.latency_ms.largest) == (10.0, 30.0)
    assert second.client_cores == pytest.approx(0.06)
    assert second.client_lag_ms == 9.0
    assert second.server_cores is None


def test_the_server_is_what_changed_between_samples() -> None:
    gathering = Gathering()
    for at_s in range(3):
        gathering.told(0, counts(at_s))
    gathering.sampled(None, sample(10.0, 5.0, 1))
    gathering.sampled(0, sample(11.0, 5.2, 1))
    gathering.sampled(1, sample(13.0, 5.8, 4))  # it was late
    first, second, third = gathering.seconds()
    assert first.server_cores == pytest.approx(0.2)
    assert second.server_cores == pytest.approx(0.3)
    assert (first.dropped, second.dropped) == ({}, {"overload": 3})
    assert third.server_cores is None
    counted = gathering.counted(0, 3)
    assert counted.server_cpu_s == pytest.approx(0.8)
    assert (counted.back, counted.session_seconds, counted.dropped) == (87, 3, {"overload": 3})
    assert gathering.counted(1, 2).server_cpu_s == pytest.approx(0.6)
    assert gathering.counted(2, 3).server_cpu_s is None


def test_what_a_client_told_last_holds_when_it_is_through() -> None:
    gathering = Gathering()
    gathering.told(0, counts(0, admitted=4, refused=2))
    for at_s in range(3):
        gathering.told(1, counts(at_s, admitted=1))
    last = gathering.seconds()[-1]
    assert (last.admitted, last.refused) == (5, 2)
    assert last.open == 1  # of the one that goes on


def test_latencies_are_ranked_and_forgotten() -> None:
    gathering = Gathering()
    for at_s in range(RANKED_AFTER_S + 3):
        gathering.told(0, counts(at_s))
    kept = sum(len(one.latencies_s) for one in gathering._clients.values())
    assert kept == RANKED_AFTER_S * 29
    assert all(one.latency_ms == gathering.second(0).latency_ms for one in gathering.seconds())
    assert all(not one.latencies_s for by in gathering._state.values() for one in by.values())


def test_sessions() -> None:
    gathering = Gathering()
    gathering.told(0, Finished(made.SESSION, Histogram([0.01, 0.02])))
    gathering.told(0, Finished(made.REFUSED, Histogram()))
    assert gathering.sessions == [made.SESSION, made.REFUSED]
    assert len(gathering.latencies) == 2
