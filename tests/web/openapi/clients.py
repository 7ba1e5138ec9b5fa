"""A relay before a service by which every connection comes from an address of its own.

So it is in service: a platform's clients are many. What a client gets wrong counts against its own
address alone, and schemathesis, which tries wrong credentials of every call, is told what is wrong
with each (401) and not to wait (429).
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 1 << 16
CLOSE_TIMEOUT_S = 10


@contextmanager
def many_clients(port: int) -> Iterator[str]:
    """The URL of a relay to this port of 127.0.0.1, without a slash at its end."""
    relay = _Relay(port)
    running = threading.Thread(target=asyncio.run, args=(relay.run(),))
    running.start()
    try:
        assert relay.listening.wait(CLOSE_TIMEOUT_S)
        yield relay.url
    finally:
        relay.end()
        running.join(CLOSE_TIMEOUT_S)
        assert not running.is_alive()


class _Relay:
    """In a thread of its own: what calls it waits for a process."""

    def __init__(self, port: int) -> None:
        self.listening = threading.Event()
        self.url = ""
        self._port = port
        self._numbers = count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self.listening.set()
        await self._ended.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def end(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._ended.set)

    async def _connected(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        number = next(self._numbers)
        address = f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
        far, out = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(address, 0))
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pass_on(near, out))
                both.create_task(_pass_on(far, back))
        finally:
            for writer in (out, back):
                writer.close()
            self._tasks.discard(task)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until one side has ended; the other one is told."""
    with suppress(ConnectionError):
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    with suppress(OSError, RuntimeError):
        writer.write_eof()
