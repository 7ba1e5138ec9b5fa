"""What had to hold and whether it did: the SLO of a load, and what must not creep in a long one.

Pure: results in, criteria out.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from loadtest.results import Criterion, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loadtest.results import Level, Second, Session, Slo

LEAST_JUDGED_S = 1.0
"""Of a session: a share of fewer frames says little."""
SETTLED_AFTER_S = 600
"""Memory that a server takes in its first ten minutes is what it works with."""
WINDOW_S = 300
LEAST_WINDOWS = 2
LEAST_ALIKE_S = 10
"""Seconds with as many sessions open, before they are held against each other."""
MOST_GROWTH = 0.05
MOST_LATENCY_RATIO = 1.15
MOST_LATENCY_MS = 2.0
"""Latency may be this much more at the end than at the start, together with the ratio."""
FILES_SLACK = 2
"""The scrape of /metrics and a kept-alive connection may be open at either count."""


def slo(
    sessions: Sequence[Session], limits: Slo, *, all_admitted: bool, raw_frames: int | None
) -> tuple[Criterion, ...]:
    """Of the sessions that were measured for long enough to tell, each for itself. `all_admitted`:
    a refusal is a failure, too."""
    judged = [one for one in sessions if one.measured_s >= LEAST_JUDGED_S and one.sent]
    bad = [Outcome.FAILED, Outcome.CUT_OFF, *([Outcome.REFUSED] if all_admitted else [])]
    lost = {kind.value: sum(one.outcome is kind for one in sessions) for kind in bad}
    if all_admitted:  # in a trial, where all are measured in one span
        live = sum(one.outcome is Outcome.LIVE for one in sessions)
        lost["too late to be measured"] = max(0, live - len(judged))
    found = [
        Criterion(
            name="sessions",
            limit="every one live" if all_admitted else "every one live or refused",
            value=", ".join(f"{n} {kind}" for kind, n in lost.items() if n) or "all",
            held=not any(lost.values()) and bool(sessions),
        ),
        _worst(
            judged,
            "frames back",
            f"at least {100 * limits.least_fps_share:g} % of sent",
            lambda one: 100 * one.back / one.sent,
            "{:.1f} %",
            lambda value: value >= 100 * limits.least_fps_share,
            lowest=True,
        ),
        _worst(
            [one for one in judged if one.latency_ms is not None],
            "latency p95",
            f"at most {limits.p95_ms:g} ms",
            lambda one: one.latency_ms.p95 if one.latency_ms is not None else 0.0,
            "{:.1f} ms",
            lambda value: value <= limits.p95_ms,
        ),
        _worst(
            judged,
            "freezes",
            f"at most {limits.freezes} a session",
            lambda one: float(one.freezes),
            "{:.0f}",
            lambda value: value <= limits.freezes,
        ),
    ]
    if raw_frames is not None:
        found.append(
            Criterion("raw frames", "none, by the server's count", str(raw_frames), raw_frames == 0)
        )
    return tuple(found)


def soak(
    seconds: Sequence[Second], before: Level, after: Level, *, pause_s: int = SETTLED_AFTER_S
) -> tuple[Criterion, ...]:
    """Empty where the run was too short for windows to be compared."""
    if len(seconds) < pause_s + LEAST_WINDOWS * WINDOW_S:
        return ()
    windows = _windows(seconds, pause_s)
    return (
        _memory(windows),
        _rest(before.rss_bytes, after.rss_bytes),
        _latency(windows),
        _back("threads", before.threads, after.threads, 0),
        _back("open descriptors", before.files, after.files, FILES_SLACK),
        _back("sessions", before.sessions, after.sessions, 0),
    )


def _worst(
    sessions: Sequence[Session],
    name: str,
    limit: str,
    measure: Callable[[Session], float],
    form: str,
    holds: Callable[[float], bool],
    *,
    lowest: bool = False,
) -> Criterion:
    if not sessions:
        return Criterion(name, limit, "no session was measured long enough", None)
    worst = (min if lowest else max)(sessions, key=measure)
    failing = sum(not holds(measure(one)) for one in sessions)
    many = f"; {failing} of {len(sessions)} sessions beyond" if failing else ""
    value = f"worst {form.format(measure(worst))} (session {worst.number}){many}"
    return Criterion(name, limit, value, not failing)


def _windows(seconds: Sequence[Second], pause_s: int) -> list[list[Second]]:
    """Of equal length, from the pause on; the rest behind the last is left out."""
    rest = seconds[pause_s:]
    return [
        list(rest[start : start + WINDOW_S])
        for start in range(0, len(rest) - WINDOW_S + 1, WINDOW_S)
    ]


def _memory(windows: Sequence[Sequence[Second]]) -> Criterion:
    """What is held beside what as many open sessions took in the first third: a call's own memory
    is no growth, and more of them are open at one time than at another."""
    name, limit = "memory", f"flat within {100 * MOST_GROWTH:g} % after ten minutes"
    usual = _usual([second for window in windows[: max(1, len(windows) // 3)] for second in window])
    growths = [
        statistics.mean(ratios) - 1
        for window in windows
        if len(ratios := [rss / usual[n] for n, rss in _held(window) if n in usual])
        >= LEAST_ALIKE_S
    ]
    if len(growths) < LEAST_WINDOWS:
        return Criterion(name, limit, "not measured", None)
    held = ", ".join(f"{rss / 2**20:.0f} MiB with {n}" for n, rss in sorted(usual.items()))
    return Criterion(
        name,
        limit,
        f"highest {100 * max(growths):+.1f} %, last {100 * growths[-1]:+.1f} % of what as many "
        f"open sessions took at first ({held})",
        max(growths) <= MOST_GROWTH,
    )


def _rest(before: int | None, after: int | None) -> Criterion:
    """What is held when all have left."""
    name, limit = "memory at rest", f"within {100 * MOST_GROWTH:g} % of what it was before"
    most = most_at_rest(before)
    if before is None or most is None or after is None:
        return Criterion(name, limit, "not measured", None)
    value = f"{before / 2**20:.0f} MiB before, {after / 2**20:.0f} MiB after"
    return Criterion(name, limit, value, after <= most)


def most_at_rest(before: int | None) -> int | None:
    """The bytes that may be held when all have left."""
    return None if before is None else int((1 + MOST_GROWTH) * before)


def _usual(seconds: Sequence[Second]) -> dict[int, float]:
    """The median of the bytes held with so many sessions open, where they were for long enough."""
    found: dict[int, list[int]] = {}
    for open_, rss in _held(seconds):
        found.setdefault(open_, []).append(rss)
    return {
        open_: statistics.median(all_)
        for open_, all_ in found.items()
        if len(all_) >= LEAST_ALIKE_S
    }


def _held(seconds: Sequence[Second]) -> list[tuple[int, int]]:
    """The sessions that were open and the bytes that were held, where they are known."""
    return [(s.open, s.server_rss_bytes) for s in seconds if s.server_rss_bytes is not None]


def _latency(windows: Sequence[Sequence[Second]]) -> Criterion:
    name = "latency trend"
    limit = f"p95 at the end at most {MOST_LATENCY_RATIO:g} of the start's + {MOST_LATENCY_MS:g} ms"
    medians = [
        statistics.median(found)
        for window in windows
        if (found := [s.latency_ms.p95 for s in window if s.latency_ms is not None])
    ]
    if len(medians) < LEAST_WINDOWS:
        return Criterion(name, limit, "not measured", None)
    first, last = medians[0], medians[-1]
    return Criterion(
        name,
        limit,
        f"{first:.1f} ms, then {last:.1f} ms (medians of the seconds' p95 in {WINDOW_S} s)",
        last <= MOST_LATENCY_RATIO * first + MOST_LATENCY_MS,
    )


def _back(name: str, before: int | None, after: int | None, slack: int) -> Criterion:
    limit = "back at what they were before" + (f" (+{slack})" if slack else "")
    if before is None or after is None:
        return Criterion(name, limit, "not measured", None)
    return Criterion(name, limit, f"{before} before, {after} after", after <= before + slack)
