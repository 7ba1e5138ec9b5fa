"""Keeps every session on the quality level that there is CPU for.

A task of the application runs `run`: four times a second it reads what the tracks did and what the
machine says, has service/policy/quality.py decide, and tells the sessions whose level changes.
Everything is on the event loop: reading the machine's files takes 0.05 ms, a decision 4 us for each
session, and 2 ms where it lowers a hundred of them at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from functools import reduce
from typing import TYPE_CHECKING, Final, Protocol
from weakref import WeakKeyDictionary

from service.policy.levels import Level
from service.policy.quality import Quality
from service.policy.strain import Readings, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from service.rtc.track import VideoTrack
    from service.session.session import Session

logger = logging.getLogger(__name__)

TICK_S: Final = 0.25
LEAST_SPAN_S: Final = 0.1
"""A tick so soon after a late one would take a moment for a trend: it is left out."""


class Cpu(Protocol):
    """The CPU budget and its use."""

    @property
    def quota_cores(self) -> float: ...
    def usage_s(self) -> float: ...
    def throttled_s(self) -> float: ...


class QualityCounters(Protocol):
    """Where changes are counted."""

    def quality_changed(self, direction: str) -> None: ...


class QualityControl:
    """The quality levels of a process's sessions."""

    def __init__(
        self,
        *,
        sessions: Callable[[], Iterable[Session]],
        cpu: Cpu,
        counters: QualityCounters,
        lowest: Level = Level.BACKGROUND,
        clock: Callable[[], float] = time.monotonic,
        process_time: Callable[[], float] = time.process_time,
    ) -> None:
        """No session goes below `lowest`; `full` means that all stay where they are."""
        self._sessions = sessions
        self._cpu = cpu
        self._counters = counters
        self._clock = clock
        self._process_time = process_time
        self._quality = Quality(lowest)
        self._works: WeakKeyDictionary[VideoTrack, Work] = WeakKeyDictionary()
        "What each track had done at the last tick."
        self._ticked_s = clock()
        self._used_s, self._throttled_s = cpu.usage_s(), cpu.throttled_s()
        self._process_s = process_time()

    async def run(self) -> None:
        """Until cancelled. A fault costs one tick."""
        while True:
            due_s = self._clock() + TICK_S
            await asyncio.sleep(TICK_S)
            try:
                self.tick(lag_s=max(0.0, self._clock() - due_s))
            except Exception:
                logger.exception("the quality levels could not be judged")

    def tick(self, *, lag_s: float) -> None:
        """Once. lag_s: how late the event loop runs it."""
        now_s = self._clock()
        if now_s - self._ticked_s < LEAST_SPAN_S:
            return
        sessions = {session.id: session for session in self._sessions() if session.tracks}
        before = {name: session.level for name, session in sessions.items()}
        changes = self._quality.tick(self._readings(sessions, now_s, lag_s))
        for change in changes:
            self._counters.quality_changed("down" if change.lowered else "up")
        for name, session in sessions.items():
            # By what the session has and not by what changed: another peer begins where the last
            # one of its session ended, and the policy knows nothing of it.
            if (level := self._quality.level(name)) is not before[name]:
                session.set_level(level)
        self._tell(len(changes))

    def lowered(self, session_id: str) -> bool:
        """Whether a session is below the highest level."""
        return self._quality.level(session_id) is not Level.FULL

    @property
    def short(self) -> bool:
        """Whether any session is, because they need more CPU together than there is."""
        return self._quality.short

    def counts(self) -> Mapping[str, int]:
        """How many sessions with a peer are on each level. From any thread."""
        return {level.value: count for level, count in self._quality.counts().items()}

    def _readings(self, sessions: Mapping[str, Session], now_s: float, lag_s: float) -> Readings:
        span_s, self._ticked_s = now_s - self._ticked_s, now_s
        works = {
            name: reduce(Work.and_also, [self._since(track) for track in session.tracks.values()])
            for name, session in sessions.items()
        }
        throttled_s = self._cpu.throttled_s()
        throttled_for_s, self._throttled_s = throttled_s - self._throttled_s, throttled_s
        return Readings(
            now_s=now_s,
            span_s=span_s,
            quota_cores=self._cpu.quota_cores,
            used_s=self._used(span_s),
            throttled_s=max(0.0, throttled_for_s),
            lag_s=lag_s,
            sessions=works,
        )

    def _since(self, track: VideoTrack) -> Work:
        work = track.work()
        before = self._works.get(track, Work())
        self._works[track] = work
        return work.since(before)

    def _used(self, span_s: float) -> float:
        """CPU seconds since the last tick."""
        used_s, process_s = self._cpu.usage_s(), self._process_time()
        used_for_s, self._used_s = used_s - self._used_s, used_s
        process_for_s, self._process_s = process_s - self._process_s, process_s
        # Where a quota comes or goes, another counter tells the use from then on.
        possible_s = span_s * (os.cpu_count() or 1)
        return used_for_s if 0 <= used_for_s <= possible_s else process_for_s

    def _tell(self, changed: int) -> None:
        if changed:
            counts = {name: count for name, count in self.counts().items() if count}
            logger.info("quality levels changed for %d sessions: %s", changed, counts)
