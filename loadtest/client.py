"""One WebRTC session: a stock aiortc peer that plays a clip and times what comes back.

Nothing is encoded here and, past the first two seconds, nothing is decoded. Times are taken where
the packets are: a frame is sent when its last packet is handed to the DTLS transport, and has come
back when the packet with its marker bit has (aiortc's own track waits for the frame after it).
The server keeps the distances of RTP timestamps, so one pair of frames tells which belongs to
which; pairing.py finds it. For a few frames of each half minute numbers are played and read again,
to see that it still holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import aioice.ice
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
    from collections.abc import Callable, Mapping

    from aiortc.jitterbuffer import JitterFrame
    from aiortc.rtp import RtpPacket

    from loadtest.clip import EncodedClip

CONNECT_TIMEOUT_S = 20.0
CLOSE_TIMEOUT_S = 5.0
LAST_FRAME_TIMEOUT_S = 1.0
TIMESTAMP_MODULUS = 1 << 32
VIDEO_CLOCK_HZ = 90_000
MARKER_BIT = 0x80


VERIFY_INTERVAL_S = 30.0
VERIFY_TIMEOUT_S = 3.0


def clients_on_loopback() -> None:
    """Let this process's peers use 127.0.0.1, which aioice leaves out of a machine's addresses."""
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


class Line(Protocol):
    """How one session is opened and closed at a server (adapters.py)."""

    async def open(self, offer: str) -> str:
        """The answer to an SDP offer."""
        ...

    async def close(self) -> None: ...


class Watcher(Protocol):
    """Is told of every frame, in place of the lists `Client.sent` and `Client.returned`: those grow
    without end."""

    def sent(self, number: int, at_s: float) -> None: ...

    def back(self, number: int, at_s: float) -> None: ...


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
    """One session. `keep` keeps every returned frame, for tests that look at the pictures; `verify`
    has numbers read again while it goes on."""

    def __init__(
        self,
        clip: EncodedClip,
        line: Line,
        *,
        loop: bool = True,
        keep: bool = False,
        verify: bool = False,
        watcher: Watcher | None = None,
    ) -> None:
        self.player = Player(clip, loop=loop, replay_every_s=VERIFY_INTERVAL_S if verify else None)
        self.player.on_replay = self._read_again
        self.sent: list[Sent] = []
        self.returned: list[Returned] = []
        self.coded: list[Coded] = []
        self.pairing = Pairing(clip)
        self.statistics: Mapping[str, Any] = {}
        "Other peers count more themselves than this one."
        self.sent_bytes = 0
        self.returned_bytes = 0
        self.ended = asyncio.Event()
        "The connection is no more."
        self._sent_count = 0
        self._returned_count = 0
        self._watcher = watcher
        self._sent_as: dict[int, int] = {}
        "The number under which a frame of the clip was sent last."
        self._returned_ssrc = 0
        self._returned_last = 0
        self._returned_since = 0
        "RTP timestamp of the newest frame on an axis that does not wrap: from the first, 90 kHz."
        self._looked = asyncio.Event()
        self._asking: set[asyncio.Task[None]] = set()
        self._clip = clip
        self._line = line
        self._keep = keep
        self._connected = asyncio.Event()
        self._returned_one = asyncio.Event()
        self._rtx_types: frozenset[int] | None = None
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
        while self._returned_count < count:
            self._returned_one.clear()
            await self._returned_one.wait()

    async def play_through(self) -> None:
        """Until a clip that does not loop is over, and what came of it is back."""
        await self.player.ended.wait()
        try:
            async with asyncio.timeout(LAST_FRAME_TIMEOUT_S):
                await self.came_back(self._sent_count)
        except TimeoutError:
            return  # some were dropped on the way

    async def verify(self) -> None:
        """Read numbers once more, or find within a few seconds that none come back."""
        if not self._clip.numbered or not self._returned_count:
            return
        self.player.replay()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(VERIFY_TIMEOUT_S):
                await self._looked.wait()

    async def close(self) -> None:
        """Tell the server, then close; both are tried whatever happens to the other."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._line.close()
        finally:
            await self.connection.close()

    def _state_changed(self) -> None:
        if self.connection.connectionState in ("connected", "failed", "closed"):
            self._connected.set()
        if self.connection.connectionState in ("failed", "closed"):
            self.ended.set()

    def _read_again(self) -> None:
        """The server is asked for a keyframe, so that a decoder can begin in the middle."""
        self._looked.clear()
        self.pairing.again()
        receiver: Any = self._transceiver.receiver
        task = asyncio.ensure_future(receiver._send_rtcp_pli(self._returned_ssrc))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

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
        number, at_s = self._sent_count, time.monotonic()
        self._sent_count += 1
        self._sent_as[self.player.playing] = number
        if self._watcher is None:
            self.sent.append(Sent(self.player.playing, at_s))
        else:
            self._watcher.sent(number, at_s)

    def _on_packet(self, packet: RtpPacket) -> None:
        if self._rtx_types is None:
            self._rtx_types = frozenset(
                int(codec.payloadType or 0) for codec in self._transceiver._codecs if is_rtx(codec)
            )
        if packet.payload_type in self._rtx_types:
            return
        self.returned_bytes += len(packet.payload)
        if packet.ssrc != self._returned_ssrc:
            self._returned_ssrc, self._returned_last = packet.ssrc, packet.timestamp
        if not packet.marker:
            return
        ahead = (packet.timestamp - self._returned_last) % TIMESTAMP_MODULUS
        if ahead >= TIMESTAMP_MODULUS // 2:
            return  # an old one, out of order
        self._returned_last = packet.timestamp
        self._returned_since += ahead
        number, at_s = self._number(self._returned_since), time.monotonic()
        self._returned_count += 1
        if self._watcher is None:
            self.returned.append(Returned(number, at_s))
        else:
            self._watcher.back(number, at_s)
        self._returned_one.set()

    def _on_coded(self, frame: JitterFrame) -> None:
        # aiortc counts a stream's timestamps from its first frame, as `returned` does.
        coded = Coded(self._number(frame.timestamp), frame.data)
        if self._keep:
            self.coded.append(coded)
        if not self.pairing.over:
            self.pairing.look(coded.number, coded.data, self._sent_as.get)
            if self.pairing.over:
                self._looked.set()

    def _number(self, since: int) -> int:
        """Frames in a span of 90 kHz; some servers' timestamps are one off by rounding."""
        return round(since * self._clip.fps / VIDEO_CLOCK_HZ)
