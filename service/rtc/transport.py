"""SPINE of a packet between the socket and the streams: SRTP, and whose it is.

    ice.py --datagram--> DtlsTransport: unprotect, parse, route --> receiver.py, sender.py
    sender.py, receiver.py --packet--> DtlsTransport: protect --> ice.py

aiortc hands every datagram through a queue, a task and five coroutines. SRTP needs none of that:
it is handled where it arrives, in the socket's callback, and no packet waits behind another
peer's. DTLS goes aiortc's way. The work per callback is bounded by what the loop reads from one
socket at a time (32 datagrams in libuv); a flood fills the kernel's buffer and is dropped there.
"""

from __future__ import annotations

import logging
import struct
import time
from typing import TYPE_CHECKING, Any, Protocol, cast

import pylibsrtp
from aiortc.rtcdtlstransport import RTCDtlsTransport, RtpRouter, State
from aiortc.rtp import RtcpPacket, is_rtcp

from service.rtc.packet import ExtensionIds, parse
from service.rtc.srtp import BoundedSrtp

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiortc.rtcicetransport import RTCIceTransport
    from aiortc.rtcrtpparameters import RTCRtpReceiveParameters, RTCRtpSendParameters
    from aiortc.rtp import AnyRtcpPacket

    from service.rtc.ice import IceConnection
    from service.rtc.packet import IncomingPacket

logger = logging.getLogger(__name__)

MAX_SSRCS = 64
"""Streams that one peer may name; aiortc keeps every one it ever saw in a table."""
LOG_INTERVAL_S = 1.0


class RtcpTaker(Protocol):
    """A receiver or a sender."""

    def rtcp_received(self, packet: AnyRtcpPacket) -> None: ...


class RtpTaker(RtcpTaker, Protocol):
    """A receiver."""

    def rtp_received(self, packet: IncomingPacket, arrived_s: float) -> None: ...


class BoundedRouter(RtpRouter):
    """Routes packets to receivers, and stops learning SSRCs at a bound."""

    def receiver_of(self, packet: IncomingPacket) -> RtpTaker | None:
        """Whose packet this is, or None when nobody can tell."""
        takers = self.payload_type_table.get(packet.payload_type)
        if not takers:
            return None
        receiver = self.ssrc_table.get(packet.ssrc)
        if receiver is None:
            receiver = self._learn(packet, takers)
        return cast("RtpTaker", receiver) if receiver in takers else None

    def _learn(self, packet: IncomingPacket, takers: set[Any]) -> Any | None:  # noqa: ANN401
        if len(self.ssrc_table) >= MAX_SSRCS:
            return None
        # The media section's name says whose it is (RFC 8843 9.2); aiortc does not ask it, and
        # two cameras share their payload types.
        receiver = self.mid_table.get(packet.extensions.mid or "")
        if receiver is None and len(takers) == 1:
            (receiver,) = takers
        if receiver is not None:
            self.ssrc_table[packet.ssrc] = receiver
        return receiver


class DtlsTransport(RTCDtlsTransport):
    """One peer's DTLS association with SRTP on the short way."""

    def __init__(
        self,
        transport: RTCIceTransport,
        certificates: list[Any],
        alive: Callable[[], None],
        signs: Callable[[], None] | None = None,
    ) -> None:
        """`alive` is called for every packet that SRTP has authenticated; where `signs` is given,
        that is for those of RTCP."""
        super().__init__(transport, certificates)
        self._alive = alive
        self._signs = signs or alive
        self._rtp_router = self._router = BoundedRouter()
        self._extension_ids = ExtensionIds()
        self._ice = cast("IceConnection", transport._connection)
        self._logged_s = float("-inf")

    # In.

    def _setup_srtp(self) -> None:
        # aiortc calls this when the handshake is through, and is `connected` right after.
        super()._setup_srtp()
        if self._rx_srtp is not None:
            self._rx_srtp = cast("Any", BoundedSrtp(self._rx_srtp))
            self._ice.on_srtp = self._srtp_received

    def _srtp_received(self, datagram: bytes) -> None:
        """One SRTP or SRTCP packet (RFC 7983), as ice.py got it from an address that it knows."""
        if self._state is not State.CONNECTED:
            return
        try:
            if is_rtcp(datagram):
                self._rtcp_received(self._rx_srtp.unprotect_rtcp(datagram))
            else:
                self._rtp_received(self._rx_srtp.unprotect(datagram), time.monotonic())
        except (pylibsrtp.Error, ValueError):
            return  # forged, replayed or too long

    def _rtp_received(self, plain: bytes, arrived_s: float) -> None:
        self._alive()
        try:
            packet = parse(plain, self._extension_ids)
        except ValueError:
            return
        receiver = self._router.receiver_of(packet)
        if receiver is None:
            return
        try:
            receiver.rtp_received(packet, arrived_s)
        except Exception as fault:
            self._lost("an RTP packet", fault)

    def _rtcp_received(self, plain: bytes) -> None:
        self._signs()
        try:
            addressed = [
                (taker, packet)
                for packet in RtcpPacket.parse(plain)
                for taker in self._router.route_rtcp(packet)
            ]
        except (ValueError, struct.error):  # aiortc unpacks some fields without looking
            return
        try:
            for taker, packet in addressed:
                cast("RtcpTaker", taker).rtcp_received(packet)
        except Exception as fault:
            self._lost("an RTCP packet", fault)

    # What came in while the handshake ended still waits in aiortc's queue, and comes out here.

    async def _handle_rtp_data(self, data: bytes, arrival_time_ms: int) -> None:
        self._rtp_received(data, time.monotonic())

    async def _handle_rtcp_data(self, data: bytes) -> None:
        self._rtcp_received(data)

    # Out.

    def send_packet(self, plain: bytes) -> bool:
        """Protect one RTP packet and put it into the socket; False when it can't go out."""
        if self._state is not State.CONNECTED:
            return False  # the peer is going: its own watch ends it
        try:
            return self._ice.send_now(self._tx_srtp.protect(plain))
        except (pylibsrtp.Error, ValueError):
            return False  # longer than SRTP's buffer: an audio packet at its limit

    def send_control(self, plain: bytes) -> bool:
        """The same for one RTCP packet, which may be a compound."""
        if self._state is not State.CONNECTED:
            return False
        try:
            return self._ice.send_now(self._tx_srtp.protect_rtcp(plain))
        except (pylibsrtp.Error, ValueError):
            return False

    # Which extensions were negotiated.

    def _register_rtp_receiver(self, receiver: Any, parameters: RTCRtpReceiveParameters) -> None:  # noqa: ANN401
        self._extension_ids.configure(parameters.headerExtensions)
        super()._register_rtp_receiver(receiver, parameters)

    def _register_rtp_sender(self, sender: Any, parameters: RTCRtpSendParameters) -> None:  # noqa: ANN401
        self._extension_ids.configure(parameters.headerExtensions)
        super()._register_rtp_sender(sender, parameters)

    def _lost(self, what: str, fault: Exception) -> None:
        """Log a fault of our own, at most once a second: it cost that packet alone."""
        if time.monotonic() - self._logged_s >= LOG_INTERVAL_S:
            self._logged_s = time.monotonic()
            logger.error("a fault cost %s", what, exc_info=fault)
