"""One session against a stock echo: frames are sent, come back, and are matched."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

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
    latencies_s = client.latencies_s(0.0, float("inf"))
    assert len(latencies_s) == len(client.returned)
    assert min(latencies_s) > 0
    assert client.latencies_s(0.0, 0.0) == []
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
