"""RTP in: a video receiver that repairs losses by the clock, an audio receiver that only passes on.

They take the places of aiortc's RTCRtpReceiver (connection.py builds them), which decodes in a
thread of its own behind unbounded queues, asks once for a lost packet, and keeps state for every
SSRC a peer invents. transport.py hands over each packet as it comes, on the event loop, and
nothing here waits: a packet is done with when `rtp_received` returns.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from aiortc.codecs import is_rtx
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
    pack_remb_fci,
)

from service.rtc.codecs import Codec, depayload
from service.rtc.jitter import EncodedFrame, JitterBuffer, LossRepair, Released, VideoPacket
from service.rtc.packet import RTX_HEADER_BYTES
from service.rtc.reception import Reception

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpReceiveParameters
    from aiortc.rtp import AnyRtcpPacket

    from service.rtc.bandwidth import Bandwidth
    from service.rtc.packet import IncomingPacket
    from service.rtc.transport import DtlsTransport

PLI_INTERVAL_S = 0.5
REPAIR_TICK_S = 0.02
SSRC_CHANGE_PAUSE_S = 1.0
"""A sender may restart its stream under another SSRC; stragglers of the old one, or one that
invents SSRCs without end, must not turn it back and forth."""


class RtpCounters(Protocol):
    """Where packets are counted."""

    def rtp(self, direction: str, packets: int) -> None: ...
    def rtp_lost(self, packets: int) -> None: ...
    def rtt(self, seconds: float) -> None: ...


class ReportingReceiver(RTCRtpReceiver):
    """What both kinds share: one SSRC at a time, receiver reports, a bounded life."""

    def __init__(self, kind: str, transport: DtlsTransport, counters: RtpCounters) -> None:
        super().__init__(kind, transport)
        self._transport = transport
        self._counters = counters
        self._ssrc: int | None = None
        self._ssrc_since_s = float("-inf")
        self._reception: Reception | None = None
        self._uncounted = 0
        self._reported_lost = 0
        self._own_ssrc: int | None = None
        self._sender_report: tuple[int, float] | None = None
        self._rtcp_task: asyncio.Task[None] | None = None

    async def receive(self, parameters: RTCRtpReceiveParameters) -> None:
        if self._rtcp_task is not None:
            return
        for codec in parameters.codecs:
            if codec.payloadType is not None:
                self._take_codec(codec.payloadType, codec)
        self._transport._register_rtp_receiver(self, parameters)
        self._rtcp_task = asyncio.create_task(self._report())

    async def stop(self) -> None:
        self._transport._unregister_rtp_receiver(self)
        self._count()
        if self._rtcp_task is not None:
            self._rtcp_task.cancel()
            await asyncio.gather(self._rtcp_task, return_exceptions=True)

    def rtp_received(self, packet: IncomingPacket, arrived_s: float) -> None:
        """A packet of one of this receiver's payload types; `arrived_s` is monotonic."""
        raise NotImplementedError

    def rtcp_received(self, packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpSrPacket) and packet.ssrc == self._ssrc:
            middle = (packet.sender_info.ntp_timestamp >> 16) & 0xFFFFFFFF
            self._sender_report = (middle, time.time())

    def _take_codec(self, payload_type: int, codec: RTCRtpCodecParameters) -> None:
        """Note what a payload type stands for."""
        raise NotImplementedError

    def _handle_disconnect(self) -> None:
        """Nothing to stop: no thread waits for this receiver."""

    def _set_rtcp_ssrc(self, ssrc: int) -> None:
        self._own_ssrc = ssrc

    def _follows(self, packet: IncomingPacket, clock_rate_hz: int, arrived_s: float) -> bool:
        """Whether it belongs to the stream, and count it; another SSRC may replace the old."""
        if packet.ssrc != self._ssrc or self._reception is None:
            if arrived_s - self._ssrc_since_s < SSRC_CHANGE_PAUSE_S:
                return False
            self._restarting(self._ssrc)
            self._ssrc, self._ssrc_since_s = packet.ssrc, arrived_s
            self._reception = Reception(clock_rate_hz)
            self._reported_lost = 0
            self._sender_report = None
        self._reception.add(packet.sequence, packet.timestamp, arrived_s)
        self._uncounted += 1
        return True

    def _restarting(self, old_ssrc: int | None) -> None:
        """The stream starts, or starts anew under another SSRC."""

    def _count(self) -> None:
        """Tell the metrics what came in: once a second, not with each packet."""
        self._counters.rtp("in", self._uncounted)
        self._uncounted = 0

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(0.5 + random.random())  # noqa: S311 (RFC 3550 6.2 wants jitter)
            self._count()
            if self._reception is None or self._ssrc is None or self._own_ssrc is None:
                continue
            report = self._reception.report()
            self._counters.rtp_lost(max(0, report.lost - self._reported_lost))
            self._reported_lost = max(report.lost, self._reported_lost)
            block = RtcpReceiverInfo(
                ssrc=self._ssrc,
                fraction_lost=report.fraction_lost,
                packets_lost=report.lost,
                highest_sequence=report.highest_sequence,
                jitter=report.jitter,
                lsr=self._sender_report[0] if self._sender_report else 0,
                dlsr=self._since_sender_report(),
            )
            self._tell(RtcpRrPacket(ssrc=self._own_ssrc, reports=[block]))

    def _since_sender_report(self) -> int:
        """Delay since the last sender report in 1/65536 s (RFC 3550 6.4.1), 0 when unknown."""
        if self._sender_report is None:
            return 0
        delay_s = time.time() - self._sender_report[1]
        return int(delay_s * 65536) if 0 < delay_s < 65536 else 0

    def _tell(self, packet: AnyRtcpPacket) -> None:
        self._transport.send_control(bytes(packet))


class AudioReceiver(ReportingReceiver):
    """Audio packets go on as they are: no decoder, no queue, nothing to overflow."""

    def __init__(self, transport: DtlsTransport, counters: RtpCounters) -> None:
        super().__init__("audio", transport, counters)
        self.on_packet: Callable[[IncomingPacket, str], None] | None = None
        "Called with each packet and its codec's MIME type."
        self._formats: dict[int, tuple[str, int]] = {}
        "By payload type: MIME type and clock rate."

    def rtp_received(self, packet: IncomingPacket, arrived_s: float) -> None:
        """Pass it on."""
        known = self._formats.get(packet.payload_type)
        if known is None or not self._enabled:
            return
        mime_type, clock_rate_hz = known
        if not self._follows(packet, clock_rate_hz, arrived_s):
            return
        if packet.payload and self.on_packet is not None:
            self.on_packet(packet, mime_type)

    def _take_codec(self, payload_type: int, codec: RTCRtpCodecParameters) -> None:
        self._formats[payload_type] = (codec.mimeType, codec.clockRate)


class _Format(NamedTuple):
    """A video payload type."""

    codec: Codec
    clock_rate_hz: int


class VideoReceiver(ReportingReceiver):
    """Packets -> complete frames, with losses asked for again until their time is over."""

    def __init__(
        self, transport: DtlsTransport, counters: RtpCounters, bandwidth: Bandwidth
    ) -> None:
        super().__init__("video", transport, counters)
        self.on_frame: Callable[[EncodedFrame], None] | None = None
        "Called on the loop with each complete frame, in order."
        self.on_undecodable: Callable[[int], None] | None = None
        "Called on the loop with the number of frames that were dropped for want of a reference."
        self._formats: dict[int, _Format] = {}
        self._rtx_of: dict[int, int] = {}
        "Payload type of retransmissions: that of what they repeat."
        self._jitter: JitterBuffer | None = None
        self._repair = LossRepair()
        self._rtx_ssrc: int | None = None
        self._bandwidth = bandwidth
        self._keyframe_wanted = False
        self._pli_s = float("-inf")
        self._tick: asyncio.TimerHandle | None = None
        self.plis_sent = 0
        self.nacks_sent = 0
        self.retransmitted = 0

    async def receive(self, parameters: RTCRtpReceiveParameters) -> None:
        for encoding in parameters.encodings:
            self._rtx_ssrc = encoding.rtx.ssrc if encoding.rtx else self._rtx_ssrc
        await super().receive(parameters)
        if self._rtx_ssrc is not None:
            # aiortc registers the media's SSRCs alone, and with two cameras it would not know
            # whose retransmission this is.
            self._transport._rtp_router.ssrc_table[self._rtx_ssrc] = self

    async def stop(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
        await super().stop()

    def ask_keyframe(self) -> None:
        """The decoder has lost its way: send a PLI, now or when the last one is old enough."""
        self._keyframe_wanted = True
        self._maintain()

    def rtp_received(self, packet: IncomingPacket, arrived_s: float) -> None:
        """Into the jitter buffer; frames that are complete now go to `on_frame`."""
        if not self._enabled:
            return
        unwrapped = self._media(packet, arrived_s)
        if unwrapped is None:
            return
        packet, codec = unwrapped
        if self._jitter is None or self._jitter.codec is not codec:
            self._jitter = JitterBuffer(codec)
            self._repair.forget()
        try:
            data = depayload(codec, packet.payload) if packet.payload else b""
        except ValueError:
            return  # it stays missing, so it is asked for again or given up
        self._hand_over(
            self._jitter.add(
                VideoPacket(packet.sequence, packet.timestamp, packet.marker, data, arrived_s)
            )
        )
        if self._jitter.has_gap or self._repair.waiting or self._keyframe_wanted:
            self._maintain()

    def _take_codec(self, payload_type: int, codec: RTCRtpCodecParameters) -> None:
        if is_rtx(codec):
            self._rtx_of[payload_type] = int(codec.parameters.get("apt") or -1)
        else:
            self._formats[payload_type] = _Format(Codec(codec.name), codec.clockRate)

    def _media(
        self, packet: IncomingPacket, arrived_s: float
    ) -> tuple[IncomingPacket, Codec] | None:
        """The media packet that this is or holds, if it belongs to the stream."""
        known = self._formats.get(packet.payload_type)
        if known is None:
            return self._retransmitted(packet)
        if not self._follows(packet, known.clock_rate_hz, arrived_s):
            return None
        self._estimate(packet, arrived_s)
        return packet, known.codec

    def _retransmitted(self, rtx: IncomingPacket) -> tuple[IncomingPacket, Codec] | None:
        """The packet inside an RTX packet (RFC 4588) of this stream, or None."""
        payload_type = self._rtx_of.get(rtx.payload_type, -1)
        original = self._formats.get(payload_type)
        known = self._rtx_ssrc is None or rtx.ssrc == self._rtx_ssrc
        if original is None or self._ssrc is None or not known:
            return None
        if len(rtx.payload) < RTX_HEADER_BYTES:
            return None
        self.retransmitted += 1
        return rtx.unwrapped(payload_type, self._ssrc), original.codec

    def _restarting(self, old_ssrc: int | None) -> None:
        self._jitter = None
        self._repair.forget()
        if old_ssrc is not None:
            self._bandwidth.forget(old_ssrc)

    def _hand_over(self, released: Released) -> None:
        for frame in released.frames:
            if frame.keyframe:
                self._keyframe_wanted = False
            if self.on_frame is not None:
                self.on_frame(frame)
        self._keyframe_wanted |= released.reference_lost
        if released.undecodable and self.on_undecodable is not None:
            self.on_undecodable(released.undecodable)

    def _maintain(self) -> None:
        """Ask again for what is missing, give up what is too late, and come back if need be."""
        now_s = time.monotonic()
        jitter = self._jitter
        if jitter is not None and self._ssrc is not None:
            missing = jitter.missing()
            lost = self._repair.due(missing, now_s=now_s)
            if missing and self._repair.hopeless(now_s=now_s):
                self._repair.forget()
                self._hand_over(jitter.give_up())
            elif lost:
                self._send_nack(lost)
        if self._keyframe_wanted and now_s - self._pli_s >= PLI_INTERVAL_S:
            self._pli_s = now_s
            self._send_pli()
        if (self._repair.waiting or self._keyframe_wanted) and self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(REPAIR_TICK_S, self._on_tick)

    def _on_tick(self) -> None:
        self._tick = None
        self._maintain()

    def _send_nack(self, lost: list[int]) -> None:
        if self._own_ssrc is None or self._ssrc is None:
            return
        packet = RtcpRtpfbPacket(
            fmt=RTCP_RTPFB_NACK, ssrc=self._own_ssrc, media_ssrc=self._ssrc, lost=lost
        )
        self.nacks_sent += 1
        self._tell(packet)

    def _send_pli(self) -> None:
        if self._own_ssrc is None or self._ssrc is None:
            return
        packet = RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=self._own_ssrc, media_ssrc=self._ssrc)
        self.plis_sent += 1
        self._tell(packet)

    def _estimate(self, packet: IncomingPacket, arrived_s: float) -> None:
        """Tell the sender what the path can take, at a bounded rate."""
        remb = self._bandwidth.add(packet, arrived_s)
        if remb is None or self._own_ssrc is None:
            return
        self._tell(
            RtcpPsfbPacket(
                fmt=RTCP_PSFB_APP, ssrc=self._own_ssrc, media_ssrc=0, fci=pack_remb_fci(*remb)
            )
        )
