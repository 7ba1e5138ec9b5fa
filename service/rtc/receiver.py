"""RTP in: a video receiver that repairs losses by the clock, an audio receiver that only passes on.

They take the places of aiortc's RTCRtpReceiver (connection.py builds them), which decodes in a
thread of its own behind unbounded queues, asks once for a lost packet, and keeps state for every
SSRC a peer invents. Packets, statistics and bandwidth estimation are aiortc's.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING, Protocol

from aiortc import clock
from aiortc.codecs import is_rtx
from aiortc.rate import RemoteBitrateEstimator
from aiortc.rtcrtpreceiver import RTCRtpReceiver, StreamStatistics
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
    unwrap_rtx,
)

from service.rtc.codecs import Codec, depayload
from service.rtc.jitter import EncodedFrame, JitterBuffer, LossRepair, Released, VideoPacket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiortc.rtcdtlstransport import RTCDtlsTransport
    from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpReceiveParameters
    from aiortc.rtp import AnyRtcpPacket, RtpPacket

logger = logging.getLogger(__name__)

REMB_INTERVAL_MS = 200
"""aiortc's estimator answers nearly every packet while it sees overuse."""
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


class Bandwidth:
    """What may come in over one transport, all video streams together (REMB).

    A browser takes a REMB for the whole transport: estimates by stream would throttle each other.
    """

    def __init__(self) -> None:
        self._estimator = RemoteBitrateEstimator()
        self._told_ms = 0

    @property
    def streams(self) -> int:
        """How many streams the estimate is made of."""
        return len(self._estimator.ssrcs)

    def add(self, packet: RtpPacket, arrival_time_ms: int) -> tuple[int, list[int]] | None:
        """Feed it; bits per second and SSRCs when it is time to tell the sender."""
        if packet.extensions.abs_send_time is None:
            return None
        remb = self._estimator.add(
            abs_send_time=packet.extensions.abs_send_time,
            arrival_time_ms=arrival_time_ms,
            payload_size=len(packet.payload) + packet.padding_size,
            ssrc=packet.ssrc,
        )
        now_ms = clock.current_ms()
        if remb is None or now_ms - self._told_ms < REMB_INTERVAL_MS:
            return None
        self._told_ms = now_ms
        return remb

    def forget(self, ssrc: int) -> None:
        self._estimator.ssrcs.pop(ssrc, None)


class ReportingReceiver(RTCRtpReceiver):
    """What both kinds share: one SSRC at a time, receiver reports, a bounded life."""

    def __init__(self, kind: str, transport: RTCDtlsTransport, counters: RtpCounters) -> None:
        super().__init__(kind, transport)
        self._counters = counters
        self._codecs: dict[int, RTCRtpCodecParameters] = {}
        self._ssrc: int | None = None
        self._ssrc_since_s = float("-inf")
        self._statistics: StreamStatistics | None = None
        self._reported_lost = 0
        self._own_ssrc: int | None = None
        self._sender_report: tuple[int, float] | None = None
        self._rtcp_task: asyncio.Task[None] | None = None
        self._sends: set[asyncio.Task[None]] = set()

    async def receive(self, parameters: RTCRtpReceiveParameters) -> None:
        if self._rtcp_task is not None:
            return
        self._codecs = {
            codec.payloadType: codec for codec in parameters.codecs if codec.payloadType is not None
        }
        self.transport._register_rtp_receiver(self, parameters)
        self._rtcp_task = asyncio.create_task(self._report())

    async def stop(self) -> None:
        self.transport._unregister_rtp_receiver(self)
        tasks = [task for task in (self._rtcp_task, *self._sends) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _handle_disconnect(self) -> None:
        """Nothing to stop: no thread waits for this receiver."""

    def _set_rtcp_ssrc(self, ssrc: int) -> None:
        self._own_ssrc = ssrc

    async def _handle_rtcp_packet(self, packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpSrPacket) and packet.ssrc == self._ssrc:
            middle = (packet.sender_info.ntp_timestamp >> 16) & 0xFFFFFFFF
            self._sender_report = (middle, time.time())

    def _follows(self, ssrc: int) -> bool:
        """Whether packets of this SSRC belong to the stream; a new one replaces the old."""
        if ssrc == self._ssrc:
            return True
        now_s = time.monotonic()
        if now_s - self._ssrc_since_s < SSRC_CHANGE_PAUSE_S:
            return False
        self._restarting(self._ssrc)
        self._ssrc, self._ssrc_since_s = ssrc, now_s
        self._statistics = None
        self._sender_report = None
        return True

    def _restarting(self, old_ssrc: int | None) -> None:
        """The stream starts, or starts anew under another SSRC."""

    def _count(self, packet: RtpPacket, clock_rate: int) -> None:
        self._counters.rtp("in", 1)
        if self._statistics is None:
            self._statistics = StreamStatistics(clock_rate)
            self._reported_lost = 0
        self._statistics.add(packet)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(0.5 + random.random())  # noqa: S311 (RFC 3550 6.2 wants jitter)
            statistics = self._statistics
            if statistics is None or self._ssrc is None or self._own_ssrc is None:
                continue
            lost = max(0, statistics.packets_lost)
            self._counters.rtp_lost(max(0, lost - self._reported_lost))
            self._reported_lost = max(lost, self._reported_lost)
            report = RtcpReceiverInfo(
                ssrc=self._ssrc,
                fraction_lost=statistics.fraction_lost,
                packets_lost=statistics.packets_lost,
                # Extended by the cycles that were counted (RFC 3550 6.4.1).
                highest_sequence=statistics.cycles + (statistics.max_seq or 0),
                jitter=statistics.jitter,
                lsr=self._sender_report[0] if self._sender_report else 0,
                dlsr=self._since_sender_report(),
            )
            await self._send_rtcp(RtcpRrPacket(ssrc=self._own_ssrc, reports=[report]))

    def _since_sender_report(self) -> int:
        """Delay since the last sender report in 1/65536 s (RFC 3550 6.4.1), 0 when unknown."""
        if self._sender_report is None:
            return 0
        delay_s = time.time() - self._sender_report[1]
        return int(delay_s * 65536) if 0 < delay_s < 65536 else 0

    def _send_soon(self, packet: AnyRtcpPacket) -> None:
        task = asyncio.ensure_future(self._send_rtcp(packet))
        self._sends.add(task)
        task.add_done_callback(self._sends.discard)


class AudioReceiver(ReportingReceiver):
    """Audio packets go on as they are: no decoder, no queue, nothing to overflow."""

    def __init__(self, transport: RTCDtlsTransport, counters: RtpCounters) -> None:
        super().__init__("audio", transport, counters)
        self.on_packet: Callable[[RtpPacket, str], Awaitable[None]] | None = None
        "Awaited with each packet and its codec's MIME type."

    async def _handle_rtp_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        codec = self._codecs.get(packet.payload_type)
        if not self._enabled or codec is None or not self._follows(packet.ssrc):
            return
        self._count(packet, codec.clockRate)
        if packet.payload and self.on_packet is not None:
            await self.on_packet(packet, codec.mimeType)


class VideoReceiver(ReportingReceiver):
    """Packets -> complete frames, with losses asked for again until their time is over."""

    def __init__(
        self, transport: RTCDtlsTransport, counters: RtpCounters, bandwidth: Bandwidth
    ) -> None:
        super().__init__("video", transport, counters)
        self.on_frame: Callable[[EncodedFrame], None] | None = None
        "Called on the loop with each complete frame, in order."
        self.on_undecodable: Callable[[int], None] | None = None
        "Called on the loop with the number of frames that were dropped for want of a reference."
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
            self.transport._rtp_router.ssrc_table[self._rtx_ssrc] = self

    async def stop(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
        await super().stop()

    def ask_keyframe(self) -> None:
        """The decoder has lost its way: send a PLI, now or when the last one is old enough."""
        self._keyframe_wanted = True
        self._maintain()

    async def _handle_rtp_packet(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        parameters = self._codecs.get(packet.payload_type)
        if not self._enabled or parameters is None:
            return
        if is_rtx(parameters):
            unwrapped = self._retransmitted(packet, parameters)
            if unwrapped is None:
                return
            packet, parameters = unwrapped
        elif not self._follows(packet.ssrc):
            return
        else:
            self._count(packet, parameters.clockRate)
            await self._estimate(packet, arrival_time_ms)
        codec = Codec(parameters.name)
        if self._jitter is None or self._jitter.codec is not codec:
            self._jitter = JitterBuffer(codec)
            self._repair.forget()
        try:
            data = depayload(codec, packet.payload) if packet.payload else b""
        except ValueError:
            return  # it stays missing, so it is asked for again or given up
        arrived_s = time.monotonic()
        released = self._jitter.add(
            VideoPacket(
                packet.sequence_number, packet.timestamp, bool(packet.marker), data, arrived_s
            )
        )
        self._hand_over(released)
        self._maintain()

    def _retransmitted(
        self, packet: RtpPacket, rtx: RTCRtpCodecParameters
    ) -> tuple[RtpPacket, RTCRtpCodecParameters] | None:
        """The packet inside an RTX packet (RFC 4588) of this stream, or None."""
        payload_type = int(rtx.parameters.get("apt") or -1)
        original = self._codecs.get(payload_type)
        known = self._rtx_ssrc is None or packet.ssrc == self._rtx_ssrc
        if original is None or self._ssrc is None or not known or len(packet.payload) < 2:
            return None
        self.retransmitted += 1
        unwrapped = unwrap_rtx(packet, payload_type=payload_type, ssrc=self._ssrc)
        return unwrapped, original

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
        self._send_soon(packet)

    def _send_pli(self) -> None:
        if self._own_ssrc is None or self._ssrc is None:
            return
        packet = RtcpPsfbPacket(fmt=RTCP_PSFB_PLI, ssrc=self._own_ssrc, media_ssrc=self._ssrc)
        self.plis_sent += 1
        self._send_soon(packet)

    async def _estimate(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        """Tell the sender what the path can take, at a bounded rate."""
        remb = self._bandwidth.add(packet, arrival_time_ms)
        if remb is None or self._own_ssrc is None:
            return
        await self._send_rtcp(
            RtcpPsfbPacket(
                fmt=RTCP_PSFB_APP, ssrc=self._own_ssrc, media_ssrc=0, fci=pack_remb_fci(*remb)
            )
        )
