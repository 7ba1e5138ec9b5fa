"""Crowds in processes of their own, for more sessions than one event loop can time well.

Each worker takes every k-th arrival and tells over a pipe. With one process everything runs in the
caller's own loop, and no worker is started.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import uvloop

from loadtest.client import clients_on_loopback
from loadtest.crowd import Crowd, Job, Told

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from loadtest.clients import Host

READY_TIMEOUT_S = 30.0
JOIN_TIMEOUT_S = 5.0
STOP = "stop"
READY = "ready"
DONE = "done"


class WorkerDied(Exception):
    """A client process ended before its crowd did."""


class Workers:
    """`count` client processes; `run` a job on them, `stop` it."""

    def __init__(self, count: int, host: Host | None = None) -> None:
        """`host`: what the sessions of a single process run in, if not in the caller's."""
        self._count = count
        self._host = host
        self._crowd: Crowd | None = None
        self._pipes: list[Connection] = []

    def stop(self) -> None:
        """All sessions leave."""
        if self._crowd is not None:
            self._crowd.stop()
        for pipe in self._pipes:
            with contextlib.suppress(OSError):  # it is through already
                pipe.send(STOP)

    async def run(self, job: Callable[[], Job], tell: Callable[[int, Told], None]) -> None:
        """Until the last session is closed. The job is asked for when all processes are there, so
        that its start is not in the past. `tell` is told the worker's index, too."""
        if self._count == 1:
            self._crowd = Crowd(job(), lambda told: tell(0, told), self._host)
            await self._crowd.run()
            return
        context = multiprocessing.get_context("spawn")
        processes = []
        try:
            for _ in range(self._count):
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs,), daemon=True)
                process.start()
                theirs.close()
                processes.append(process)
                self._pipes.append(ours)
            async with asyncio.timeout(READY_TIMEOUT_S):
                for pipe in self._pipes:
                    assert await _received(pipe) == READY, "a worker says first that it is there"
            whole = job()
            async with asyncio.TaskGroup() as group:
                for index, pipe in enumerate(self._pipes):
                    pipe.send(replace(whole, arrivals=whole.arrivals[index :: self._count]))
                    group.create_task(_listen(index, pipe, tell))
        finally:
            for pipe in self._pipes:
                pipe.close()
            self._pipes = []
            for process in processes:
                await asyncio.to_thread(process.join, JOIN_TIMEOUT_S)
                if process.is_alive():
                    process.kill()


async def _listen(index: int, pipe: Connection, tell: Callable[[int, Told], None]) -> None:
    while (told := await _received(pipe)) != DONE:
        tell(index, cast("Told", told))
    pipe.send(STOP)


async def _received(pipe: Connection) -> object:
    """The next object from a pipe, which a thread waits for: an event loop's own way would make the
    pipe one that does not block, and with it the sending end. Raises WorkerDied."""
    try:
        return await asyncio.to_thread(pipe.recv)
    except (EOFError, OSError):
        raise WorkerDied("a client process ended early") from None


def _work(pipe: Connection) -> None:
    """A worker's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells what ^C means
    clients_on_loopback()
    pipe.send(READY)
    uvloop.run(_crowd(pipe))


async def _crowd(pipe: Connection) -> None:
    job = await _received(pipe)
    assert isinstance(job, Job), "the job comes before anything else"
    crowd = Crowd(job, pipe.send)
    stopping = asyncio.ensure_future(_received(pipe))
    stopping.add_done_callback(lambda _: crowd.stop())
    await crowd.run()
    pipe.send(DONE)
    # The parent says so in any case: the thread that waits for it would keep this process.
    with contextlib.suppress(WorkerDied):
        await stopping
