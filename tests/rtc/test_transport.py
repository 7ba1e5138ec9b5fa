"""A packet's way between the socket and the streams: what gets through, what does not."""

from __future__ import annotations

import logging
import struct
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiortc.rtcdtlstransport import (
    SRTP_PROFILES,
    RTCDtlsTransport,
    RtpRouter,
    SRTPProtectionProfile,
    State,
)
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_PLI,
    RtcpPsfbPacket,
    RtcpSdesPacket,
    RtcpSourceInfo,
    RtpPacket,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pylibsrtp import Policy, Session

from service.rtc.codecs import Codec
from service.rtc.connection import Connection, ConnectionSettings
from service.rtc.ice import IceSettings
from service.rtc.packet import Extensions, IncomingPacket
from service.rtc.transport import MAX_SSRCS, BoundedRouter, DtlsTransport
from tests.peers import Camera, Client
from tests.rtc.counts import Counts
from tests.rtc.pictures import moving_picture
from tests.rtc.stand import connected
from tests.rtc.wire import VP8, VP8_RTX, receive_parameters, send_parameters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from service.frame.look import Look
    from service.frame.pipeline import Pipeline
    from service.rtc.ice import IceConnection
    from service.rtc.jitter import EncodedFrame
    from service.rtc.receiver import VideoReceiver
    from service.rtc.sender import Sender

SETTINGS = ConnectionSettings(ice=IceSettings(addresses=("127.0.0.1",)), codecs=(Codec.VP8,))
PROFILE: SRTPProtectionProfile = SRTP_PROFILES[0]
PEER = ("127.0.0.1", 5004)
KEY_FRAME = b"\x10\x00\x00\x00\x9d\x01\x2akey!"
SSRC = 1000


class Association:
    """A DTLS association that is through with its handshake, as `_setup_srtp` asks it."""

    def get_selected_srtp_profile(self) -> bytes:
        return PROFILE.openssl_profile

    def DTLSv1_get_timeout(self) -> None:
        """No flight is due again."""

    def export_keying_material(self, label: bytes, size: int) -> bytes:
        assert label == b"EXTRACTOR-dtls_srtp"
        return bytes(n % 251 for n in range(size))


@dataclass
class Stand:
    """A video section on a transport with keys, and the peer's end of both."""

    connection: Connection
    transport: DtlsTransport
    ice: IceConnection
    receiver: VideoReceiver
    sender: Sender
    protect: Session
    unprotect: Session
    heard: list[None]
    frames: list[EncodedFrame] = field(default_factory=list)
    out: list[tuple[bytes, tuple[str, int]]] = field(default_factory=list)

    def connect(self) -> None:
        self.transport._setup_srtp()
        self.transport._set_state(State.CONNECTED)
        socket = SimpleNamespace(sendto=lambda data, addr: self.out.append((data, addr)))
        protocol = SimpleNamespace(transport=socket)
        pair = SimpleNamespace(protocol=protocol, remote_addr=PEER)
        self.ice._nominated = {1: pair}  # type: ignore[dict-item]

    def arrive(self, datagram: bytes, addr: tuple[Any, ...] = PEER) -> None:
        self.ice.media_received(datagram, addr, 1)

    def packet(self, sequence: int) -> bytes:
        packet = RtpPacket(97, 1, sequence, 3000 * sequence, SSRC, KEY_FRAME)
        return bytes(self.protect.protect(packet.serialize()))

    def control(self, plain: bytes) -> bytes:
        return bytes(self.protect.protect_rtcp(plain))


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    heard: list[None] = []
    connection = Connection(SETTINGS, Counts(), alive=lambda: heard.append(None))
    transceiver = connection.addTransceiver("video")
    transport = transceiver.receiver.transport
    assert isinstance(transport, DtlsTransport)
    association: Any = Association()
    transport._ssl = association
    transport._set_role("server")
    view = association.export_keying_material(
        b"EXTRACTOR-dtls_srtp", 2 * (PROFILE.key_length + PROFILE.salt_length)
    )
    inward, outward = (
        Session(
            Policy(
                key=PROFILE.get_key_and_salt(view, which),
                ssrc_type=kind,
                srtp_profile=PROFILE.libsrtp_profile,
            )
        )
        for which, kind in ((0, Policy.SSRC_ANY_OUTBOUND), (1, Policy.SSRC_ANY_INBOUND))
    )
    receiver: Any = transceiver.receiver
    sender: Any = transceiver.sender
    made = Stand(
        connection=connection,
        transport=transport,
        ice=cast("IceConnection", transport.transport._connection),
        receiver=receiver,
        sender=sender,
        protect=inward,
        unprotect=outward,
        heard=heard,
    )
    receiver.on_frame = made.frames.append
    await receiver.receive(receive_parameters(VP8, VP8_RTX))
    await sender.send(send_parameters(VP8, VP8_RTX))
    yield made
    await receiver.stop()
    await sender.stop()
    transport._ssl = None
    transport._set_state(State.CLOSED)
    await connection.close()


@pytest.mark.parametrize(
    "name",
    [
        "_setup_srtp",
        "_handle_rtp_data",
        "_handle_rtcp_data",
        "_register_rtp_receiver",
        "_register_rtp_sender",
    ],
)
def test_aiortc_has_the_methods_that_are_overridden(name: str) -> None:
    assert callable(vars(RTCDtlsTransport)[name])
    assert callable(vars(DtlsTransport)[name])


async def test_aiortc_has_the_fields_that_are_read(stand: Stand) -> None:
    stock = RTCDtlsTransport(stand.transport.transport, stand.connection._private("certificates"))
    assert {"_rx_srtp", "_tx_srtp", "_rtp_router", "_state"} <= vars(stock).keys()
    assert {"ssrc_table", "mid_table", "payload_type_table"} <= vars(RtpRouter()).keys()
    assert callable(RtpRouter.route_rtcp)


async def test_a_packet_is_a_frame_when_its_datagram_has_been_read(stand: Stand) -> None:
    stand.connect()
    stand.arrive(stand.packet(1))
    assert [frame.timestamp for frame in stand.frames] == [3000]
    assert len(stand.heard) == 1
    assert stand.ice._queue.qsize() == 0


async def test_forged_and_repeated_packets_are_no_sign_of_life(stand: Stand) -> None:
    stand.connect()
    datagram = stand.packet(1)
    for at in (12, len(datagram) // 2, len(datagram) - 1):
        forged = bytearray(datagram)
        forged[at] ^= 1
        stand.arrive(bytes(forged))
    stand.arrive(b"\x80" * 20)
    stand.arrive(b"\x80\xc8" + bytes(20))  # RTCP by its second byte
    stand.arrive(b"\x80" + bytes(9000))  # longer than SRTP's buffer
    assert (stand.heard, stand.frames) == ([], [])
    stand.arrive(datagram)
    stand.arrive(datagram)
    assert len(stand.heard) == len(stand.frames) == 1


async def test_who_is_not_in_the_ice_exchange_is_not_listened_to(stand: Stand) -> None:
    stand.connect()
    stand.arrive(stand.packet(1))
    for sequence, stranger in enumerate((("127.0.0.1", 5005), ("127.0.0.2", 5004)), start=2):
        stand.arrive(stand.packet(sequence), stranger)
        stand.arrive(b"\x16dtls", stranger)
    assert len(stand.frames) == 1
    assert stand.ice._queue.qsize() == 0


async def test_dtls_goes_aiortcs_way_and_so_does_what_comes_before_the_keys(stand: Stand) -> None:
    pair = SimpleNamespace(protocol=None, remote_addr=PEER)
    stand.ice._nominated = {1: pair}  # type: ignore[dict-item]
    stand.arrive(stand.packet(1))
    stand.connect()
    stand.arrive(stand.packet(2))
    assert stand.ice._queue.qsize() == 2
    assert stand.frames == []
    # What aiortc takes from the queue once there are keys comes out at the same place.
    await stand.transport._recv_next()
    await stand.transport._recv_next()
    stand.arrive(stand.packet(3))
    assert [frame.timestamp for frame in stand.frames] == [3000, 6000, 9000]
    stand.arrive(b"\x16dtls")
    assert stand.ice._queue.get_nowait() == (b"\x16dtls", 1)


async def test_feedback_reaches_the_sender_at_once(stand: Stand) -> None:
    stand.connect()
    asked: list[None] = []
    stand.sender.on_keyframe_request = lambda: asked.append(None)
    pli = RtcpPsfbPacket(RTCP_PSFB_PLI, ssrc=SSRC, media_ssrc=stand.sender._ssrc)
    stand.arrive(stand.control(bytes(pli)))
    assert len(asked) == 1


async def test_malformed_feedback_is_dropped(stand: Stand) -> None:
    """A REMB that announces more SSRCs than it holds raises struct.error in aiortc."""
    stand.connect()
    remb = RtcpPsfbPacket(RTCP_PSFB_APP, SSRC, 0, b"REMB" + bytes([200, 0, 1, 0]))
    stand.arrive(stand.control(bytes(remb)))
    stand.arrive(stand.packet(1))
    assert len(stand.frames) == 1
    assert len(stand.heard) == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
async def test_nothing_that_an_authenticated_peer_sends_raises(
    stand: Stand, data: st.DataObject
) -> None:
    if stand.transport._state is not State.CONNECTED:
        stand.connect()
    plain = data.draw(st.binary(max_size=60))
    stand.transport._rtp_received(struct.pack("!BBHI", 0x90, 97, 1, 2) + plain, 1.0)
    stand.transport._rtp_received(struct.pack("!BBHII", 0x80, 98, 1, 2, 3) + plain, 1.0)
    kind, count = data.draw(st.integers(200, 206)), data.draw(st.integers(0, 31))
    body = plain.ljust((len(plain) + 3) // 4 * 4, b"\x01")
    if data.draw(st.booleans()):
        body = struct.pack("!II", 7, stand.sender._ssrc) + b"REMB" + body
    head = struct.pack("!BBH", 0x80 | count, kind, len(body) // 4)
    stand.transport._rtcp_received(head + body)
    stand.transport._rtcp_received(plain)


async def test_a_fault_of_ours_costs_one_packet_and_is_logged_once_a_second(
    stand: Stand, caplog: pytest.LogCaptureFixture
) -> None:
    stand.connect()
    taken = stand.receiver.on_frame

    def fail(frame: EncodedFrame) -> None:
        raise RuntimeError(frame.timestamp)

    stand.receiver.on_frame = fail
    with caplog.at_level(logging.ERROR):
        for sequence in range(1, 6):
            stand.arrive(stand.packet(sequence))
    assert [record.message for record in caplog.records] == ["a fault cost an RTP packet"]
    stand.receiver.on_frame = taken
    stand.arrive(stand.packet(6))
    assert len(stand.frames) == 1
    assert stand.transport.state == "connected"


async def test_what_is_sent_is_protected_and_in_the_socket_at_once(stand: Stand) -> None:
    stand.connect()
    stand.sender.send_frame([b"one", b"two"], timestamp=0, ntp=0)
    packets = [RtpPacket.parse(stand.unprotect.unprotect(data)) for data, _ in stand.out]
    assert [packet.payload for packet in packets] == [b"one", b"two"]
    assert {addr for _, addr in stand.out} == {PEER}
    stand.out.clear()
    name = RtcpSdesPacket([RtcpSourceInfo(SSRC, [(1, b"me")])])
    assert stand.transport.send_control(bytes(name))
    assert stand.unprotect.unprotect_rtcp(stand.out[0][0]) == bytes(name)


async def test_what_cannot_go_out_is_no_error(stand: Stand) -> None:
    plain = RtpPacket(97, 1, 1, 1, SSRC, b"a").serialize()
    assert not stand.transport.send_packet(plain)
    assert not stand.transport.send_control(plain)
    stand.connect()
    assert stand.transport.send_packet(plain)
    assert not stand.transport.send_packet(plain.ljust(1500, b"a"))
    assert not stand.transport.send_packet(b"\x80")
    assert not stand.transport.send_control(b"\x80")
    stand.ice._nominated = {}
    assert not stand.transport.send_packet(plain)
    stand.transport._set_state(State.CLOSED)
    assert not stand.transport.send_packet(plain)
    assert len(stand.out) == 1


async def test_a_closed_transport_hears_nothing(stand: Stand) -> None:
    stand.connect()
    stand.transport._set_state(State.CLOSED)
    stand.arrive(stand.packet(1))
    assert (stand.heard, stand.frames) == ([], [])


async def test_media_of_a_stock_peer_takes_the_short_way(
    make_pipeline: Callable[[Look], Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiortc's queue sees the handshake, and of the media what comes while that ends."""
    long_way: list[int] = []
    handle = DtlsTransport._handle_rtp_data

    async def count(self: DtlsTransport, data: bytes, arrival_time_ms: int) -> None:
        long_way.append(len(data))
        await handle(self, data, arrival_time_ms)

    monkeypatch.setattr(DtlsTransport, "_handle_rtp_data", count)
    client = Client(Camera(moving_picture))
    async with connected(client, make_pipeline) as both:
        await client.frames(20)
        assert both.counts.frames["received"] >= 20
        assert len(long_way) <= both.counts.frames["received"] // 4


def packet(ssrc: int, mid: str | None = None) -> IncomingPacket:
    return IncomingPacket(97, False, 0, 0, ssrc, b"", extensions=Extensions(mid=mid))


def test_the_router_stops_learning_streams() -> None:
    router = BoundedRouter()
    receiver: Any = object()
    router.register_receiver(receiver, ssrcs=[], payload_types=[97])
    routed = [router.receiver_of(packet(ssrc)) is receiver for ssrc in range(1000)]
    assert routed == [True] * MAX_SSRCS + [False] * (1000 - MAX_SSRCS)
    assert len(router.ssrc_table) == MAX_SSRCS


def test_the_media_section_says_whose_a_packet_is() -> None:
    """Two cameras share their payload types; retransmissions have an SSRC of their own."""
    router = BoundedRouter()
    first: Any = object()
    second: Any = object()
    router.register_receiver(first, [], payload_types=[97], mid="0")
    router.register_receiver(second, [], payload_types=[97], mid="1")
    assert router.receiver_of(packet(7)) is None
    assert router.receiver_of(packet(7, mid="1")) is second
    assert router.receiver_of(packet(7)) is second


def test_who_has_stopped_gets_nothing_more() -> None:
    router = BoundedRouter()
    receiver: Any = object()
    router.register_receiver(receiver, ssrcs=[7], payload_types=[97], mid="0")
    router.unregister_receiver(receiver)
    assert router.receiver_of(packet(7)) is None
    assert router.receiver_of(packet(8, mid="0")) is None


def test_a_payload_type_that_a_receiver_did_not_negotiate_is_not_its() -> None:
    router = BoundedRouter()
    receiver: Any = object()
    router.register_receiver(receiver, ssrcs=[7], payload_types=[96], mid="0")
    assert router.receiver_of(packet(7)) is None
    assert router.receiver_of(packet(8, mid="0")) is None
