"""SPINE of a run: start the server -> open the sessions -> warm up -> measure -> close everything.

`measure` is one run against one server; `compare` runs two servers in alternation, pair by pair, so
that a machine that is slow for a while is slow for both.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
import aioice.ice

from loadtest import procfs
from loadtest.adapters import ADAPTERS, Wish
from loadtest.client import Client
from loadtest.figures import Measurement, Percentiles, Ratios
from loadtest.server import Server, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from loadtest.clip import EncodedClip

WARM_UP_S = 2.0
FIRST_RETURN_TIMEOUT_S = 20.0


class NothingBack(Exception):
    """A session was opened and no frame came back."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and how to reach it: a command that starts it, or the address where it runs."""

    adapter: str
    command: str | None = None
    url: str | None = None
    pid: int | None = None
    cores: str | None = None

    @property
    def name(self) -> str:
        return self.adapter


@dataclass(frozen=True, slots=True)
class Load:
    """What is put on it."""

    clip: EncodedClip
    wish: Wish
    sessions: int
    seconds: float


def clients_on_loopback() -> None:
    """Let this process's peers use 127.0.0.1, which aioice leaves out of a machine's addresses."""
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


async def measure(target: Target, load: Load) -> Measurement:
    """Raises NotStarted, Refused, NothingBack, TimeoutError or ConnectionError."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(_reached(target))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        clients = []
        for _ in range(load.sessions):
            line = ADAPTERS[target.adapter](http, server.url, load.wish)
            client = Client(load.clip, line)
            stack.push_async_callback(client.close)
            await client.start()
            clients.append(client)
        await _all_returning(clients)
        await asyncio.sleep(WARM_UP_S)
        return await _window(target, server, load, clients)


async def compare(
    first: Target, second: Target, load: Load, *, runs: int, tell: Callable[[str], None]
) -> tuple[list[tuple[Measurement, Measurement]], Ratios | None]:
    """`runs` pairs, each beginning with the other server than the last; CPU per returned frame of
    the second over the first. None where no CPU was measured."""
    pairs = []
    for run in range(runs):
        order = (first, second) if run % 2 == 0 else (second, first)
        results = [await measure(target, load) for target in order]
        a, b = results if order[0] is first else reversed(results)
        pairs.append((a, b))
        tell(f"pair {run + 1}\n  A {a.as_line()}\n  B {b.as_line()}")
        if (ratio := _ratio(a, b)) is not None:
            tell(f"  B/A CPU per frame {ratio:.2f}")
    ratios = [ratio for a, b in pairs if (ratio := _ratio(a, b)) is not None]
    return pairs, Ratios(tuple(ratios)) if ratios else None


@asynccontextmanager
async def _reached(target: Target) -> AsyncIterator[Server]:
    if target.command is None:
        assert target.url is not None, "a target has a command or an address"
        yield Server(target.url, target.pid)
        return
    async with started(target.command, cores=target.cores) as server:
        yield server


async def _all_returning(clients: list[Client]) -> None:
    try:
        async with asyncio.timeout(FIRST_RETURN_TIMEOUT_S):
            for client in clients:
                await client.came_back(1)
    except TimeoutError:
        silent = sum(not client.returned for client in clients)
        raise NothingBack(f"{silent} of {len(clients)} sessions returned no frame") from None


async def _window(target: Target, server: Server, load: Load, clients: list[Client]) -> Measurement:
    own_s = time.process_time()
    sent = sum(client.sent_bytes for client in clients)
    returned = sum(client.returned_bytes for client in clients)
    cpu_s = None if server.pid is None else procfs.cpu_seconds(server.pid)
    begin_s = time.monotonic()
    await asyncio.sleep(load.seconds)
    end_s = time.monotonic()
    used_s = None if server.pid is None else procfs.cpu_seconds(server.pid) - (cpu_s or 0.0)
    seconds = end_s - begin_s
    counts = [sum(begin_s <= one.at_s < end_s for one in client.returned) for client in clients]
    latencies = [late for client in clients for late in client.latencies_s(begin_s, end_s)]
    kilobits = 8e-3 / seconds / len(clients)
    return Measurement(
        target=target.name,
        codec=load.clip.codec.value,
        width=load.clip.width,
        height=load.clip.height,
        fps=load.clip.fps,
        sessions=len(clients),
        seconds=round(seconds, 3),
        returned_frames=sum(counts),
        returned_fps=tuple(round(count / seconds, 2) for count in counts),
        latency_ms=Percentiles.of(latencies),
        pairing="picture" if all(client.pairing.known for client in clients) else "assumed",
        server_cpu_seconds=None if used_s is None else round(used_s, 3),
        client_cpu_seconds=round(time.process_time() - own_s, 3),
        sent_kbps=round(kilobits * (sum(c.sent_bytes for c in clients) - sent), 1),
        returned_kbps=round(kilobits * (sum(c.returned_bytes for c in clients) - returned), 1),
    )


def _ratio(a: Measurement, b: Measurement) -> float | None:
    one, other = a.cpu_ms_per_frame, b.cpu_ms_per_frame
    return None if not one or other is None else other / one
