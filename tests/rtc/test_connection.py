"""That aiortc still has the places this package puts its parts into."""

from __future__ import annotations

import pytest
from aiortc import RTCPeerConnection

from service.rtc.codecs import Codec
from service.rtc.connection import Connection, ConnectionSettings
from service.rtc.ice import IceConnection, IceSettings
from service.rtc.receiver import AudioReceiver, VideoReceiver
from service.rtc.sender import Sender
from service.rtc.transport import BoundedRouter, DtlsTransport
from tests.rtc.counts import Counts

SETTINGS = ConnectionSettings(ice=IceSettings(addresses=("127.0.0.1",)), codecs=(Codec.VP8,))


@pytest.mark.parametrize(
    "name", ["createTransceiver", "createDtlsTransport", "createSctpTransport"]
)
def test_aiortc_has_the_methods_that_are_overridden(name: str) -> None:
    assert hasattr(RTCPeerConnection, f"_RTCPeerConnection__{name}")
    assert f"_RTCPeerConnection__{name}" in vars(Connection)


async def test_every_part_is_in_its_place() -> None:
    connection = Connection(SETTINGS, Counts(), alive=lambda: None)
    try:
        video = connection.addTransceiver("video")
        audio = connection.addTransceiver("audio")
        assert type(video.receiver) is VideoReceiver
        assert type(audio.receiver) is AudioReceiver
        assert type(video.sender) is Sender
        assert video.receiver.transport is audio.receiver.transport
        assert type(video.receiver.transport) is DtlsTransport
        assert type(video.receiver.transport._rtp_router) is BoundedRouter
        assert type(video.receiver.transport.transport._connection) is IceConnection
        assert [c.mimeType for c in video._preferred_codecs] == ["video/VP8", "video/rtx"]
        assert connection.iceConnectionState == "new"
    finally:
        await connection.close()


async def test_a_stock_peer_stays_stock() -> None:
    stock = RTCPeerConnection()
    try:
        transceiver = stock.addTransceiver("video")
        assert type(transceiver.receiver).__module__.startswith("aiortc")
        assert type(transceiver.sender).__module__.startswith("aiortc")
    finally:
        await stock.close()
