"""The server from outside: its process tree in /proc, and its /metrics where it has some.

A scrape a second costs this project's service about a millisecond of CPU; it is asked for so that
event-loop lag, quality levels and dropped frames can be seen beside what the clients saw.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from loadtest import procfs
from loadtest.results import Level

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadtest.server import Server

SCRAPE_TIMEOUT_S = 0.9
LAG = "backcloth_event_loop_lag_seconds_bucket"
DROPPED = "backcloth_frames_dropped_total"
QUALITY = "backcloth_quality_level"
RAW = "backcloth_raw_frames_total"
SESSIONS = "backcloth_sessions"
CAPACITY = "backcloth_capacity_ratio"
THROTTLED = "backcloth_cpu_throttled_seconds_total"


class Metrics:
    """One scrape: values by name and labels."""

    def __init__(self, text: str) -> None:
        """Raises ValueError where it is no exposition."""
        self._values: dict[str, dict[tuple[tuple[str, str], ...], float]] = defaultdict(dict)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = tuple(sorted(sample.labels.items()))
                self._values[sample.name][labels] = sample.value

    def total(self, name: str) -> float | None:
        """Over all labels; None where it is not exported."""
        found = self._values.get(name)
        return sum(found.values()) if found else None

    def by(self, name: str, label: str) -> dict[str, float]:
        """Values by one label, summed over the others; empty where it is not exported."""
        found: dict[str, float] = defaultdict(float)
        for labels, value in self._values.get(name, {}).items():
            found[dict(labels).get(label, "")] += value
        return dict(found)


@dataclass(frozen=True, slots=True)
class Sample:
    """What the server was at one moment."""

    at_s: float
    "Monotonic clock."
    usage: procfs.Usage | None
    metrics: Metrics | None


class Watch:
    """Takes samples of one server."""

    def __init__(self, http: aiohttp.ClientSession, server: Server, *, scrape: bool) -> None:
        self._http = http
        self._server = server
        self._scrape = scrape

    async def take(self) -> Sample:
        """Never raises: what does not answer is None."""
        at_s = time.monotonic()
        pid = self._server.pid
        # Reading all of /proc takes milliseconds, which latencies of frames would be charged with.
        usage = None if pid is None else await asyncio.to_thread(procfs.usage, pid)
        return Sample(at_s, usage, await self._metrics() if self._scrape else None)

    async def level(self) -> Level:
        sample = await self.take()
        usage, metrics = sample.usage, sample.metrics
        sessions = None if metrics is None else metrics.total(SESSIONS)
        return Level(
            rss_bytes=None if usage is None else usage.rss_bytes,
            threads=None if usage is None else usage.threads,
            files=None if usage is None else usage.files,
            sessions=None if sessions is None else round(sessions),
        )

    async def _metrics(self) -> Metrics | None:
        timeout = aiohttp.ClientTimeout(SCRAPE_TIMEOUT_S)
        try:
            async with self._http.get(f"{self._server.url}/metrics", timeout=timeout) as answer:
                if answer.status != 200:
                    return None
                return await asyncio.to_thread(Metrics, await answer.text())
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None


def lag_ms(before: Metrics | None, after: Metrics | None, share: float) -> float | None:
    """The upper edge of the bucket in which that share of the timers between two scrapes ends; of
    those beyond the last edge, that edge."""
    if before is None or after is None:
        return None
    earlier = before.by(LAG, "le")
    edges = sorted(
        (float(edge), count - earlier.get(edge, 0.0)) for edge, count in after.by(LAG, "le").items()
    )
    if not edges or edges[-1][1] <= 0:
        return None
    wanted = share * edges[-1][1]
    finite = [edge for edge, _ in edges[:-1]]
    return 1e3 * next((edge for edge, count in edges[:-1] if count >= wanted), finite[-1])


def dropped(before: Metrics | None, after: Metrics | None) -> dict[str, int]:
    """Frames by reason, between two scrapes."""
    if before is None or after is None:
        return {}
    return rises(before.by(DROPPED, "reason"), after.by(DROPPED, "reason"))


def rises(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, int]:
    """How much each count went up, those alone that did."""
    found = {name: round(value - before.get(name, 0.0)) for name, value in after.items()}
    return {name: count for name, count in found.items() if count > 0}
