"""RTP out: what was encoded or passed on goes to the peer; what the peer says comes back.

Takes the place of aiortc's RTCRtpSender (connection.py builds it), which pulls frames from a track,
encodes them itself and ends for good at the first exception. This one is pushed to: track.py and
audio.py hand over payloads, so nothing here can fail because of a picture.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from aiortc import clock, rtp
from aiortc.codecs import is_rtx
from aiortc.rtcrtpsender import RTCRtpSender, random_sequence_number
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
    RtpPacket,
    unpack_remb_fci,
    wrap_rtx,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiortc.rtcdtlstransport import RTCDtlsTransport
    from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpSendParameters
    from aiortc.rtp import AnyRtcpPacket

    from service.rtc.receiver import RtpCounters

HISTORY_PACKETS = 512
"""Packets kept for retransmission: about a second of 720p, or one large keyframe."""
MAX_RETRANSMISSIONS_PER_S = 400
RTT_SMOOTHING = 0.85
SEQUENCE_MODULUS = 1 << 16
TIMESTAMP_MODULUS = 1 << 32


class Sender(RTCRtpSender):
    """One outgoing stream."""

    def __init__(self, kind: str, transport: RTCDtlsTransport, counters: RtpCounters) -> None:
        super().__init__(kind, transport)
        self._counters = counters
        self.on_keyframe_request: Callable[[], None] | None = None
        self.on_estimate: Callable[[int], None] | None = None
        self.on_codec: Callable[[RTCRtpCodecParameters], None] | None = None
        "Called when sending may start, with the negotiated codec."
        self.may_repeat_raw: Callable[[], bool] = lambda: False
        "Whether packets that show the camera as it came may still be sent again."
        self.round_trip_s: float | None = None
        self._codec: RTCRtpCodecParameters | None = None
        self._rtx_payload_type: int | None = None
        self._extensions = rtp.HeaderExtensionsMap()
        self._stream_mid: str | None = None
        self._cname = ""
        self._sequence = random_sequence_number()
        self._rtx_sequence = random_sequence_number()
        self._timestamp_origin = random.randrange(TIMESTAMP_MODULUS)  # noqa: S311 (RFC 3550 5.1)
        self._history: dict[int, tuple[RtpPacket, bool]] = {}
        "By sequence number: the packet, and whether it shows the camera as it came."
        self._retransmissions = (0.0, 0)
        self._last_sent: tuple[int, int] | None = None
        self._packets = 0
        self._octets = 0
        self._last_report: tuple[int, float] | None = None
        self._rtcp_task: asyncio.Task[None] | None = None

    @property
    def negotiated(self) -> bool:
        return self._codec is not None

    async def send(self, parameters: RTCRtpSendParameters) -> None:
        """Called by the connection when DTLS is up; from here on packets may be sent."""
        if self._codec is not None:
            return
        codec = parameters.codecs[0]
        self._cname, self._stream_mid = parameters.rtcp.cname or "", parameters.muxId
        self.transport._register_rtp_sender(self, parameters)
        self._extensions.configure(parameters)
        self._rtx_payload_type = next(
            (
                rtx.payloadType
                for rtx in parameters.codecs
                if is_rtx(rtx) and rtx.parameters.get("apt") == codec.payloadType
            ),
            None,
        )
        self._codec = codec
        self._rtcp_task = asyncio.create_task(self._report())
        if self.on_codec is not None:
            self.on_codec(codec)

    async def stop(self) -> None:
        self.transport._unregister_rtp_sender(self)
        if self._rtcp_task is None:
            return
        self._rtcp_task.cancel()
        await asyncio.gather(self._rtcp_task, return_exceptions=True)
        await self._send_packets([RtcpByePacket(sources=[self._ssrc])])

    async def send_frame(
        self, payloads: Sequence[bytes], *, timestamp: int, ntp: int, raw: bool = False
    ) -> None:
        """One encoded picture. `raw`: it shows the camera as it came. `timestamp` counts 90 kHz
        from any origin. `ntp` (64 bit, RFC 3550 4) is when its last packet came in: lips stay in
        sync because audio says the same of its own, whatever time the picture took in here."""
        for index, payload in enumerate(payloads):
            packet = self._packet(payload, timestamp, self._sequence)
            packet.marker = int(index == len(payloads) - 1)
            self._sequence = (self._sequence + 1) % SEQUENCE_MODULUS
            self._history[packet.sequence_number % HISTORY_PACKETS] = (packet, raw)
            await self._transmit(packet, ntp)

    async def pass_on(
        self, incoming: RtpPacket, *, timestamp: int, sequence_step: int, ntp: int
    ) -> None:
        """One audio packet as it came. `sequence_step` is its distance to the one before, so that
        a loss on the way in is seen as a loss by the receiver, which can conceal it."""
        self._sequence = (self._sequence + sequence_step) % SEQUENCE_MODULUS
        packet = self._packet(incoming.payload, timestamp, self._sequence)
        packet.marker = incoming.marker
        packet.extensions.audio_level = incoming.extensions.audio_level
        await self._transmit(packet, ntp)

    def _packet(self, payload: bytes, timestamp: int, sequence: int) -> RtpPacket:
        assert self._codec is not None, "nothing is sent before negotiation"
        assert self._codec.payloadType is not None
        packet = RtpPacket(
            payload_type=self._codec.payloadType,
            sequence_number=sequence,
            timestamp=(self._timestamp_origin + timestamp) % TIMESTAMP_MODULUS,
            ssrc=self._ssrc,
            payload=payload,
        )
        packet.extensions.abs_send_time = (clock.current_ntp_time() >> 14) & 0x00FFFFFF
        packet.extensions.mid = self._stream_mid
        return packet

    async def _transmit(self, packet: RtpPacket, ntp: int) -> None:
        try:
            await self.transport._send_rtp(packet.serialize(self._extensions))
        except ConnectionError:
            return  # the peer is going: its own watch ends it
        self._counters.rtp("out", 1)
        self._last_sent = (ntp, packet.timestamp)
        self._packets += 1
        self._octets += len(packet.payload)

    async def _handle_rtcp_packet(self, packet: AnyRtcpPacket) -> None:
        if isinstance(packet, (RtcpRrPacket, RtcpSrPacket)):
            for report in packet.reports:
                if report.ssrc == self._ssrc:
                    self._measure_round_trip(report.lsr, report.dlsr)
        elif isinstance(packet, RtcpRtpfbPacket) and packet.fmt == RTCP_RTPFB_NACK:
            for sequence in packet.lost[:HISTORY_PACKETS]:
                await self._retransmit(sequence)
        elif isinstance(packet, RtcpPsfbPacket):
            if packet.fmt in (RTCP_PSFB_PLI, RTCP_PSFB_FIR) and self.on_keyframe_request:
                self.on_keyframe_request()
            elif packet.fmt == RTCP_PSFB_APP and self.on_estimate:
                self._estimate(packet.fci, self.on_estimate)

    def _estimate(self, fci: bytes, tell: Callable[[int], None]) -> None:
        try:
            bitrate_bps, ssrcs = unpack_remb_fci(fci)
        except ValueError:
            return
        if self._ssrc in ssrcs:
            tell(bitrate_bps)

    def _measure_round_trip(self, lsr: int, dlsr: int) -> None:
        """Round trip by RFC 3550 6.4.1, smoothed."""
        if self._last_report is None or self._last_report[0] != lsr or not dlsr:
            return
        measured_s = max(0.0, time.time() - self._last_report[1] - dlsr / 65536)
        previous_s = self.round_trip_s
        self.round_trip_s = (
            measured_s
            if previous_s is None
            else RTT_SMOOTHING * previous_s + (1 - RTT_SMOOTHING) * measured_s
        )
        self._counters.rtt(measured_s)

    async def _retransmit(self, sequence_number: int) -> None:
        packet, raw = self._history.get(sequence_number % HISTORY_PACKETS, (None, False))
        if packet is None or packet.sequence_number != sequence_number:
            return
        if raw and not self.may_repeat_raw():
            return  # an effect was switched on: what was lost of the camera stays lost
        if not self._may_retransmit(time.monotonic()):
            return
        # Or the receiver's bandwidth estimate would see a packet that was very late.
        packet.extensions.abs_send_time = (clock.current_ntp_time() >> 14) & 0x00FFFFFF
        if self._rtx_payload_type is not None:
            packet = wrap_rtx(
                packet,
                payload_type=self._rtx_payload_type,
                sequence_number=self._rtx_sequence,
                ssrc=self._rtx_ssrc,
            )
            self._rtx_sequence = (self._rtx_sequence + 1) % SEQUENCE_MODULUS
        try:
            await self.transport._send_rtp(packet.serialize(self._extensions))
        except ConnectionError:
            return
        self._counters.rtp("out", 1)

    def _may_retransmit(self, now_s: float) -> bool:
        """A flood of NACKs must not turn this service into an amplifier."""
        started_s, count = self._retransmissions
        if now_s - started_s >= 1.0:
            started_s, count = now_s, 0
        self._retransmissions = (started_s, count + 1)
        return count < MAX_RETRANSMISSIONS_PER_S

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(0.5 + random.random())  # noqa: S311 (RFC 3550 6.2 wants jitter)
            if self._last_sent is None:
                continue
            ntp, timestamp = self._report_time()
            report = RtcpSrPacket(
                ssrc=self._ssrc,
                sender_info=RtcpSenderInfo(
                    ntp_timestamp=ntp,
                    rtp_timestamp=timestamp,
                    packet_count=self._packets & 0xFFFFFFFF,
                    octet_count=self._octets & 0xFFFFFFFF,
                ),
            )
            self._last_report = ((ntp >> 16) & 0xFFFFFFFF, time.time())
            name = RtcpSourceInfo(ssrc=self._ssrc, items=[(1, self._cname.encode())])
            await self._send_packets([report, RtcpSdesPacket(chunks=[name])])

    def _report_time(self) -> tuple[int, int]:
        """Wall clock now and the RTP timestamp that belongs to it, carried on from the last
        packet's own pair: both streams are thus placed on the clock of their arrival."""
        assert self._last_sent is not None
        assert self._codec is not None
        ntp_now = clock.current_ntp_time()
        sent_ntp, sent_timestamp = self._last_sent
        passed = ((ntp_now - sent_ntp) * self._codec.clockRate) >> 32
        return ntp_now, (sent_timestamp + passed) % TIMESTAMP_MODULUS

    async def _send_packets(self, packets: Sequence[AnyRtcpPacket]) -> None:
        try:
            await self.transport._send_rtp(b"".join(bytes(packet) for packet in packets))
        except ConnectionError:
            return
