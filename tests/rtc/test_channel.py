"""The data channel between a service's peer and stock aiortc: one, of one name, bounded."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from service.frame.look import Look
from service.frame.pipeline import Pipeline
from service.rtc import channel as channel_module
from service.rtc.channel import LABEL, MAX_WAITING_MESSAGES, Channel, Dropped
from service.rtc.sctp import MAX_MESSAGE_BYTES, SctpTransport
from service.workers import Workers
from tests.peers import Client
from tests.rtc.stand import connected
from tests.rtc.test_offer import make_peer
from tests.rtc.test_peer import camera

if TYPE_CHECKING:
    from aiortc import RTCDataChannel

pytestmark = [pytest.mark.peer, pytest.mark.model]

MakePipeline = Callable[[Look], Pipeline]


class Echo:
    """Talks as service/web/control.py does: sends back what it gets, until the channel closes."""

    def __init__(self) -> None:
        self.got: list[str | Dropped] = []
        self.served = 0
        self.ended = 0

    async def __call__(self, channel: Channel) -> None:
        self.served += 1
        while (message := await channel.receive()) is not None:
            self.got.append(message)
            if message == "fault":
                raise RuntimeError("injected")
            channel.send(message if isinstance(message, str) else "dropped")
        self.ended += 1


class Ear:
    """A client's end of a channel."""

    def __init__(self, channel: RTCDataChannel) -> None:
        self.channel = channel
        self.heard: list[str] = []
        self._changed = asyncio.Event()
        for event in ("open", "close"):
            channel.on(event, self._changed.set)
        channel.on("message", self._take)

    def _take(self, message: str) -> None:
        self.heard.append(message)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(15):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def became(self, state: str) -> None:
        await self.until(lambda: self.channel.readyState == state)


async def test_one_channel_of_the_name_beside_the_picture(make_pipeline: MakePipeline) -> None:
    client, echo = Client(camera()), Echo()
    ear = Ear(client.connection.createDataChannel(LABEL))
    async with connected(client, make_pipeline, control=echo) as both:
        assert f"a=max-message-size:{MAX_MESSAGE_BYTES}" in both.answer
        await ear.became("open")
        ear.channel.send("hello")
        await ear.until(lambda: ear.heard == ["hello"])
        second = Ear(client.connection.createDataChannel(LABEL))
        other = Ear(client.connection.createDataChannel("chat"))
        await second.became("closed")
        await other.became("closed")
        # When the first is closed, another one of the name is served.
        ear.channel.close()
        await ear.became("closed")
        third = Ear(client.connection.createDataChannel(LABEL))
        await third.became("open")
        third.channel.send("again")
        await third.until(lambda: third.heard == ["again"])
        assert (echo.served, echo.ended) == (2, 1)
        await client.frames(5)


async def test_the_data_section_may_come_first(make_pipeline: MakePipeline) -> None:
    client = Client(camera())
    client.connection.createDataChannel(LABEL)
    session, video, data = re.split(r"\r\n(?=m=)", await client.offer())
    session = session.replace("BUNDLE 0 1", "BUNDLE 1 0")
    offer = "\r\n".join([session, data.rstrip("\r\n"), video.rstrip("\r\n"), ""])
    with Workers(lambda: 1.0, cpus=1) as workers:
        peer = make_peer(make_pipeline, workers)
        answer = await peer.answer(offer)
        assert re.findall(r"^m=(\w+)", answer, re.MULTILINE) == ["application", "video"]
        # One transport for both.
        assert len(set(re.findall(r"^a=ice-ufrag:(\S+)", answer, re.MULTILINE))) == 1
        await peer.abandon()
    await client.close()


async def test_a_flood_costs_the_flooder_its_answers(make_pipeline: MakePipeline) -> None:
    client, echo = Client(camera()), Echo()
    ear = Ear(client.connection.createDataChannel(LABEL))
    async with connected(client, make_pipeline, control=echo):
        await ear.became("open")
        for number in range(400):
            ear.channel.send(str(number))
        await ear.until(lambda: "dropped" in ear.heard)
        assert len([one for one in echo.got if isinstance(one, str)]) < 300
        await client.frames(10)


async def test_a_fault_and_bytes_cost_the_channel_alone(make_pipeline: MakePipeline) -> None:
    client, echo = Client(camera()), Echo()
    ear = Ear(client.connection.createDataChannel(LABEL))
    async with connected(client, make_pipeline, control=echo):
        await ear.became("open")
        ear.channel.send(b"\x00" * 10)
        await ear.until(lambda: ear.heard == ["dropped"])
        ear.channel.send("fault")
        await ear.became("closed")
        await client.frames(5)


async def test_who_does_not_read_loses_the_channel(
    make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_module, "MAX_UNSENT_BYTES", 4096)
    sent: list[bool] = []

    async def chatter(channel: Channel) -> None:
        await channel.receive()
        while channel.open:
            sent.append(channel.send("x" * 1000))
            await asyncio.sleep(0)

    client = Client(camera())
    ear = Ear(client.connection.createDataChannel(LABEL))
    async with connected(client, make_pipeline, control=chatter) as both:
        await ear.became("open")
        sctp = client.connection.sctp
        assert sctp is not None
        ear.channel.send("go")

        async def deaf(data: bytes) -> None:
            """Takes nothing, and says so to nobody."""

        with contextlib.suppress(AttributeError):
            monkeypatch.setattr(sctp, "_handle_data", deaf)
        async with asyncio.timeout(15):
            while not sent or sent[-1]:  # noqa: ASYNC110 (the other end has no event for it)
                await asyncio.sleep(0.01)
        assert len(sent) < 200
        await client.frames(5)
        assert both.counts.raw == 0


async def test_a_hostile_association_ends_and_the_media_goes_on(
    make_pipeline: MakePipeline,
) -> None:
    client, echo = Client(camera()), Echo()
    ear = Ear(client.connection.createDataChannel(LABEL))
    async with connected(client, make_pipeline, control=echo) as both:
        await ear.became("open")
        service_sctp = both.peer._link._connection.sctp
        assert isinstance(service_sctp, SctpTransport)
        for _ in range(40):
            client.connection.createDataChannel("more")
        await ear.became("closed")
        assert service_sctp.state == "closed"
        await client.frames(10)


def test_what_waits_is_bounded() -> None:
    assert MAX_WAITING_MESSAGES * MAX_MESSAGE_BYTES <= 1 << 20
