"""What holds and what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtest.figures import Percentiles
from loadtest.results import Criterion, Outcome, Second, Session, Slo
from loadtest.verdicts import slo, soak
from tests.loadtest import made


def judged(*sessions: Session, all_admitted: bool = False, raw: int | None = 0) -> dict[str, bool]:
    """What did not hold is False; what could not be judged is left out."""
    found = slo(sessions, Slo(), all_admitted=all_admitted, raw_frames=raw)
    return {one.name: one.held for one in found if one.held is not None}


def test_all_is_well() -> None:
    assert set(judged(made.SESSION).values()) == {True}
    assert len(judged(made.SESSION)) == 5


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({"back": 284}, "frames back"),
        ({"latency_ms": Percentiles(6.0, 66.1, 70.0, 80.0)}, "latency p95"),
        ({"freezes": 1}, "freezes"),
        ({"outcome": Outcome.CUT_OFF}, "sessions"),
    ],
)
def test_one_bad_session_breaks_it(change: dict[str, object], broken: str) -> None:
    bad = replace(made.SESSION, number=1, **change)  # type: ignore[arg-type]
    found = judged(made.SESSION, bad, made.SESSION)
    assert [name for name, held in found.items() if not held] == [broken]


def test_just_within() -> None:
    edge = replace(made.SESSION, back=285, latency_ms=Percentiles(6.0, 66.0, 70.0, 80.0))
    assert set(judged(edge).values()) == {True}


def test_the_worst_is_named() -> None:
    bad = replace(made.SESSION, number=7, back=150)
    worst = next(
        one
        for one in slo([made.SESSION, bad], Slo(), all_admitted=False, raw_frames=0)
        if one.name == "frames back"
    )
    assert worst.value == "worst 50.0 % (session 7); 1 of 2 sessions beyond"


def test_a_refusal_is_an_outcome_of_a_load_and_a_failure_of_a_trial() -> None:
    assert judged(made.SESSION, made.REFUSED)["sessions"]
    assert not judged(made.SESSION, made.REFUSED, all_admitted=True)["sessions"]


def test_a_session_that_was_not_warm_in_time_fails_a_trial() -> None:
    late = replace(made.SESSION, measured_s=0.9)
    assert judged(made.SESSION, late)["sessions"]
    assert not judged(made.SESSION, late, all_admitted=True)["sessions"]


def test_raw_frames() -> None:
    assert not judged(made.SESSION, raw=1)["raw frames"]
    assert "raw frames" not in judged(made.SESSION, raw=None)


def test_nothing_to_judge_by_is_not_held() -> None:
    assert judged() == {"sessions": False, "raw frames": True}


def hour(change: object = None) -> list[Second]:
    """3600 seconds; `change` may be a function of the second's number to fields."""
    return [
        replace(made.SECOND, at_s=at_s, **(change(at_s) if callable(change) else {}))
        for at_s in range(3600)
    ]


def verdicts(seconds: list[Second], after: object = made.LEVEL) -> dict[str, Criterion]:
    return {one.name: one for one in soak(seconds, made.LEVEL, after)}  # type: ignore[arg-type]


def test_a_steady_hour() -> None:
    found = verdicts(hour())
    assert [one.held for one in found.values()] == [True] * 6


def test_a_short_run_is_not_judged() -> None:
    assert soak(hour()[:1199], made.LEVEL, made.LEVEL) == ()
    assert soak(hour()[:1200], made.LEVEL, made.LEVEL) != ()


def leak(per_s: int) -> dict[str, Criterion]:
    return verdicts(hour(lambda at_s: {"server_rss_bytes": (200 << 20) + per_s * at_s}))


def test_memory() -> None:
    assert leak(2_000)["memory"].held  # 7 MB in an hour, of 200
    assert not leak(8_000)["memory"].held
    # What is taken in the first ten minutes does not count.
    early = verdicts(
        hour(lambda at_s: {"server_rss_bytes": (200 << 20) + 200_000 * min(at_s, 600)})
    )
    assert early["memory"].held
    # A hump counts, even if it is gone at the end.
    hump = verdicts(
        hour(lambda at_s: {"server_rss_bytes": (220 if 1500 < at_s < 2200 else 200) << 20})
    )
    assert not hump["memory"].held


def test_memory_of_calls_that_are_open_is_no_growth() -> None:
    def busier(at_s: int) -> dict[str, object]:
        open_ = (at_s // 60) % (3 if at_s < 1800 else 6)
        return {"open": open_, "server_rss_bytes": (200 + 15 * open_) << 20}

    assert verdicts(hour(busier))["memory"].held

    def leaking(at_s: int) -> dict[str, object]:
        seen = busier(at_s)
        return seen | {"server_rss_bytes": int(seen["server_rss_bytes"]) + 8_000 * at_s}  # type: ignore[call-overload]

    assert not verdicts(hour(leaking))["memory"].held
    never = hour(lambda at_s: {"open": at_s})  # no two seconds are alike
    assert verdicts(never)["memory"].held is None


def test_memory_at_rest() -> None:
    assert made.LEVEL.rss_bytes is not None
    more = replace(made.LEVEL, rss_bytes=int(1.06 * made.LEVEL.rss_bytes))
    assert not verdicts(hour(), more)["memory at rest"].held
    assert verdicts(hour(), replace(made.LEVEL, rss_bytes=None))["memory at rest"].held is None


def test_latency_that_grows() -> None:
    def later(at_s: int) -> dict[str, object]:
        return {"latency_ms": Percentiles(5.0, 10.0 + at_s / 360, 20.0, 30.0)}

    assert not verdicts(hour(later))["latency trend"].held


def test_what_is_left_behind() -> None:
    left = replace(made.LEVEL, threads=13, files=21, sessions=1)
    found = verdicts(hour(), left)
    assert [name for name, one in found.items() if not one.held] == [
        "threads",
        "open descriptors",
        "sessions",
    ]
    slack = verdicts(hour(), replace(made.LEVEL, files=20))
    assert slack["open descriptors"].held


def test_what_is_not_known_is_not_judged() -> None:
    nothing = hour(lambda _: {"server_rss_bytes": None, "latency_ms": None})
    found = verdicts(nothing, replace(made.LEVEL, threads=None))
    assert found["memory"].held is None
    assert found["latency trend"].held is None
    assert found["threads"].held is None
