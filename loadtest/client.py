"""One WebRTC session: a stock aiortc peer that plays a clip and times what comes back.

Nothing is encoded here and, past the first two seconds, nothing is decoded. Times are taken where
the packets are: a frame is sent when its last packet is handed to the DTLS transport, and has come
back when the packet with its marker bit has (aiortc's own track waits for the frame after it).
The server keeps the distances of RTP timestamps, so one pair of frames tells which belongs to
which; pairing.py finds it.
"""

from __future__ import annotations

import asyncio
import queue
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.codecs import is_rtx
from aiortc.rtp import is_rtcp

from loadtest.pairing import Pairing
from loadtest.player import Player

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiortc.jitterbuffer import JitterFrame
    from aiortc.rtp import RtpPacket

    from loadtest.clip import EncodedClip

CONNECT_TIMEOUT_S = 20.0
CLOSE_TIMEOUT_S = 5.0
LAST_FRAME_TIMEOUT_S = 1.0
TIMESTAMP_MODULUS = 1 << 32
VIDEO_CLOCK_HZ = 90_000
MARKER_BIT = 0x80


class Line(Protocol):
    """How one session is opened and closed at a server (adapters.py)."""

    async def open(self, offer: str) -> str:
        """The answer to an SDP offer."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Sent:
    """One frame that the client sent; its number is its place in `Client.sent`."""

    clip_index: int
    at_s: float
    "When its last packet was handed to the transport, monotonic clock."


@dataclass(frozen=True, slots=True)
class Returned:
    """One frame that came back."""

    number: int
    "Frames since the first that came back, by the RTP timestamp: dropped ones count."
    at_s: float
    "When its last packet came in, monotonic clock."


@dataclass(frozen=True, slots=True)
class Coded:
    """A frame that came back, as it was encoded."""

    number: int
    "As in Returned."
    data: bytes


class _FrameTap(queue.Queue[object]):
    """Stands where aiortc queues complete frames for its decoder thread, which then only waits."""

    def __init__(self, on_frame: Callable[[JitterFrame], None]) -> None:
        super().__init__()
        self._on_frame = on_frame

    def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:
        if item is None:  # the thread is to end
            super().put(None, block, timeout)
            return
        _, frame = cast("tuple[object, JitterFrame]", item)
        self._on_frame(frame)


class Client:
    """One session. `keep` keeps every returned frame, for tests that look at the pictures."""

    def __init__(
        self, clip: EncodedClip, line: Line, *, loop: bool = True, keep: bool = False
    ) -> None:
        self.player = Player(clip, loop=loop)
        self.sent: list[Sent] = []
        self.returned: list[Returned] = []
        self.coded: list[Coded] = []
        self.pairing = Pairing(clip)
        self.sent_bytes = 0
        self.returned_bytes = 0
        self._clip = clip
        self._line = line
        self._keep = keep
        self._connected = asyncio.Event()
        self._returned_one = asyncio.Event()
        self._returned_origin: int | None = None
        self.connection = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self.connection.addTrack(self.player)
        self.connection.on("connectionstatechange", self._state_changed)
        (self._transceiver,) = self.connection.getTransceivers()
        wanted = (f"video/{clip.codec.value}", "video/rtx")
        capabilities = RTCRtpSender.getCapabilities("video").codecs
        self._transceiver.setCodecPreferences(
            [one for one in capabilities if one.mimeType.lower() in wanted]
        )
        self._listen()

    async def start(self) -> None:
        """Connect, then play. Raises TimeoutError, or what the line raises."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await self.connection.setLocalDescription(await self.connection.createOffer())
            answer = await self._line.open(self.connection.localDescription.sdp)
            await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            await self._connected.wait()
        if self.connection.connectionState != "connected":
            raise ConnectionError(f"the connection is {self.connection.connectionState}")
        self.player.start()

    async def came_back(self, count: int) -> None:
        """Until that many frames have come back, since the start."""
        while len(self.returned) < count:
            self._returned_one.clear()
            await self._returned_one.wait()

    async def play_through(self) -> None:
        """Until a clip that does not loop is over, and what came of it is back."""
        await self.player.ended.wait()
        try:
            async with asyncio.timeout(LAST_FRAME_TIMEOUT_S):
                await self.came_back(len(self.sent))
        except TimeoutError:
            return  # some were dropped on the way

    async def close(self) -> None:
        """Tell the server, then close; both are tried whatever happens to the other."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._line.close()
        finally:
            await self.connection.close()

    def latencies_s(self, begin_s: float, end_s: float) -> list[float]:
        """Of the frames that came back in a span of time: back minus sent, frame by frame."""
        shift = self.pairing.shift
        return [
            one.at_s - self.sent[one.number + shift].at_s
            for one in self.returned
            if begin_s <= one.at_s < end_s and 0 <= one.number + shift < len(self.sent)
        ]

    def _state_changed(self) -> None:
        if self.connection.connectionState in ("connected", "failed", "closed"):
            self._connected.set()

    # Taps on this connection's own objects; no module of aiortc is changed.

    def _listen(self) -> None:
        sender: Any = self._transceiver.sender
        receiver: Any = self._transceiver.receiver
        sender._send_keyframe = self.player.rewind
        receiver._RTCRtpReceiver__decoder_queue = _FrameTap(self._on_coded)
        send, handle = sender.transport._send_rtp, receiver._handle_rtp_packet

        async def sending(data: bytes) -> None:
            self._on_sending(data)
            await send(data)

        async def handling(packet: RtpPacket, arrival_time_ms: int) -> None:
            self._on_packet(packet)
            await handle(packet, arrival_time_ms=arrival_time_ms)

        sender.transport._send_rtp = sending
        receiver._handle_rtp_packet = handling

    def _on_sending(self, data: bytes) -> None:
        # RFC 3550 5.1: marker, timestamp and SSRC at their places in the fixed header.
        if is_rtcp(data) or int.from_bytes(data[8:12]) != self._transceiver.sender._ssrc:
            return
        self.sent_bytes += len(data)
        if not data[1] & MARKER_BIT:
            return
        self.sent.append(Sent(self.player.played[len(self.sent)], time.monotonic()))

    def _on_packet(self, packet: RtpPacket) -> None:
        if any(
            codec.payloadType == packet.payload_type and is_rtx(codec)
            for codec in self._transceiver._codecs
        ):
            return
        self.returned_bytes += len(packet.payload)
        if self._returned_origin is None:
            self._returned_origin = packet.timestamp
        if packet.marker:
            since = (packet.timestamp - self._returned_origin) % TIMESTAMP_MODULUS
            self.returned.append(Returned(self._number(since), time.monotonic()))
            self._returned_one.set()

    def _on_coded(self, frame: JitterFrame) -> None:
        # aiortc counts a stream's timestamps from its first frame, as `returned` does.
        coded = Coded(self._number(frame.timestamp), frame.data)
        if self._keep:
            self.coded.append(coded)
        if not self.pairing.over:
            self.pairing.look(coded.number, coded.data, self._sent_number)

    def _number(self, since: int) -> int:
        """Frames in a span of 90 kHz; some servers' timestamps are one off by rounding."""
        return round(since * self._clip.fps / VIDEO_CLOCK_HZ)

    def _sent_number(self, clip_index: int) -> int | None:
        """The number under which a frame of the clip was sent last."""
        for number in range(len(self.sent) - 1, -1, -1):
            if self.sent[number].clip_index == clip_index:
                return number
        return None
