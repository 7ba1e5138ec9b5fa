"""A result in the lines of text that a terminal shows; JSON and HTML have the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtest.results import CapacityResult, Criterion, LoadResult, Trial


def of_load(result: LoadResult) -> Iterator[str]:
    """What happened, what held, and what to doubt."""
    setup, totals = result.setup, result.totals
    yield (
        f"{setup.target}: {setup.profile}; {setup.codec} {setup.width}x{setup.height} at "
        f"{setup.fps} fps; {totals.seconds} s" + (" (stopped)" if result.interrupted else "")
    )
    yield (
        f"  sessions   {totals.asked} asked, {totals.admitted} admitted, {totals.refused} refused, "
        f"{totals.failed} failed, {totals.cut_off} cut off; {totals.most_open} at once at most"
    )
    share = f" ({100 * totals.back / totals.sent:.1f} %)" if totals.sent else ""
    yield (
        f"  frames     {totals.back} back of {totals.sent} sent{share}, {totals.lost} lost on the "
        f"way, {totals.freezes} freezes"
    )
    yield f"  latency    {_latency(result)}"
    if totals.server_cpu_ms_per_frame is not None and totals.server_cores_per_session is not None:
        yield (
            f"  server     {totals.server_cpu_ms_per_frame:.2f} ms CPU/frame, "
            f"{100 * totals.server_cores_per_session:.1f} % of a core a session"
        )
    if totals.sent_kbps is not None and totals.back_kbps is not None:
        yield f"  bitrate    {totals.back_kbps:.0f} kbit/s back of {totals.sent_kbps:.0f} sent"
    if totals.client_cores_per_session is not None:
        yield f"  client     {100 * totals.client_cores_per_session:.1f} % of a core a session"
    for event in result.events:
        yield f"  at {event.at_s:.1f} s   {event.what}"
    yield f"  SLO {'held' if result.held else 'not held'}"
    yield from (f"    {_criterion(one)}" for one in result.slo)
    if result.soak:
        yield f"  soak {'held' if all(one.held for one in result.soak) else 'not held'}"
        yield from (f"    {_criterion(one)}" for one in result.soak)
    yield from (f"  warning: {warning}" for warning in result.warnings)


def of_trial(trial: Trial) -> str:
    """One line."""
    late = trial.totals.latency_ms
    latency = "no latency" if late is None else f"p95 {late.p95:.1f} ms"
    cost = trial.totals.server_cpu_ms_per_frame
    cpu = "" if cost is None else f", {cost:.2f} ms CPU/frame"
    verdict = "held" if trial.held else f"not held: {'; '.join(trial.broke)}"
    return f"{trial.sessions:>4} sessions: {latency}{cpu}; {verdict}"


def of_capacity(result: CapacityResult) -> str:
    """The answer."""
    slo = result.setup.slo
    limits = (
        f"{100 * slo.least_fps_share:g} % of the frames, p95 {slo.p95_ms:g} ms, "
        f"{slo.freezes} freezes"
    )
    if not result.bounded:
        return f"at least {result.largest} sessions hold {limits}; more were not tried"
    return f"{result.largest} sessions hold {limits}; {result.largest + 1} do not"


def _latency(result: LoadResult) -> str:
    late, totals = result.totals.latency_ms, result.totals
    if late is None:
        return "no frame was measured"
    pairing = f"pairing verified {totals.verified} times"
    if totals.assumed:
        pairing += f", assumed in {totals.assumed} sessions"
    return (
        f"p50 {late.p50:.1f} p95 {late.p95:.1f} p99 {late.p99:.1f} largest {late.largest:.1f} ms; "
        f"{pairing}"
    )


def _criterion(one: Criterion) -> str:
    verdict = {True: "ok  ", False: "FAIL", None: "?   "}[one.held]
    return f"{verdict} {one.name}: {one.value} (limit: {one.limit})"
