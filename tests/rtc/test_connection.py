"""That aiortc still has the places this package puts its parts into."""

from __future__ import annotations

import pytest
from aiortc import RTCPeerConnection
from aiortc.rtp import RtpPacket

from service.rtc.codecs import Codec
from service.rtc.connection import MAX_SSRCS, BoundedRouter, Connection, ConnectionSettings
from service.rtc.ice import IceConnection, IceSettings
from service.rtc.receiver import AudioReceiver, VideoReceiver
from service.rtc.sender import Sender
from tests.rtc.counts import Counts

SETTINGS = ConnectionSettings(ice=IceSettings(addresses=("127.0.0.1",)), codecs=(Codec.VP8,))


@pytest.mark.parametrize("name", ["createTransceiver", "createDtlsTransport"])
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


def test_the_router_stops_learning_streams() -> None:
    router = BoundedRouter()
    receiver = object()
    router.register_receiver(receiver, ssrcs=[], payload_types=[97])  # type: ignore[arg-type]
    routed = [
        router.route_rtp(RtpPacket(payload_type=97, ssrc=ssrc)) is receiver for ssrc in range(1000)
    ]
    assert routed == [True] * MAX_SSRCS + [False] * (1000 - MAX_SSRCS)
    assert len(router.ssrc_table) == MAX_SSRCS


def test_the_media_section_says_whose_a_packet_is() -> None:
    """Two cameras share their payload types; retransmissions have an SSRC of their own."""
    router = BoundedRouter()
    first, second = object(), object()
    for mid, receiver in (("0", first), ("1", second)):
        router.register_receiver(receiver, [], payload_types=[97], mid=mid)  # type: ignore[arg-type]
    packet = RtpPacket(payload_type=97, ssrc=7)
    assert router.route_rtp(packet) is None
    packet.extensions.mid = "1"
    assert router.route_rtp(packet) is second
    assert router.route_rtp(RtpPacket(payload_type=97, ssrc=7)) is second
