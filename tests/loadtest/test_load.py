"""Whole loads: against an echo in a process of its own, and against the real service."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from loadtest import clip as clips
from loadtest import load as loads
from loadtest.adapters import Wish
from loadtest.capacity import capacity
from loadtest.load import Plan, load
from loadtest.profiles import AtOnce, Poisson, Ramp
from loadtest.quota import NoQuota, Quota
from loadtest.results import LoadResult, Outcome, Second, Slo
from loadtest.server import Target, started
from loadtest.stamp import Place
from tests.loadtest import made
from tests.loadtest.conftest import FPS, SIZE

if TYPE_CHECKING:
    import av

    from loadtest.clip import EncodedClip

pytestmark = pytest.mark.peer

PYTHON = sys.executable
ECHO = Target("offer", command=f"{PYTHON} -m tests.loadtest.echo --port {{port}}")
SERVICE = Target("backcloth", command=f"{PYTHON} -m service serve --port {{port}}")
EASY = Slo(least_fps_share=0.5, p95_ms=2000.0, freezes=50)
"""Of a machine that has other things to do: what holds it is not what is tested here."""


@pytest.fixture(scope="module")
def h264(film: list[av.VideoFrame]) -> EncodedClip:
    return clips.prepare(film, clips.Codec.H264, FPS, place=Place(0.5, 0.5))


@pytest.fixture
def plan(h264: EncodedClip) -> Plan:
    width, height = SIZE
    wish = Wish(effect={"type": "none"}, width=width, height=height, fps=FPS)
    return Plan(h264, "noise", wish, AtOnce(2), seconds=4.0, slo=EASY)


async def test_two_sessions_at_the_service(plan: Plan) -> None:
    told: list[Second] = []
    result = await load(SERVICE, plan, tell=told.append)
    assert [one.outcome for one in result.sessions] == [Outcome.LIVE] * 2
    assert [one.pairing for one in result.sessions] == ["picture"] * 2
    assert result.totals.verified == 2
    assert result.totals.mispaired == 0
    assert result.held
    for session in result.sessions:
        assert session.measured_s > 0.5
        assert session.back > 10
        assert session.latency_ms is not None
        assert 0 < session.latency_ms.p50 < 1000
        assert session.sent_bytes > 1000
        assert session.back_bytes > 1000
    assert len(result.seconds) >= 4
    assert result.totals.most_open == 2
    busy = result.seconds[2]
    assert busy.open == busy.admitted == busy.server_sessions == 2
    assert busy.server_cores is not None
    assert 0 < busy.server_cores < 4
    assert busy.server_rss_bytes is not None
    assert busy.server_rss_bytes > 50 << 20
    assert busy.server_threads is not None
    assert busy.loop_lag_p99_ms is not None
    assert busy.raw_frames == 0
    assert result.before.sessions == result.after.sessions == 0
    assert result.totals.server_cpu_ms_per_frame is not None
    assert result.totals.client_cores_per_session is not None
    assert [one.at_s for one in told] == list(range(len(told)))
    assert len(told) >= 3
    assert result.setup.machine.cores >= 1


async def test_refusals_are_outcomes(plan: Plan) -> None:
    target = replace(SERVICE, environ={"BACKCLOTH_MAX_SESSIONS": "1"})
    result = await load(target, replace(plan, profile=AtOnce(3), seconds=3.0))
    outcomes = sorted(one.outcome.value for one in result.sessions)
    assert outcomes == ["live", "refused", "refused"]
    refused = [one for one in result.sessions if one.outcome is Outcome.REFUSED]
    assert all(one.status == 503 for one in refused)
    assert all(one.retry_after_s is not None and one.retry_after_s >= 1 for one in refused)
    assert (result.totals.asked, result.totals.admitted, result.totals.refused) == (3, 1, 2)
    assert result.slo[0].held  # of a load; a trial has all admitted


async def test_a_quota_is_set_changed_and_taken_away(plan: Plan) -> None:
    try:
        Quota(0.5).remove()
    except NoQuota as exc:
        pytest.skip(str(exc))
    target = replace(SERVICE, quota=2.0)
    changed = replace(plan, profile=AtOnce(1), quota_changes=((2.0, 0.05),), seconds=4.0)
    result = await load(target, changed)
    (event,) = result.events
    assert event.what == "CPU quota set to 0.05 cores"
    assert event.at_s == pytest.approx(2.0, abs=0.5)
    throttled = [one.throttled_s for one in result.seconds if one.throttled_s is not None]
    assert sum(throttled[:2]) < sum(throttled[2:])


async def test_a_quota_needs_one_to_begin_with(plan: Plan) -> None:
    with pytest.raises(NoQuota, match="at the start"):
        await load(ECHO, replace(plan, quota_changes=((1.0, 0.5),)))


async def test_churn_in_two_client_processes(plan: Plan) -> None:
    churn = Poisson(per_s=3.0, mean_stay_s=2.0, seed=4, sessions=8)
    result = await load(ECHO, replace(plan, profile=churn, seconds=None, processes=2))
    assert [one.number for one in result.sessions] == list(range(8))
    assert {one.outcome for one in result.sessions} == {Outcome.LIVE}
    # Each left when it was to leave.
    for session, arrival in zip(result.sessions, churn.arrivals(), strict=True):
        assert session.arrived_s == pytest.approx(arrival.at_s, abs=0.001)
        assert arrival.stay_s is not None
        if arrival.stay_s > 1.0:
            assert session.ended_s == pytest.approx(arrival.at_s + arrival.stay_s, abs=1.0)
    assert 2 <= result.totals.most_open < 8
    assert result.totals.client_cpu_seconds > 0
    assert result.setup.seed == 4


async def test_a_server_that_ends_is_recorded_and_the_run_goes_on(plan: Plan) -> None:
    """A session of its own dies with the server that is killed; those that come later fail."""
    assert ECHO.command is not None
    async with started(ECHO.command) as server:
        here = Target("offer", url=server.url, pid=server.pid)
        killed: list[float] = []

        def kill(second: Second) -> None:
            if second.at_s == 0 and not killed and server.pid is not None:
                killed.append(time.monotonic())
                os.kill(server.pid, signal.SIGKILL)

        late = replace(plan, profile=Ramp(2, 3.0), seconds=5.0)
        result = await load(here, late, tell=kill)
    first, second = result.sessions
    assert first.outcome in (Outcome.LIVE, Outcome.CUT_OFF)  # consent may outlast the run
    assert second.outcome is Outcome.FAILED
    assert "Connect" in second.why
    assert not second.admitted
    assert not result.slo[0].held
    assert not result.held


async def test_it_is_stopped_by_hand(plan: Plan) -> None:
    stop = asyncio.Event()

    def soon(second: Second) -> None:
        if second.at_s >= 1:
            stop.set()

    endless = replace(plan, seconds=3600.0)
    async with asyncio.timeout(30):
        result = await load(ECHO, endless, tell=soon, stop=stop)
    assert result.interrupted
    assert [one.outcome for one in result.sessions] == [Outcome.LIVE] * 2
    assert [event.what for event in result.events] == ["stopped by hand"]


async def test_a_rehearsal_is_not_counted(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loads, "REHEARSAL_S", 1.0)
    result = await load(ECHO, replace(plan, profile=AtOnce(1), seconds=2.0, rehearsal=2))
    assert result.totals.asked == 1
    assert result.totals.most_open == 1


async def test_capacity_finds_a_cap(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtest.crowd.WARM_UP_S", 0.2)
    monkeypatch.setattr(loads, "SETTLE_S", 1.0)
    tried: list[tuple[int, LoadResult | None]] = []
    target = replace(SERVICE, environ={"BACKCLOTH_MAX_SESSIONS": "1"})
    found = await capacity(
        target,
        replace(plan, seconds=2.0),
        start=1,
        most=2,
        tell_trial=lambda sessions, result: tried.append((sessions, result)),
        tell=lambda _: None,
        stop=asyncio.Event(),
    )
    assert (found.largest, found.bounded) == (1, True)
    assert [trial.sessions for trial in found.trials] == [1, 2, 2]  # a failure is tried again
    assert found.trials[1].broke[0] == "sessions: 1 refused"
    assert found.at_largest is not None
    assert found.beyond is not None
    assert [sessions for sessions, _ in tried] == [1, 1, 2, 2, 2, 2]
    assert [result is None for _, result in tried] == [True, False] * 3


async def test_a_stopped_search_gives_what_it_has(plan: Plan) -> None:
    stop = asyncio.Event()
    stop.set()
    found = await capacity(
        ECHO,
        replace(plan, seconds=1.0),
        start=1,
        most=2,
        tell_trial=lambda _sessions, _result: None,
        tell=lambda _: None,
        stop=stop,
    )
    assert (found.largest, found.bounded, found.trials) == (0, False, ())


def test_what_makes_a_figure_doubtful() -> None:
    busy = replace(made.SECOND, client_cores=0.95, client_lag_ms=80.0)
    assumed = replace(made.SESSION, pairing="assumed", mispaired=2)
    warnings = loads._warnings([made.SESSION, assumed], [busy] * 20, 1)
    assert len(warnings) == 4
    assert "0.95 cores in 1 process(es)" in warnings[0]
    assert "20 of 20 seconds (at most 80 ms)" in warnings[1]
    assert "in 1 of 2 sessions no number" in warnings[2]
    assert warnings[3].startswith("2 time(s)")
    assert loads._warnings([made.SESSION], [made.SECOND] * 19 + [busy], 1) == []


async def test_memory_that_is_given_back_a_moment_later_is_waited_for() -> None:
    """Readings in turn stand for a server: when it gives memory back is its own affair."""
    levels = [replace(made.LEVEL, rss_bytes=mib << 20) for mib in (240, 230, 201, 150)]

    class Resting:
        async def level(self) -> object:
            return levels.pop(0)

    before = replace(made.LEVEL, rss_bytes=196 << 20)
    after = await loads._at_rest(Resting(), before)  # type: ignore[arg-type]
    assert after.rss_bytes == 201 << 20
