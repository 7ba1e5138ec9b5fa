"""The seconds and sessions of a run, put together as they are told by client processes and by the
samples of the server."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from loadtest import watch
from loadtest.crowd import Finished, SecondCounts
from loadtest.figures import Histogram, Percentiles
from loadtest.results import Second

if TYPE_CHECKING:
    from loadtest.crowd import Told
    from loadtest.results import Session
    from loadtest.watch import Sample

RANKED_AFTER_S = 10
"""Latencies of a second are kept one by one until every client process has told its share."""


@dataclass(slots=True)
class _Clients:
    """What clients told of one second."""

    sent: int = 0
    back: int = 0
    least: int | None = None
    freezes: int = 0
    latencies_s: list[float] = field(default_factory=list)
    ranked: Percentiles | None = None
    cpu_s: float = 0.0
    lag_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Server:
    """What happened at the server between two samples, named as in results.Second."""

    cpu_s: float | None
    cores: float | None
    rss_bytes: int | None
    threads: int | None
    files: int | None
    lag_p50_ms: float | None
    lag_p99_ms: float | None
    capacity_ratio: float | None
    sessions: int | None
    throttled_s: float | None
    quality: dict[str, int]
    dropped: dict[str, int]
    raw_frames: int | None

    @classmethod
    def between(cls, before: Sample, after: Sample) -> _Server:
        cpu_s = cores = None
        if before.usage is not None and after.usage is not None:
            cpu_s = max(0.0, after.usage.cpu_s - before.usage.cpu_s)
            cores = cpu_s / (after.at_s - before.at_s)
        usage, earlier, metrics = after.usage, before.metrics, after.metrics
        throttled = None if metrics is None else metrics.total(watch.THROTTLED)
        throttled_before = None if earlier is None else earlier.total(watch.THROTTLED)
        return cls(
            cpu_s=cpu_s,
            cores=None if cores is None else round(cores, 4),
            rss_bytes=None if usage is None else usage.rss_bytes,
            threads=None if usage is None else usage.threads,
            files=None if usage is None else usage.files,
            lag_p50_ms=watch.lag_ms(earlier, metrics, 0.5),
            lag_p99_ms=watch.lag_ms(earlier, metrics, 0.99),
            capacity_ratio=None if metrics is None else metrics.total(watch.CAPACITY),
            sessions=_whole(None if metrics is None else metrics.total(watch.SESSIONS)),
            throttled_s=None
            if throttled is None or throttled_before is None
            else round(throttled - throttled_before, 4),
            quality={}
            if metrics is None
            else {
                level: round(count)
                for level, count in metrics.by(watch.QUALITY, "level").items()
                if count
            },
            dropped=watch.dropped(earlier, metrics),
            raw_frames=_whole(None if metrics is None else metrics.total(watch.RAW)),
        )


_UNSEEN = _Server(None, None, None, None, None, None, None, None, None, None, {}, {}, None)


@dataclass(frozen=True, slots=True)
class Counted:
    """Sums over the seconds of a span."""

    seconds: int
    session_seconds: int
    back: int
    server_cpu_s: float | None
    client_cpu_s: float
    dropped: dict[str, int]
    raw_frames: int | None


class Gathering:
    """Takes what is told; gives seconds out in order, and sums."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.latencies = Histogram()
        "Of all measured spans."
        self._clients: dict[int, _Clients] = {}
        self._served: dict[int, _Server] = {}
        self._state: dict[int, dict[int, SecondCounts]] = {}
        "By second and worker."
        self._last_told: dict[int, int] = {}
        "The second of which a worker told last; what it said then holds from then on."
        self._last_sample: Sample | None = None

    def told(self, worker: int, told: Told) -> None:
        """By a client process."""
        if isinstance(told, Finished):
            self.sessions.append(told.session)
            self.latencies.merge(told.latencies)
            return
        into = self._clients.setdefault(told.at_s, _Clients())
        into.sent += told.sent
        into.back += told.back
        into.freezes += told.freezes
        into.cpu_s += told.cpu_s
        into.lag_s = max(into.lag_s, told.lag_s)
        into.latencies_s += told.latencies_s
        if told.least is not None:
            into.least = told.least if into.least is None else min(into.least, told.least)
        # Only the states are asked for later, not another copy of every latency.
        self._state.setdefault(told.at_s, {})[worker] = replace(told, latencies_s=())
        self._last_told[worker] = told.at_s
        old = self._clients.get(told.at_s - RANKED_AFTER_S)
        if old is not None and old.latencies_s:
            old.ranked, old.latencies_s = Percentiles.of(old.latencies_s), []

    def sampled(self, second: int | None, sample: Sample) -> None:
        """The server at the end of a second; None is before the first one."""
        if second is not None and self._last_sample is not None:
            self._served[second] = _Server.between(self._last_sample, sample)
        self._last_sample = sample

    def second(self, at_s: int) -> Second:
        """As far as it is known by now."""
        clients = self._clients.get(at_s, _Clients())
        server = self._served.get(at_s, _UNSEEN)
        states = self._states(at_s)
        return Second(
            at_s=at_s,
            # A worker that has told its last is through with all of its sessions.
            open=sum(one.open for one in states if one.at_s == at_s),
            admitted=sum(one.admitted for one in states),
            refused=sum(one.refused for one in states),
            failed=sum(one.failed for one in states),
            cut_off=sum(one.cut_off for one in states),
            sent_fps=clients.sent,
            back_fps=clients.back,
            least_fps=clients.least,
            latency_ms=clients.ranked or Percentiles.of(clients.latencies_s),
            freezes=clients.freezes,
            server_cores=server.cores,
            server_rss_bytes=server.rss_bytes,
            server_threads=server.threads,
            server_files=server.files,
            loop_lag_p50_ms=server.lag_p50_ms,
            loop_lag_p99_ms=server.lag_p99_ms,
            capacity_ratio=server.capacity_ratio,
            server_sessions=server.sessions,
            throttled_s=server.throttled_s,
            quality=server.quality,
            dropped=server.dropped,
            raw_frames=server.raw_frames,
            client_cores=round(clients.cpu_s, 4),
            client_lag_ms=round(1e3 * clients.lag_s, 1),
        )

    def seconds(self) -> tuple[Second, ...]:
        """All of them."""
        return tuple(self.second(at_s) for at_s in range(max(self._clients, default=-1) + 1))

    def counted(self, begin_s: int, end_s: int) -> Counted:
        """Sums from one second up to, not including, another."""
        span = [second for second in range(begin_s, end_s) if second in self._clients]
        served = [self._served.get(second, _UNSEEN) for second in span]
        cpu = [one.cpu_s for one in served if one.cpu_s is not None]
        dropped: dict[str, int] = {}
        for one in served:
            for reason, count in one.dropped.items():
                dropped[reason] = dropped.get(reason, 0) + count
        raw = [one.raw_frames for one in self._served.values() if one.raw_frames is not None]
        return Counted(
            seconds=len(span),
            session_seconds=sum(self.second(second).open for second in span),
            back=sum(self._clients[second].back for second in span),
            server_cpu_s=sum(cpu) if cpu else None,
            client_cpu_s=sum(self._clients[second].cpu_s for second in span),
            dropped=dropped,
            raw_frames=max(raw) if raw else None,
        )

    def _states(self, at_s: int) -> list[SecondCounts]:
        """Of each worker in that second, or in the last one that it told of."""
        return [
            self._state[min(at_s, last_s)][worker]
            for worker, last_s in self._last_told.items()
            if worker in self._state.get(min(at_s, last_s), {})
        ]


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
