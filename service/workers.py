"""The threads that frames are worked on: as many at once as the CPU budget has cores, at any time.

A thread pool cannot shrink, and a quota can. More jobs at once than the quota has cores use it up
early in each of its periods (100 ms, usually) and then stand still together, the event loop among
them: a frame is late by tens of milliseconds where it would have waited for a few. So threads are
started as the budget grows, and kept idle when it shrinks.

A job runs in a copy of the context that it was given in, as with asyncio.to_thread: what it logs
names the session that it is about (logs.py). That is 0.2 microseconds a job.
"""

from __future__ import annotations

import contextvars
import functools
import math
import os
from collections import deque
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class Workers(Executor):
    """First come, first served. The caller bounds what waits: a track has one job at a time."""

    def __init__(self, budget_cores: Callable[[], float], *, cpus: int | None = None) -> None:
        """``budget_cores`` is asked at each job's start and end, from any thread. More threads
        than ``cpus`` (the machine's) are of no use whatever the budget is told to be."""
        self._budget_cores = budget_cores
        self._cpus = cpus or os.cpu_count() or 1
        # It starts a thread when a job comes and none is idle: never more than ran at once.
        self._pool = ThreadPoolExecutor(self._cpus, thread_name_prefix="frames")
        self._lock = Lock()
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._running = 0
        self._closed = False

    @property
    def limit(self) -> int:
        """How many jobs may run at once now."""
        return max(1, min(self._cpus, math.ceil(self._budget_cores())))

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As Executor.submit; raises RuntimeError after shutdown."""
        future: Future[T] = Future()
        job = functools.partial(contextvars.copy_context().run, fn, *args, **kwargs)
        with self._lock:
            if self._closed:
                raise RuntimeError("the workers have been shut down")
            self._waiting.append((future, job))
            if self._running < self.limit:
                self._running += 1
                self._pool.submit(self._work)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As Executor.shutdown: what waits is still done, or cancelled if asked."""
        with self._lock:
            self._closed = True
            dropped = list(self._waiting) if cancel_futures else []
            if cancel_futures:
                self._waiting.clear()
        for future, _ in dropped:
            future.cancel()
        self._pool.shutdown(wait=wait)

    def _work(self) -> None:
        """One job after the other while there are any, and while so many may run."""
        while True:
            with self._lock:
                if not self._waiting or self._running > self.limit:
                    self._running -= 1
                    return
                future, job = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = job()
            except BaseException as exc:
                future.set_exception(exc)
            else:
                future.set_result(result)
            # Nothing of a frame is held while the next one is waited for.
            del future, job
