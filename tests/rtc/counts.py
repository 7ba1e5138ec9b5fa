"""Counters that remember, in place of Prometheus."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict


class Counts:
    """Implements the counters' protocols of service/rtc and keeps what it was told."""

    def __init__(self) -> None:
        self.frames: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.packets: Counter[str] = Counter()
        self.lost = 0
        self.raw = 0
        self.person: list[str] = []
        self.stages: Counter[str] = Counter()
        self.stages_cpu_s: dict[str, float] = defaultdict(float)
        self.viewer_frames: Counter[str] = Counter()
        self.viewers_refused: list[str] = []
        self.sfu_attempts: Counter[tuple[str, str]] = Counter()
        self.sfu_losses: Counter[tuple[str, str]] = Counter()
        self.latencies_s: list[float] = []
        self.round_trips_s: list[float] = []
        self._changed = asyncio.Event()

    def frame(self, event: str, n: int = 1) -> None:
        self.frames[event] += n
        self._changed.set()

    async def more(self, event: str, count: int, *, timeout_s: float = 20.0) -> None:
        """Until a frame event has been counted this many more times."""
        goal = self.frames[event] + count
        async with asyncio.timeout(timeout_s):
            while self.frames[event] < goal:
                self._changed.clear()
                await self._changed.wait()

    def frame_dropped(self, reason: str, n: int = 1) -> None:
        self.dropped[reason] += n

    def raw_frame(self) -> None:
        self.raw += 1

    def stage(self, stage: str, wall_s: float, cpu_s: float) -> None:
        assert wall_s >= 0
        assert cpu_s >= 0
        self.stages[stage] += 1
        self.stages_cpu_s[stage] += cpu_s

    def latency(self, seconds: float) -> None:
        self.latencies_s.append(seconds)

    def person_changed(self, state: str) -> None:
        self.person.append(state)

    def viewer_frame(self, event: str) -> None:
        self.viewer_frames[event] += 1
        self._changed.set()

    async def viewed(self, count: int, *, timeout_s: float = 10.0) -> None:
        """Until so many pictures have been sent to viewers or dropped."""
        async with asyncio.timeout(timeout_s):
            while self.viewer_frames.total() < count:
                self._changed.clear()
                await self._changed.wait()

    def viewer_refused(self, reason: str) -> None:
        self.viewers_refused.append(reason)

    def sfu_attempt(self, way: str, outcome: str) -> None:
        self.sfu_attempts[way, outcome] += 1

    def sfu_lost(self, way: str, cause: str) -> None:
        self.sfu_losses[way, cause] += 1

    def rtp(self, direction: str, packets: int) -> None:
        self.packets[direction] += packets

    def rtp_lost(self, packets: int) -> None:
        self.lost += packets

    def rtt(self, seconds: float) -> None:
        self.round_trips_s.append(seconds)
