"""One session against a stock echo: frames are sent, come back, and are matched."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiortc.rtp import RtpPacket

from loadtest.client import Client
from tests.loadtest.conftest import FPS
from tests.loadtest.echo import Echo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from loadtest.clip import EncodedClip

pytestmark = pytest.mark.peer


class EchoLine:
    """Straight to an echo in this process."""

    def __init__(self, echo: Echo) -> None:
        self._echo = echo
        self.closed = 0

    async def open(self, offer: str) -> str:
        return await self._echo.answer(offer)

    async def close(self) -> None:
        self.closed += 1


class BrokenLine:
    """Refuses, and fails to close as well."""

    async def open(self, offer: str) -> str:
        raise ConnectionError("refused")

    async def close(self) -> None:
        raise ConnectionError("no answer")


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    one = Echo()
    yield one
    await one.close()


async def test_frames_come_back_and_are_matched_by_their_numbers(
    echo: Echo, clip: EncodedClip
) -> None:
    line = EchoLine(echo)
    client = Client(clip, line)
    try:
        await client.start()
        async with asyncio.timeout(20):
            await client.came_back(2 * FPS)
    finally:
        await client.close()
    assert line.closed == 1
    assert client.pairing.known
    paired = [client.sent[one.number + client.pairing.shift] for one in client.returned]
    # The stock peer gives frames back in order, each one later than it was sent.
    assert [one.clip_index for one in paired] == sorted(one.clip_index for one in paired)
    assert all(one.at_s > sent.at_s for one, sent in zip(client.returned, paired, strict=True))
    assert client.sent_bytes > 1000
    assert client.returned_bytes > 1000
    assert client.coded == []


async def test_returned_frames_are_kept_when_asked(echo: Echo, clip: EncodedClip) -> None:
    client = Client(clip, EchoLine(echo), loop=False, keep=True)
    try:
        await client.start()
        await client.play_through()
    finally:
        await client.close()
    assert [one.clip_index for one in client.sent][-1] == len(clip.frames) - 1
    # aiortc gives a frame out with the next one's first packet: the last one stays inside.
    assert len(client.coded) == len(client.returned) - 1
    assert [one.number for one in client.coded] == [one.number for one in client.returned[:-1]]


async def test_a_keyframe_request_rewinds_the_player(echo: Echo, clip: EncodedClip) -> None:
    client = Client(clip, EchoLine(echo))
    try:
        await client.start()
        async with asyncio.timeout(20):
            await client.came_back(10)
            (receiver,) = echo.connections[0].getReceivers()
            await receiver._send_rtcp_pli(client.connection.getSenders()[0]._ssrc)
            await client.came_back(len(client.returned) + 10)
    finally:
        await client.close()
    assert client.player.rewinds == 1


async def test_a_refused_session_is_closed_all_the_same(clip: EncodedClip) -> None:
    client = Client(clip, BrokenLine())
    with pytest.raises(ConnectionError, match="refused"):
        await client.start()
    with pytest.raises(ConnectionError, match="no answer"):
        await client.close()
    assert client.connection.connectionState == "closed"


class Counting:
    """A watcher."""

    def __init__(self) -> None:
        self.numbers_sent: list[int] = []
        self.numbers_back: list[int] = []

    def sent(self, number: int, at_s: float) -> None:
        self.numbers_sent.append(number)

    def back(self, number: int, at_s: float) -> None:
        self.numbers_back.append(number)


async def test_a_watcher_is_told_and_nothing_is_remembered(echo: Echo, clip: EncodedClip) -> None:
    watcher = Counting()
    client = Client(clip, EchoLine(echo), watcher=watcher)
    try:
        await client.start()
        async with asyncio.timeout(20):
            await client.came_back(FPS)
    finally:
        await client.close()
    assert client.sent == []
    assert client.returned == []
    assert watcher.numbers_sent == list(range(len(watcher.numbers_sent)))
    assert watcher.numbers_back == sorted(set(watcher.numbers_back))
    assert len(watcher.numbers_back) >= FPS
    assert client.ended.is_set()


async def test_the_match_is_verified_by_numbers_read_again(echo: Echo, clip: EncodedClip) -> None:
    client = Client(clip, EchoLine(echo))
    try:
        await client.start()
        async with asyncio.timeout(20):
            await client.came_back(FPS)
            assert client.pairing.known
            for _ in range(2):
                await client.verify()
    finally:
        await client.close()
    assert (client.pairing.verified, client.pairing.mispaired) == (2, 0)


async def test_timestamps_may_wrap(clip: EncodedClip) -> None:
    watcher = Counting()
    client = Client(clip, BrokenLine(), watcher=watcher)
    start = (1 << 32) - 3 * 3000
    for frame in range(6):
        for marker in (0, 1):
            packet = RtpPacket(timestamp=(start + frame * 3000) % (1 << 32), marker=marker)
            packet.ssrc = 5
            client._on_packet(packet)
    old = RtpPacket(timestamp=start, marker=1)  # out of order: no frame goes back in time
    old.ssrc = 5
    client._on_packet(old)
    await client.connection.close()
    assert watcher.numbers_back == list(range(6))
