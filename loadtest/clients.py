"""The kinds of peers that sessions are made of, and what crowd.py asks of each.

`aiortc`: client.py, which plays packets that were encoded before, and is cheap.
`wrtc`: wrtc/, libwebrtc with its encoder, congestion control and jitter buffer.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from loadtest import procfs
from loadtest.client import Client
from loadtest.wrtc.peers import Peers, peers

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Mapping

    from loadtest.client import Line, Watcher
    from loadtest.clip import EncodedClip

AIORTC, WRTC = "aiortc", "wrtc"
CLIENTS = (AIORTC, WRTC)


class Pairs(Protocol):
    """Which returned frame is which sent frame; pairing.Pairing says more."""

    @property
    def shift(self) -> int: ...
    @property
    def over(self) -> bool: ...
    @property
    def known(self) -> bool: ...
    @property
    def verified(self) -> int: ...
    @property
    def mispaired(self) -> int: ...


class Session(Protocol):
    """One session; client.Client says more."""

    @property
    def pairing(self) -> Pairs: ...
    @property
    def ended(self) -> asyncio.Event: ...
    @property
    def sent_bytes(self) -> int: ...
    @property
    def returned_bytes(self) -> int: ...
    @property
    def statistics(self) -> Mapping[str, Any]: ...
    async def start(self) -> None: ...
    async def came_back(self, count: int) -> None: ...
    async def verify(self) -> None: ...
    async def close(self) -> None: ...


class Host(Protocol):
    """Makes the sessions of one crowd."""

    def session(self, clip: EncodedClip, line: Line, watcher: Watcher) -> Session: ...

    def cpu_s(self) -> float:
        """CPU time used so far by all that the sessions run in."""
        ...


class Here:
    """Sessions of aiortc in this process."""

    def session(self, clip: EncodedClip, line: Line, watcher: Watcher) -> Session:
        return Client(clip, line, verify=True, watcher=watcher)

    def cpu_s(self) -> float:
        return time.process_time()


class InNode:
    """Sessions of libwebrtc in a Node process."""

    def __init__(self, process: Peers) -> None:
        self._process = process

    def session(self, clip: EncodedClip, line: Line, watcher: Watcher) -> Session:
        """`clip` is what the process was started with."""
        return self._process.peer(line, watcher)

    def cpu_s(self) -> float:
        return time.process_time() + procfs.cpu_seconds(self._process.pid)


@asynccontextmanager
async def hosted(kind: str, clip: EncodedClip, processes: int) -> AsyncIterator[Host]:
    """What a kind of peers needs, until the block is left.

    Raises NotInstalled, or ValueError for a clip or a number of processes that the kind has no use
    for: libwebrtc has threads of its own.
    """
    if kind == AIORTC:
        yield Here()
        return
    if processes > 1:
        raise ValueError("the client wrtc runs in one process, which uses several cores")
    async with peers(clip) as process:
        yield InNode(process)
