"""The server that is measured: started and ended here, on cores and with a CPU quota of its own, or
one that runs already."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import socket
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp

from loadtest import procfs
from loadtest.quota import Quota

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
POLL_INTERVAL_S = 0.1
OUTPUT_TAIL_BYTES = 4000


class NotStarted(Exception):
    """The server ended or did not answer in time; the message has the end of what it wrote."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers."""

    url: str
    pid: int | None
    "None when it was started by somebody else, who did not tell: then no CPU is measured."
    quota: Quota | None = None
    "Its cgroup, where it has one."


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and how to reach it: a command that starts it, or the address where it runs."""

    adapter: str
    command: str | None = None
    url: str | None = None
    pid: int | None = None
    cores: str | None = None
    "In taskset's notation."
    quota: float | None = None
    "In cores."
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.adapter

    @property
    def where(self) -> str:
        """The command, or the address."""
        return self.command or self.url or ""


@asynccontextmanager
async def reached(target: Target) -> AsyncIterator[Server]:
    """Start it, or take it as it is. Raises NotStarted or NoQuota."""
    if target.command is None:
        assert target.url is not None, "a target has a command or an address"
        yield Server(target.url, target.pid)
        return
    quota = None if target.quota is None else Quota(target.quota)
    try:
        async with started(
            target.command, cores=target.cores, quota=quota, environ=target.environ
        ) as server:
            yield server
    finally:
        if quota is not None:
            await asyncio.to_thread(quota.remove)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def started(
    command: str,
    *,
    cores: str | None = None,
    quota: Quota | None = None,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Server]:
    """Run a command line until the block is left; `{port}` in it becomes a free port.

    `cores` pins it, in taskset's notation ("0", "0-1"). Raises NotStarted.
    """
    port = free_port()
    words = shlex.split(command.replace("{port}", str(port)))
    if cores is not None:
        words = ["taskset", "-c", cores, *words]
    if quota is not None:
        words = quota.wrapped(words)
    with tempfile.TemporaryFile() as output:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environ or {})},
            start_new_session=True,  # a group of its own, so that its children end with it
        )
        server = Server(f"http://127.0.0.1:{port}", process.pid, quota)
        try:
            if not await _answers(server.url, process):
                size = output.seek(0, os.SEEK_END)
                output.seek(max(0, size - OUTPUT_TAIL_BYTES))
                raise NotStarted(f"{command}\n{output.read().decode(errors='replace')}")
            yield server
        finally:
            await _end(process)


async def _answers(url: str, process: asyncio.subprocess.Process) -> bool:
    """Whether GET /healthz has answered before the process ended or the time was up."""
    deadline_s = asyncio.get_running_loop().time() + START_TIMEOUT_S
    async with aiohttp.ClientSession() as http:
        while process.returncode is None and asyncio.get_running_loop().time() < deadline_s:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with http.get(f"{url}/healthz", timeout=aiohttp.ClientTimeout(2)) as answer:
                    if answer.status == 200:
                        return True
            await asyncio.sleep(POLL_INTERVAL_S)
    return False


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the process and what it started, and wait for all of them."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
                while procfs.group(process.pid):  # noqa: ASYNC110 (grandchildren send no event)
                    await asyncio.sleep(POLL_INTERVAL_S)
                return
