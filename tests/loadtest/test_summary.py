"""Results as text."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from loadtest import summary
from loadtest.machine import this_machine
from loadtest.progress import bar, words
from loadtest.results import CapacityResult, Criterion, Trial
from tests.loadtest import made

if TYPE_CHECKING:
    import pytest


def test_a_load() -> None:
    assert list(summary.of_load(made.RESULT)) == [
        "backcloth: 2 at once; h264 640x360 at 30 fps; 12 s",
        "  sessions   2 asked, 1 admitted, 1 refused, 0 failed, 0 cut off; 1 at once at most",
        "  frames     300 back of 300 sent (100.0 %), 0 lost on the way, 0 freezes",
        "  latency    p50 6.0 p95 9.0 p99 12.0 largest 30.0 ms; pairing verified 1 times",
        "  server     6.67 ms CPU/frame, 20.0 % of a core a session",
        "  bitrate    640 kbit/s back of 800 sent",
        "  client     3.3 % of a core a session",
        "  at 3.0 s   CPU quota set to 0.5 cores",
        "  SLO held",
        "    ok   sessions: all (limit: every one live or refused)",
        "  warning: a warning",
    ]


def test_a_load_that_gave_nothing() -> None:
    totals = replace(
        made.TOTALS,
        sent=0,
        latency_ms=None,
        server_cpu_ms_per_frame=None,
        sent_kbps=None,
        client_cores_per_session=None,
    )
    result = replace(
        made.RESULT,
        totals=totals,
        interrupted=True,
        slo=(Criterion("freezes", "0", "1", False),),
        soak=(Criterion("memory", "flat", "not measured", None),),
    )
    lines = list(summary.of_load(result))
    assert lines[0].endswith("12 s (stopped)")
    assert "  latency    no frame was measured" in lines
    assert "    FAIL freezes: 1 (limit: 0)" in lines
    assert "  soak not held" in lines
    assert "    ?    memory: not measured (limit: flat)" in lines


def test_assumed_pairing_is_said() -> None:
    result = replace(made.RESULT, totals=replace(made.TOTALS, assumed=2))
    assert "assumed in 2 sessions" in list(summary.of_load(result))[3]


def test_trials_and_capacity() -> None:
    held = Trial(3, True, (), made.TOTALS)
    assert summary.of_trial(held) == "   3 sessions: p95 9.0 ms, 6.67 ms CPU/frame; held"
    failed = Trial(
        4,
        False,
        ("freezes: 1", "a: b"),
        replace(made.TOTALS, latency_ms=None, server_cpu_ms_per_frame=None),
    )
    assert summary.of_trial(failed) == "   4 sessions: no latency; not held: freezes: 1; a: b"
    found = CapacityResult(made.SETUP, 3, True, (held, failed), None, None)
    assert summary.of_capacity(found) == (
        "3 sessions hold 95 % of the frames, p95 66 ms, 0 freezes; 4 do not"
    )
    assert summary.of_capacity(replace(found, bounded=False)).startswith("at least 3 sessions")


def test_a_second_in_words() -> None:
    assert words(made.SECOND) == "1 open, 30 of 30 fps back, p95 9 ms, server 0.20 cores"
    bad = replace(made.SECOND, refused=2, cut_off=1, latency_ms=None, server_cores=None)
    assert words(bad) == "1 open, 2 refused, 1 cut off, 30 of 30 fps back"


def test_the_bar_is_silent_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with bar() as shown:
        shown.begin("a run", 10.0)
        shown.second(made.SECOND)
    assert capsys.readouterr() == ("", "")


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    found = this_machine()
    assert found.cores >= 1
    assert found.cpu
    assert found.python.startswith("CPython 3.")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3})
    assert this_machine().cores == 1
