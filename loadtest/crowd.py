"""All sessions of one client process: they come, are measured and leave, whatever becomes of each.

workers.py runs several crowds in processes of their own; one alone runs in the caller's. What it
finds it tells second by second and session by session, and keeps nothing that grows with time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp

from loadtest.adapters import ADAPTERS, Refused, Wish
from loadtest.clients import Here
from loadtest.results import Outcome, Session
from loadtest.tally import Bin, Bins, Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest import clients
    from loadtest.clients import Host
    from loadtest.clip import EncodedClip
    from loadtest.figures import Histogram
    from loadtest.profiles import Arrival

WARM_UP_S = 2.0
FIRST_RETURN_TIMEOUT_S = 20.0
SILENCE_S = 10.0
"""A session to which nothing came back for this long is given up."""
LAG_INTERVAL_S = 0.05
CLOSE_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Job:
    """What a crowd is to do; goes to another process as it is."""

    adapter: str
    url: str
    clip: EncodedClip
    wish: Wish
    arrivals: tuple[Arrival, ...]
    start_s: float
    "On the monotonic clock, which all processes share: second 0."
    end_s: float | None
    "On the run's clock, when those leave that are still there; None: everybody stays as planned."
    measure_from_s: float = 0.0
    "On the run's clock."


@dataclass(frozen=True, slots=True)
class SecondCounts:
    """One second of one crowd; results.Second says what the fields mean."""

    at_s: int
    open: int
    admitted: int
    refused: int
    failed: int
    cut_off: int
    sent: int
    back: int
    least: int | None
    latencies_s: tuple[float, ...]
    freezes: int
    cpu_s: float
    lag_s: float


@dataclass(frozen=True, slots=True)
class Finished:
    """One session that is over, and all of its latencies."""

    session: Session
    latencies: Histogram


Told = SecondCounts | Finished


class Crowd:
    """Runs a job and tells what it finds."""

    def __init__(self, job: Job, tell: Callable[[Told], None], host: Host | None = None) -> None:
        """`host`: what the sessions run in, if not in this process."""
        self._job = job
        self._host = host or Here()
        self._tell = tell
        self._stopping = asyncio.Event()
        self._bins = Bins()
        self._tallies: dict[int, Tally] = {}
        "Of the sessions that have a connection."
        self._given_up: dict[int, asyncio.Event] = {}
        self._counts = dict.fromkeys(Outcome, 0)
        self._admitted = 0
        self._lag_s = 0.0
        self._second = 0
        self._cpu_s = self._host.cpu_s()

    def stop(self) -> None:
        """Everybody leaves now, and nobody comes any more."""
        self._stopping.set()

    async def run(self) -> None:
        """Until the last session is closed."""
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(connector=connector) as http,
            asyncio.TaskGroup() as group,
        ):
            watching = [group.create_task(self._seconds()), group.create_task(self._own_lag())]
            try:
                async with asyncio.TaskGroup() as sessions:
                    for arrival in self._job.arrivals:
                        if await self._stops_before(self._job.start_s + arrival.at_s):
                            break
                        sessions.create_task(self._session(http, arrival))
            finally:
                for task in watching:
                    task.cancel()
                # The last one may have left at the very end of a second.
                while time.monotonic() >= self._second_ends_s:
                    self._tell_second()

    async def _session(self, http: aiohttp.ClientSession, arrival: Arrival) -> None:
        """One session from its request to its end; nothing that goes wrong leaves this."""
        job = self._job
        ends = [end_s for end_s in (job.end_s, _leaving_s(arrival)) if end_s is not None]
        leave_s = job.start_s + min(ends) if ends else None
        line = ADAPTERS[job.adapter](http, job.url, job.wish)
        tally = Tally(
            lambda: client.pairing,
            job.clip.fps,
            self._bins,
            warm_up_s=WARM_UP_S,
            measure_from_s=job.start_s + job.measure_from_s,
        )
        client = self._host.session(job.clip, line, tally)
        bytes_at_begin = [0, 0]
        tally.on_begin = lambda: bytes_at_begin.__setitem__(
            slice(None), [client.sent_bytes, client.returned_bytes]
        )
        outcome, why, admitted = Outcome.FAILED, "", False
        refusal: Refused | None = None
        try:
            await client.start()
            admitted = True
            self._admitted += 1
            self._tallies[arrival.number] = tally
            outcome, why = await self._served(client, tally, arrival.number, leave_s)
        except Refused as exc:
            outcome = Outcome.REFUSED if exc.full else Outcome.FAILED
            why, refusal = str(exc), exc
        except Exception as exc:  # a run of hours goes on without this session
            why = f"{type(exc).__name__}: {exc}".rstrip(": ")
        ended_s = time.monotonic()
        tally.end(ended_s)
        sent_bytes = client.sent_bytes - bytes_at_begin[0]
        back_bytes = client.returned_bytes - bytes_at_begin[1]
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                if outcome is Outcome.LIVE and tally.measured_s > 0:
                    await client.verify()
                await client.close()
        self._tallies.pop(arrival.number, None)
        self._counts[outcome] += 1
        measured = tally.measured_s > 0
        self._tell(
            Finished(
                Session(
                    number=arrival.number,
                    arrived_s=round(arrival.at_s, 3),
                    first_back_s=self._on_the_run(tally.first_back_s),
                    ended_s=round(ended_s - job.start_s, 3),
                    measured_s=round(tally.measured_s, 3),
                    outcome=outcome,
                    admitted=admitted,
                    why=why,
                    status=None if refusal is None else refusal.status,
                    retry_after_s=None if refusal is None else refusal.retry_after_s,
                    sent=tally.sent_frames,
                    back=tally.back_frames,
                    lost=tally.lost,
                    fps=round(tally.back_frames / tally.measured_s, 2) if measured else None,
                    latency_ms=tally.latencies.percentiles(),
                    freezes=tally.freezes,
                    longest_gap_ms=None
                    if tally.longest_gap_s is None
                    else round(1e3 * tally.longest_gap_s, 1),
                    sent_bytes=sent_bytes if measured else 0,
                    back_bytes=back_bytes if measured else 0,
                    pairing="picture" if client.pairing.known else "assumed",
                    verified=client.pairing.verified,
                    mispaired=client.pairing.mispaired,
                    peer=dict(client.statistics) or None,
                ),
                tally.latencies,
            )
        )

    async def _served(
        self, client: clients.Session, tally: Tally, number: int, leave_s: float | None
    ) -> tuple[Outcome, str]:
        """Until the session's time is over, the run's, or the server's patience."""
        loop = asyncio.get_running_loop()
        silent = self._given_up[number] = asyncio.Event()
        ends: dict[asyncio.Task[Any], tuple[Outcome, str]] = {
            loop.create_task(self._stopping.wait()): (Outcome.LIVE, ""),
            loop.create_task(client.ended.wait()): (Outcome.CUT_OFF, "the connection ended"),
            loop.create_task(silent.wait()): (
                Outcome.CUT_OFF,
                f"nothing came back for {SILENCE_S:g} s",
            ),
        }
        try:
            first = loop.create_task(client.came_back(1))
            ends[first] = (Outcome.LIVE, "")
            await asyncio.wait(
                ends, timeout=FIRST_RETURN_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
            )
            if tally.first_back_s is None and not self._stopping.is_set():
                return Outcome.FAILED, "no frame came back"
            del ends[first]
            first.cancel()
            left_s = None if leave_s is None else max(0.0, leave_s - time.monotonic())
            done, _ = await asyncio.wait(ends, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            return ends[done.pop()] if done else (Outcome.LIVE, "")
        finally:
            del self._given_up[number]
            for task in ends:
                task.cancel()

    @property
    def _second_ends_s(self) -> float:
        return self._job.start_s + self._second + 1

    async def _seconds(self) -> None:
        """Tells of each second when it is over."""
        while True:
            await asyncio.sleep(max(0.0, self._second_ends_s - time.monotonic()))
            self._tell_second()

    def _tell_second(self) -> None:
        ends_s = self._second_ends_s
        done, self._bins.now = self._bins.now, Bin()
        lag_s, self._lag_s = self._lag_s, 0.0
        least: int | None = None
        for number, tally in self._tallies.items():
            count = tally.take_second()
            if tally.measured_since(ends_s - 1):
                least = count if least is None else min(least, count)
            silence_s = ends_s - (tally.last_back_s or ends_s)
            if silence_s >= SILENCE_S and number in self._given_up:
                self._given_up[number].set()
        used_s = self._host.cpu_s()
        self._tell(
            SecondCounts(
                at_s=self._second,
                open=len(self._tallies),
                admitted=self._admitted,
                refused=self._counts[Outcome.REFUSED],
                failed=self._counts[Outcome.FAILED],
                cut_off=self._counts[Outcome.CUT_OFF],
                sent=done.sent,
                back=done.back,
                least=least,
                latencies_s=tuple(done.latencies_s),
                freezes=done.freezes,
                cpu_s=used_s - self._cpu_s,
                lag_s=lag_s,
            )
        )
        self._cpu_s = used_s
        self._second += 1

    async def _own_lag(self) -> None:
        """How late this event loop runs its timers: what it adds to every latency."""
        while True:
            due_s = time.monotonic() + LAG_INTERVAL_S
            await asyncio.sleep(LAG_INTERVAL_S)
            self._lag_s = max(self._lag_s, time.monotonic() - due_s)

    async def _stops_before(self, at_s: float) -> bool:
        """Waits until then, or until everybody is told to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, at_s - time.monotonic())):
                await self._stopping.wait()
        return self._stopping.is_set()

    def _on_the_run(self, at_s: float | None) -> float | None:
        return None if at_s is None else round(at_s - self._job.start_s, 3)


def _leaving_s(arrival: Arrival) -> float | None:
    return None if arrival.stay_s is None else arrival.at_s + arrival.stay_s
