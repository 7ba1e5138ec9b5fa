"""A service's peer and a stock client, connected over loopback."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.frame.look import Look
from service.policy.effects import Color
from service.rtc.codecs import Codec
from service.rtc.connection import ConnectionSettings
from service.rtc.ice import IceSettings
from service.rtc.peer import Peer, PeerSettings, PeerState
from service.rtc.showing import NOBODY
from service.session.looks import Looks
from service.workers import Workers
from tests.peers import LOOPBACK, Client, LossyRelay
from tests.rtc.counts import Counts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from service.frame.pipeline import Pipeline
    from service.rtc.channel import Channel
    from service.rtc.showing import Showing

GREEN = Look(Color("#00b140"))
ICE = IceSettings(first_port=42000, last_port=42999, addresses=(LOOPBACK,))


@dataclass
class Connected:
    """Both ends, and what they did."""

    peer: Peer
    client: Client
    counts: Counts
    task: asyncio.Task[str]
    states: list[PeerState]
    looks: Looks
    relay: LossyRelay | None = None
    answer: str = ""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    presence: list[tuple[str, bool]] = field(default_factory=list)
    "What `on_away` was told: the mid, and whether the person is away."

    async def became(self, state: PeerState, *, timeout_s: float = 15.0) -> None:
        async with asyncio.timeout(timeout_s):
            while state not in self.states:
                self.changed.clear()
                await self.changed.wait()

    async def ended(self, *, timeout_s: float = 15.0) -> str:
        async with asyncio.timeout(timeout_s):
            return await asyncio.shield(self.task)


def peer_settings(
    *,
    codecs: tuple[Codec, ...] = (Codec.H264, Codec.VP8),
    connect_timeout_s: float = 10.0,
    suspend_after_s: float = 6.0,
    end_after_s: float = 30.0,
) -> PeerSettings:
    return PeerSettings(
        connection=ConnectionSettings(ice=ICE, codecs=codecs),
        connect_timeout_s=connect_timeout_s,
        suspend_after_s=suspend_after_s,
        end_after_s=end_after_s,
    )


@asynccontextmanager
async def connected(
    client: Client,
    make_pipeline: Callable[[Look], Pipeline],
    *,
    look: Look = GREEN,
    settings: PeerSettings | None = None,
    audio: bool = True,
    max_fps: int = 30,
    relay: LossyRelay | None = None,
    accept: bool = True,
    control: Callable[[Channel], Awaitable[None]] | None = None,
    showing: Showing = NOBODY,
    workers: Workers | None = None,
) -> AsyncIterator[Connected]:
    """A peer that has answered the client; everything is closed at the end, and checked."""
    before = set(asyncio.all_tasks())
    wish = Looks(look)
    counts = Counts()
    states: list[PeerState] = []
    presence: list[tuple[str, bool]] = []
    changed = asyncio.Event()

    def on_state(state: PeerState) -> None:
        states.append(state)
        changed.set()

    workers = workers or Workers(lambda: 2.0, cpus=2)
    peer = Peer(
        settings=settings or peer_settings(),
        make_pipeline=make_pipeline,
        wanted=wish.wanted,
        audio=audio,
        max_fps=max_fps,
        workers=workers,
        counters=counts,
        on_state=on_state,
        on_away=lambda mid, away: presence.append((mid, away)),
        control=control,
        showing=showing,
    )
    offer = await client.offer()
    answer = await peer.answer(offer if relay is None else relay.hide(offer))
    task = asyncio.create_task(peer.run())
    try:
        if accept:
            await client.accept(answer if relay is None else await relay.between(answer))
        yield Connected(peer, client, counts, task, states, wish, relay, answer, changed, presence)
    finally:
        peer.close("test over")
        await asyncio.wait({task}, timeout=10)
        await client.close()
        if relay is not None:
            relay.close()
        workers.shutdown(wait=True)
    assert task.done()
    left = asyncio.all_tasks() - before
    if left:
        # aioice looks at a closed connection at its next tick, 20 ms later.
        _, left = await asyncio.wait(left, timeout=2)
    assert not left, f"tasks are left over: {left}"
