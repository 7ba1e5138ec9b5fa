"""The threads that frames are worked on: as many at once as the CPU budget has cores, at any time.

A thread pool cannot shrink, and a quota can. More jobs at once than the quota has cores use it up
early in each of its periods (100 ms, usually) and then stand still together, the event loop among
them: a frame is late by tens of milliseconds where it would have waited for a few. So threads are
started as the budget grows, and kept idle when it shrinks.

A track gives a job for each frame, so the way there and back is short (docs/performance.md): one
lock, one queue that wakes a thread, one callback on the loop. A job runs in a copy of the context
that it was given in, as with asyncio.to_thread: what it logs names the session that it is about
(logs.py).
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import os
from collections import deque
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, TypeVarTuple

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Workers(Executor):
    """First come, first served. The caller bounds what waits: a track has one job at a time."""

    def __init__(self, budget_cores: Callable[[], float], *, cpus: int | None = None) -> None:
        """``budget_cores`` is asked at each job's start and end, from any thread. More threads
        than ``cpus`` (the machine's) are of no use whatever the budget is told to be."""
        self._budget_cores = budget_cores
        self._cpus = cpus or os.cpu_count() or 1
        self._lock = Lock()
        self._waiting: deque[_Job] = deque()
        self._running = 0
        "Threads that are at work. While anything waits there is one at least."
        self._idle = 0
        self._wake: SimpleQueue[bool] = SimpleQueue()
        "For one idle thread each: whether there is work, or it is to end."
        self._threads: list[Thread] = []
        self._closed = False

    @property
    def limit(self) -> int:
        """How many jobs may run at once now."""
        return max(1, min(self._cpus, math.ceil(self._budget_cores())))

    async def run(self, fn: Callable[[*Ts], T], /, *args: *Ts) -> T:
        """``fn(*args)`` in a thread. Cancelled while it waits for one, it is not called. Raises
        RuntimeError after shutdown."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._post(_Awaited(loop, future, contextvars.copy_context(), fn, args))
        return await future

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As Executor.submit; raises RuntimeError after shutdown."""
        future: Future[T] = Future()
        context = contextvars.copy_context()
        self._post(_Submitted(future, lambda: context.run(fn, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As Executor.shutdown: what waits is still done, or cancelled if asked."""
        with self._lock:
            self._closed = True
            dropped = list(self._waiting) if cancel_futures else []
            if cancel_futures:
                self._waiting.clear()
            for _ in range(self._idle):
                self._wake.put(False)
            self._idle = 0
        for job in dropped:
            job.drop()
        if wait:
            for thread in self._threads:
                thread.join()

    def _post(self, job: _Job) -> None:
        with self._lock:
            if self._closed:
                raise RuntimeError("the workers have been shut down")
            self._waiting.append(job)
            if self._running < self.limit:
                self._engage()

    def _engage(self) -> None:
        """One more thread at work: an idle one, or where there is none a new one."""
        if self._idle:
            self._idle -= 1
            self._wake.put(True)
        else:
            # Not waited for where the process ends without a shutdown, as after a failed start.
            thread = Thread(target=self._serve, name=f"frames_{len(self._threads)}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has no more threads
                if self._running:
                    return  # it will be done by one that is there
                self._waiting.pop()
                raise
            self._threads.append(thread)
        self._running += 1

    def _serve(self) -> None:
        """One job after the other while there are any, and while so many may run."""
        while True:
            with self._lock:
                if self._waiting and self._running <= self.limit:
                    job = self._waiting.popleft()
                else:
                    job = None
                    self._running -= 1
                    if self._closed:
                        return
                    self._idle += 1
            if job is not None:
                job.do()
                del job  # nothing of a frame is held while the next one is waited for
            elif not self._wake.get():
                return


class _Job(Protocol):
    """Neither raises."""

    def do(self) -> None: ...
    def drop(self) -> None: ...


class _Submitted:
    """For a concurrent.futures.Future."""

    __slots__ = ("_call", "_future")

    def __init__(self, future: Future[Any], call: Callable[[], object]) -> None:
        self._future, self._call = future, call

    def do(self) -> None:
        if not self._future.set_running_or_notify_cancel():
            return
        try:
            result = self._call()
        except BaseException as exc:
            self._future.set_exception(exc)
        else:
            self._future.set_result(result)

    def drop(self) -> None:
        self._future.cancel()


class _Awaited:
    """For a coroutine."""

    __slots__ = ("_args", "_context", "_fn", "_future", "_loop")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        future: asyncio.Future[Any],
        context: contextvars.Context,
        fn: Callable[..., object],
        args: tuple[object, ...],
    ) -> None:
        self._loop, self._future, self._context = loop, future, context
        self._fn, self._args = fn, args

    def do(self) -> None:
        if self._future.cancelled():
            return
        try:
            result, fault = self._context.run(self._fn, *self._args), None
        except BaseException as exc:
            result, fault = None, exc
        self._tell(_settle, self._future, result, fault)

    def drop(self) -> None:
        self._tell(self._future.cancel)

    def _tell(self, callback: Callable[..., object], *args: object) -> None:
        try:  # noqa: SIM105 (once a frame: it costs nothing)
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more


def _settle(future: asyncio.Future[Any], result: object, fault: BaseException | None) -> None:
    if future.done():
        return  # cancelled meanwhile
    if fault is None:
        future.set_result(result)
    else:
        future.set_exception(fault)
