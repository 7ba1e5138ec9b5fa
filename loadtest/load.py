"""SPINE of a run: start the server -> rehearse -> the sessions come, are measured and leave, while
the server is watched -> wait until it is at rest again -> the result.

crowd.py has the sessions, gather.py puts together what is told, verdicts.py judges it. capacity.py
and run.py are built from this.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiohttp

from loadtest import verdicts
from loadtest.clients import AIORTC, hosted
from loadtest.crowd import Job
from loadtest.gather import Gathering
from loadtest.machine import portable, this_machine
from loadtest.profiles import AtOnce, within
from loadtest.quota import NoQuota
from loadtest.results import Event, LoadResult, Outcome, Setup, Slo, Totals
from loadtest.server import reached
from loadtest.watch import Watch
from loadtest.workers import Workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from loadtest.adapters import Wish
    from loadtest.clients import Host
    from loadtest.clip import EncodedClip
    from loadtest.profiles import Arrival, Profile
    from loadtest.results import Level, Second, Session
    from loadtest.server import Server, Target

START_AFTER_S = 0.2
"""So that the first second is a whole one."""
SETTLE_S = 3.0
"""From the last arrival to a common start of measuring: connection, first frames and warm-up."""
REHEARSAL_S = 3.0
GONE_TIMEOUT_S = 30.0
REST_TIMEOUT_S = 20.0
REST_INTERVAL_S = 0.25
BUSY_CLIENT = 0.8
"""Of a core, per client process: beyond it the client may be what is late."""
LATE_CLIENT_MS = 20.0
LIMITED_SHARE = 0.05
"""Of the seconds; a single one may be a hiccup."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is put on a server."""

    clip: EncodedClip
    clip_name: str
    wish: Wish
    profile: Profile
    seconds: float | None
    "Of the run; together: of the measured span."
    together: bool = False
    "All sessions are measured in the same span, which begins when the last one is warm."
    slo: Slo = Slo()  # noqa: RUF009 (frozen)
    client: str = AIORTC
    "Kind of peer, one of clients.CLIENTS."
    processes: int = 1
    client_cores: str | None = None
    quota_changes: tuple[tuple[float, float], ...] = ()
    "Seconds on the run's clock, and cores."
    rehearsal: int = 0
    "Sessions that come and go before, so that everything is there that is made at first use."
    scrape: bool = True
    "Read the server's /metrics each second."
    command_line: str = ""

    @property
    def seed(self) -> int | None:
        return getattr(self.profile, "seed", None)


async def load(
    target: Target,
    plan: Plan,
    *,
    tell: Callable[[Second], None] = lambda _: None,
    stop: asyncio.Event | None = None,
) -> LoadResult:
    """Raises NotStarted, NoQuota, WorkerDied or ValueError; what goes wrong with a session is in
    the result. `tell` gets each second when it is over; `stop` ends the run early."""
    stop = stop or asyncio.Event()
    arrivals = within(plan.profile, None if plan.together else plan.seconds)
    if plan.quota_changes and target.quota is None:
        raise NoQuota("a quota can be changed where one was set at the start")
    setup = _setup(target, plan)
    async with (
        hosted(plan.client, plan.clip, plan.processes) as host,
        reached(target) as server,
        aiohttp.ClientSession() as http,
    ):
        watch = Watch(http, server, scrape=plan.scrape and target.adapter == "backcloth")
        if plan.rehearsal:
            await _rehearsed(target, server, plan, watch)
        before = await watch.level()
        run = _Run(plan, host, target, server, watch, arrivals, tell)
        await run.play(stop)
        # Without a rehearsal the server has now what it makes at first use: no waiting helps.
        after = await _at_rest(watch, before if plan.rehearsal else None)
    return run.result(setup, before, after, interrupted=stop.is_set())


class _Run:
    """The sessions of a run, and the seconds in which they happen."""

    def __init__(
        self,
        plan: Plan,
        host: Host,
        target: Target,
        server: Server,
        watch: Watch,
        arrivals: tuple[Arrival, ...],
        tell: Callable[[Second], None],
    ) -> None:
        self._plan = plan
        self._target = target
        self._server = server
        self._watch = watch
        self._arrivals = arrivals
        self._tell = tell
        self._gathering = Gathering()
        self._events: list[Event] = []
        self._workers = Workers(plan.processes, host)
        self._samples = 0
        self._sampled = asyncio.Event()
        self._start_s = 0.0
        self._measure_from_s = 0
        self._end_s = plan.seconds
        if plan.together:
            assert plan.seconds is not None, "a common span has a length"
            # A whole number: the span's seconds are seconds of the run.
            self._measure_from_s = math.ceil(arrivals[-1].at_s + SETTLE_S)
            self._end_s = self._measure_from_s + plan.seconds

    async def play(self, stop: asyncio.Event) -> None:
        """Until the last session is closed."""
        started = asyncio.Event()

        def job() -> Job:
            self._start_s = time.monotonic() + START_AFTER_S
            started.set()
            return Job(
                adapter=self._target.adapter,
                url=self._server.url,
                clip=self._plan.clip,
                wish=self._plan.wish,
                arrivals=self._arrivals,
                start_s=self._start_s,
                end_s=self._end_s,
                measure_from_s=self._measure_from_s,
            )

        async def beside(what: Coroutine[None, None, None]) -> None:
            await started.wait()
            await what

        async with _one_reason(), asyncio.TaskGroup() as group:
            watching = [
                group.create_task(beside(self._sample())),
                group.create_task(beside(self._change_quota())),
                group.create_task(beside(self._stopped(stop))),
            ]
            try:
                await self._workers.run(job, self._gathering.told)
                await self._sampled_to(math.floor(time.monotonic() - self._start_s))
            finally:
                for task in watching:
                    task.cancel()

    def result(self, setup: Setup, before: Level, after: Level, *, interrupted: bool) -> LoadResult:
        sessions = tuple(sorted(self._gathering.sessions, key=lambda one: one.number))
        seconds = self._gathering.seconds()
        totals = self._totals(sessions, seconds)
        return LoadResult(
            setup=setup,
            seconds=seconds,
            sessions=sessions,
            events=tuple(self._events),
            before=before,
            after=after,
            totals=totals,
            slo=verdicts.slo(
                sessions,
                self._plan.slo,
                all_admitted=self._plan.together,
                raw_frames=totals.raw_frames,
            ),
            soak=verdicts.soak(seconds, before, after),
            warnings=tuple(_warnings(sessions, seconds, self._plan.processes)),
            interrupted=interrupted,
            latency_bins=self._gathering.latencies.bins(),
        )

    async def _sampled_to(self, seconds: int) -> None:
        """Until the server was looked at, at the end of that many seconds."""
        while self._samples <= seconds:
            self._sampled.clear()
            await self._sampled.wait()

    async def _sample(self) -> None:
        """The server at each second's end."""
        second: int | None = None
        while True:
            due_s = self._start_s + (0 if second is None else second + 1)
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            self._gathering.sampled(second, await self._watch.take())
            self._samples += 1
            self._sampled.set()
            if second is not None and second > 0:
                # Of the last second the client processes may still have to tell.
                self._tell(self._gathering.second(second - 1))
            second = 0 if second is None else second + 1

    async def _change_quota(self) -> None:
        for at_s, cores in sorted(self._plan.quota_changes):
            await asyncio.sleep(max(0.0, self._start_s + at_s - time.monotonic()))
            assert self._server.quota is not None, "checked at the start"
            self._server.quota.set(cores)
            at_s = time.monotonic() - self._start_s
            self._events.append(Event(round(at_s, 3), f"CPU quota set to {cores:g} cores"))

    async def _stopped(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._events.append(Event(round(time.monotonic() - self._start_s, 3), "stopped by hand"))
        self._workers.stop()

    def _totals(self, sessions: Sequence[Session], seconds: Sequence[Second]) -> Totals:
        outcomes = [one.outcome for one in sessions]
        measured = [one for one in sessions if one.measured_s > 0]
        session_s = sum(one.measured_s for one in measured)
        end_s = len(seconds)
        if self._plan.together and self._end_s is not None:
            end_s = min(end_s, math.floor(self._end_s))
        counted = self._gathering.counted(self._measure_from_s, end_s)
        cpu_s = counted.server_cpu_s
        shares = [
            one.back / one.sent
            for one in measured
            if one.sent and one.measured_s >= verdicts.LEAST_JUDGED_S
        ]
        return Totals(
            seconds=counted.seconds,
            asked=len(sessions),
            admitted=sum(one.admitted for one in sessions),
            refused=outcomes.count(Outcome.REFUSED),
            failed=outcomes.count(Outcome.FAILED),
            cut_off=outcomes.count(Outcome.CUT_OFF),
            most_open=max((one.open for one in seconds), default=0),
            session_seconds=round(session_s, 3),
            sent=sum(one.sent for one in measured),
            back=sum(one.back for one in measured),
            lost=sum(one.lost for one in measured),
            latency_ms=self._gathering.latencies.percentiles(),
            freezes=sum(one.freezes for one in measured),
            worst_fps_share=round(min(shares), 4) if shares else None,
            server_cpu_seconds=None if cpu_s is None else round(cpu_s, 3),
            frames_counted=counted.back,
            server_cpu_ms_per_frame=_over(cpu_s, counted.back, 1e3),
            server_cores_per_session=_over(cpu_s, counted.session_seconds),
            sent_kbps=_over(sum(one.sent_bytes for one in measured), session_s, 8e-3),
            back_kbps=_over(sum(one.back_bytes for one in measured), session_s, 8e-3),
            dropped=counted.dropped,
            raw_frames=counted.raw_frames,
            client_cpu_seconds=round(counted.client_cpu_s, 3),
            client_cores_per_session=_over(counted.client_cpu_s, counted.session_seconds),
            verified=sum(one.verified for one in sessions),
            mispaired=sum(one.mispaired for one in sessions),
            assumed=sum(one.pairing == "assumed" for one in measured),
        )


@asynccontextmanager
async def _one_reason() -> AsyncIterator[None]:
    """The first error of a group in place of the group: callers know errors by their kinds."""
    try:
        yield
    except BaseExceptionGroup as group:
        reason: BaseException = group
        while isinstance(reason, BaseExceptionGroup):
            reason = reason.exceptions[0]
        raise reason from group


async def _rehearsed(target: Target, server: Server, plan: Plan, watch: Watch) -> None:
    """Its sessions are counted nowhere."""
    job = Job(
        adapter=target.adapter,
        url=server.url,
        clip=plan.clip,
        wish=plan.wish,
        arrivals=within(AtOnce(plan.rehearsal), None),
        start_s=time.monotonic(),
        end_s=REHEARSAL_S,
    )
    await Workers(1).run(lambda: job, lambda _worker, _told: None)
    await _at_rest(watch, None)


async def _at_rest(watch: Watch, before: Level | None) -> Level:
    """When no session is left, and memory, threads and descriptors are as before; or what there is
    when that takes too long: a server may give memory back a moment later."""
    now = await watch.level()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GONE_TIMEOUT_S):
            while now.sessions:
                await asyncio.sleep(REST_INTERVAL_S)
                now = await watch.level()
    if before is None:
        return now
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REST_TIMEOUT_S):
            while (
                _more(now.threads, before.threads)
                or _more(now.files, before.files)
                or _more(now.rss_bytes, verdicts.most_at_rest(before.rss_bytes))
            ):
                await asyncio.sleep(REST_INTERVAL_S)
                now = await watch.level()
    return now


def _more(now: int | None, before: int | None) -> bool:
    return now is not None and before is not None and now > before


def _warnings(sessions: Sequence[Session], seconds: Sequence[Second], processes: int) -> list[str]:
    found = []
    limit = max(1, LIMITED_SHARE * len(seconds))
    if sum(one.client_cores > BUSY_CLIENT * processes for one in seconds) > limit:
        most = max(one.client_cores for one in seconds)
        found.append(
            f"the client used up to {most:.2f} cores in {processes} process(es): it may have been "
            "the limit; use more --client-processes"
        )
    late = [one.client_lag_ms for one in seconds if one.client_lag_ms > LATE_CLIENT_MS]
    if len(late) > limit:
        found.append(
            f"a client's own event loop was late by more than {LATE_CLIENT_MS:g} ms in {len(late)} "
            f"of {len(seconds)} seconds (at most {max(late):.0f} ms), which is in the latencies"
        )
    measured = [one for one in sessions if one.measured_s > 0]
    if assumed := sum(one.pairing == "assumed" for one in measured):
        found.append(
            f"in {assumed} of {len(measured)} sessions no number came back readable: the first "
            "frame back was taken for the first one sent"
        )
    if wrong := sum(one.mispaired for one in measured):
        found.append(f"{wrong} time(s) frames were found to be paired wrongly before that time")
    return found


def _setup(target: Target, plan: Plan) -> Setup:
    clip = plan.clip
    return Setup(
        command_line=portable(plan.command_line),
        target=target.name,
        server=portable(target.where),
        machine=this_machine(),
        server_cores=target.cores,
        server_quota=target.quota,
        client_processes=plan.processes,
        client_cores=plan.client_cores,
        clip=plan.clip_name,
        codec=clip.codec.value,
        width=clip.width,
        height=clip.height,
        fps=clip.fps,
        effect=dict(plan.wish.effect),
        profile=str(plan.profile),
        seed=plan.seed,
        slo=plan.slo,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        planned_seconds=plan.seconds,
        clients=plan.client,
    )


def _over(value: float | None, by: float, factor: float = 1.0) -> float | None:
    return None if value is None or not by else round(factor * value / by, 4)
