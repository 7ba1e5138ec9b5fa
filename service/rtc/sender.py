"""RTP out: what was encoded or passed on goes to the peer; what the peer says comes back.

Takes the place of aiortc's RTCRtpSender (connection.py builds it), which pulls frames from a track,
encodes them itself and ends for good at the first exception. This one is pushed to: track.py and
audio.py hand over payloads, so nothing here can fail because of a picture. Nothing here waits
either: a packet is in the socket, or lost, when the call returns (transport.py).
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, NamedTuple

from aiortc import clock
from aiortc.codecs import is_rtx
from aiortc.rtcrtpsender import RTCRtpSender, random_sequence_number
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    HeaderExtensions,
    HeaderExtensionsMap,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
    unpack_remb_fci,
)

from service.rtc.packet import extension_block, write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpSendParameters
    from aiortc.rtp import AnyRtcpPacket

    from service.rtc.packet import IncomingPacket
    from service.rtc.receiver import RtpCounters
    from service.rtc.transport import DtlsTransport

HISTORY_PACKETS = 512
"""Packets kept for retransmission: about a second of 720p, or one large keyframe."""
MAX_RETRANSMISSIONS_PER_S = 400
RTT_SMOOTHING = 0.85
SEQUENCE_MODULUS = 1 << 16
TIMESTAMP_MODULUS = 1 << 32


class _Sent(NamedTuple):
    """A packet that may be asked for again."""

    sequence: int
    timestamp: int
    marker: bool
    payload: bytes
    raw: bool
    "It shows the camera as it came."


class Sender(RTCRtpSender):
    """One outgoing stream."""

    def __init__(self, kind: str, transport: DtlsTransport, counters: RtpCounters) -> None:
        super().__init__(kind, transport)
        self._transport = transport
        self._counters = counters
        self.on_keyframe_request: Callable[[], None] | None = None
        self.on_estimate: Callable[[int], None] | None = None
        self.on_codec: Callable[[RTCRtpCodecParameters], None] | None = None
        "Called when sending may start, with the negotiated codec."
        self.may_repeat_raw: Callable[[], bool] = lambda: False
        "Whether packets that show the camera as it came may still be sent again."
        self.round_trip_s: float | None = None
        self._codec: RTCRtpCodecParameters | None = None
        self._payload_type = -1
        self._rtx_payload_type: int | None = None
        self._extensions = HeaderExtensionsMap()
        self._stream_mid: str | None = None
        self._cname = ""
        self._sequence = random_sequence_number()
        self._rtx_sequence = random_sequence_number()
        self._timestamp_origin = random.randrange(TIMESTAMP_MODULUS)  # noqa: S311 (RFC 3550 5.1)
        self._history: dict[int, _Sent] = {}
        "By sequence number modulo HISTORY_PACKETS."
        self._retransmissions = (0.0, 0)
        self._last_sent: tuple[int, int] | None = None
        self._packets = 0
        self._octets = 0
        self._last_report: tuple[int, float] | None = None
        self._rtcp_task: asyncio.Task[None] | None = None

    def forget(self) -> None:
        """Nothing that was sent will be sent again."""
        self._history.clear()

    @property
    def negotiated(self) -> bool:
        return self._codec is not None

    async def send(self, parameters: RTCRtpSendParameters) -> None:
        """Called by the connection when DTLS is up; from here on packets may be sent."""
        if self._codec is not None:
            return
        codec = parameters.codecs[0]
        assert codec.payloadType is not None
        self._cname, self._stream_mid = parameters.rtcp.cname or "", parameters.muxId
        self._transport._register_rtp_sender(self, parameters)
        self._extensions.configure(parameters)
        self._rtx_payload_type = next(
            (
                rtx.payloadType
                for rtx in parameters.codecs
                if is_rtx(rtx) and rtx.parameters.get("apt") == codec.payloadType
            ),
            None,
        )
        self._codec, self._payload_type = codec, codec.payloadType
        self._rtcp_task = asyncio.create_task(self._report())
        if self.on_codec is not None:
            self.on_codec(codec)

    async def stop(self) -> None:
        self._transport._unregister_rtp_sender(self)
        if self._rtcp_task is None:
            return
        self._rtcp_task.cancel()
        await asyncio.gather(self._rtcp_task, return_exceptions=True)
        self._tell([RtcpByePacket(sources=[self._ssrc])])

    def send_frame(
        self, payloads: Sequence[bytes], *, timestamp: int, ntp: int, raw: bool = False
    ) -> None:
        """One encoded picture. `raw`: it shows the camera as it came. `timestamp` counts 90 kHz
        from any origin. `ntp` (64 bit, RFC 3550 4) is when its last packet came in: lips stay in
        sync because audio says the same of its own, whatever time the picture took in here."""
        timestamp = (self._timestamp_origin + timestamp) % TIMESTAMP_MODULUS
        extensions = self._extension_block()
        last = len(payloads) - 1
        sent = octets = 0
        for index, payload in enumerate(payloads):
            packet = _Sent(self._sequence, timestamp, index == last, payload, raw)
            self._sequence = (self._sequence + 1) % SEQUENCE_MODULUS
            self._history[packet.sequence % HISTORY_PACKETS] = packet
            if self._send(packet, extensions):
                sent += 1
                octets += len(payload)
        self._count(sent, octets, timestamp, ntp)

    def pass_on(
        self, incoming: IncomingPacket, *, timestamp: int, sequence_step: int, ntp: int
    ) -> None:
        """One audio packet as it came. `sequence_step` is its distance to the one before, so that
        a loss on the way in is seen as a loss by the receiver, which can conceal it."""
        self._sequence = (self._sequence + sequence_step) % SEQUENCE_MODULUS
        timestamp = (self._timestamp_origin + timestamp) % TIMESTAMP_MODULUS
        packet = _Sent(self._sequence, timestamp, incoming.marker, incoming.payload, raw=False)
        extensions = self._extension_block(incoming.extensions.audio_level)
        if self._send(packet, extensions):
            self._count(1, len(incoming.payload), timestamp, ntp)

    def _extension_block(self, audio_level: tuple[bool, int] | None = None) -> bytes:
        """The extensions of packets that leave now: a picture's packets leave together."""
        profile, values = self._extensions.set(
            HeaderExtensions(
                abs_send_time=(clock.current_ntp_time() >> 14) & 0x00FFFFFF,
                mid=self._stream_mid,
                audio_level=audio_level,
            )
        )
        return extension_block(profile, values)

    def _send(self, packet: _Sent, extensions: bytes) -> bool:
        return self._transport.send_packet(
            write(
                packet.payload,
                payload_type=self._payload_type,
                marker=packet.marker,
                sequence=packet.sequence,
                timestamp=packet.timestamp,
                ssrc=self._ssrc,
                extensions=extensions,
            )
        )

    def _count(self, packets: int, octets: int, timestamp: int, ntp: int) -> None:
        if packets:
            self._counters.rtp("out", packets)
            self._last_sent = (ntp, timestamp)
            self._packets += packets
            self._octets += octets

    def rtcp_received(self, packet: AnyRtcpPacket) -> None:
        """What the peer says of the stream: reports, NACK, PLI, REMB."""
        if isinstance(packet, (RtcpRrPacket, RtcpSrPacket)):
            for report in packet.reports:
                if report.ssrc == self._ssrc:
                    self._measure_round_trip(report.lsr, report.dlsr)
        elif isinstance(packet, RtcpRtpfbPacket) and packet.fmt == RTCP_RTPFB_NACK:
            for sequence in packet.lost[:HISTORY_PACKETS]:
                self._repeat(sequence)
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

    def _repeat(self, sequence: int) -> None:
        packet = self._history.get(sequence % HISTORY_PACKETS)
        if packet is None or packet.sequence != sequence:
            return
        if packet.raw and not self.may_repeat_raw():
            return  # an effect was switched on: what was lost of the camera stays lost
        if not self._may_retransmit(time.monotonic()):
            return
        # Stamped anew, or the receiver's bandwidth estimate would see a packet that was very late.
        extensions = self._extension_block()
        if self._rtx_payload_type is None:
            sent = self._send(packet, extensions)
        else:
            sent = self._send_rtx(packet, self._rtx_payload_type, extensions)
        if sent:
            self._counters.rtp("out", 1)

    def _send_rtx(self, packet: _Sent, payload_type: int, extensions: bytes) -> bool:
        """In a stream of its own, with its sequence number ahead of the payload (RFC 4588 4)."""
        sequence, self._rtx_sequence = (
            self._rtx_sequence,
            (self._rtx_sequence + 1) % SEQUENCE_MODULUS,
        )
        return self._transport.send_packet(
            write(
                packet.sequence.to_bytes(2, "big") + packet.payload,
                payload_type=payload_type,
                marker=packet.marker,
                sequence=sequence,
                timestamp=packet.timestamp,
                ssrc=self._rtx_ssrc,
                extensions=extensions,
            )
        )

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
            self._tell([report, RtcpSdesPacket(chunks=[name])])

    def _report_time(self) -> tuple[int, int]:
        """Wall clock now and the RTP timestamp that belongs to it, carried on from the last
        packet's own pair: both streams are thus placed on the clock of their arrival."""
        assert self._last_sent is not None
        assert self._codec is not None
        ntp_now = clock.current_ntp_time()
        sent_ntp, sent_timestamp = self._last_sent
        passed = ((ntp_now - sent_ntp) * self._codec.clockRate) >> 32
        return ntp_now, (sent_timestamp + passed) % TIMESTAMP_MODULUS

    def _tell(self, packets: Sequence[AnyRtcpPacket]) -> None:
        self._transport.send_control(b"".join([bytes(packet) for packet in packets]))
