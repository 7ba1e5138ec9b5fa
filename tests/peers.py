"""Stock aiortc peers as clients, and a UDP relay that loses packets between them and the service.

The clients are aiortc as anybody would use it: nothing of service/rtc is in them.
"""

from __future__ import annotations

import asyncio
import fractions
import random
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import av
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOOPBACK = "127.0.0.1"
TIME_BASE = fractions.Fraction(1, 90_000)


class Camera(MediaStreamTrack):
    """Plays pictures that a function draws, at a steady rate in real time."""

    kind = "video"

    def __init__(self, draw: Callable[[int], av.VideoFrame], fps: int = 30) -> None:
        super().__init__()
        self._draw = draw
        self._fps = fps
        self._started_s: float | None = None
        self.number = 0

    async def recv(self) -> av.VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        now_s = time.monotonic()
        if self._started_s is None:
            self._started_s = now_s
        wait_s = self._started_s + self.number / self._fps - now_s
        await asyncio.sleep(max(0.0, wait_s))
        frame = self._draw(self.number)
        frame.pts = self.number * 90_000 // self._fps
        frame.time_base = TIME_BASE
        self.number += 1
        return frame


class Tone(MediaStreamTrack):
    """Plays a tone, 20 ms at a time, in real time."""

    kind = "audio"
    RATE_HZ = 48_000
    SAMPLES = 960

    def __init__(self, hz: float) -> None:
        super().__init__()
        self._hz = hz
        self._started_s: float | None = None
        self._number = 0

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        now_s = time.monotonic()
        if self._started_s is None:
            self._started_s = now_s
        first = self._number * self.SAMPLES
        await asyncio.sleep(max(0.0, self._started_s + first / self.RATE_HZ - now_s))
        times_s = np.arange(first, first + self.SAMPLES) / self.RATE_HZ
        wave = (8000 * np.sin(2 * np.pi * self._hz * times_s)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(wave[None], "s16", "mono")
        frame.sample_rate, frame.pts = self.RATE_HZ, first
        frame.time_base = fractions.Fraction(1, self.RATE_HZ)
        self._number += 1
        return frame


def loudest_hz(frames: Sequence[Any]) -> float:
    """The frequency of what is heard in these audio frames, one after the other."""
    left = np.concatenate(
        [frame.to_ndarray()[0, :: len(frame.layout.channels)] for frame in frames]
    )
    spectrum = np.abs(np.fft.rfft(left.astype(float) * np.hanning(len(left))))
    return float(np.argmax(spectrum) * frames[0].sample_rate / len(left))


@dataclass
class Returned:
    """What came back on one track."""

    frames: list[av.VideoFrame] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    total: int = 0
    keep: int = 50
    "How many of the newest frames are kept."
    arrived: asyncio.Event = field(default_factory=asyncio.Event)


class Client:
    """One stock peer that sends tracks and keeps what comes back."""

    def __init__(self, *tracks: MediaStreamTrack, codec: str | None = None, keep: int = 50) -> None:
        self.connection = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self.video = Returned(keep=keep)
        self.audio = Returned(keep=keep)
        self._readers: list[asyncio.Task[None]] = []
        for track in tracks:
            self.connection.addTrack(track)
        if codec is not None:
            self._only(codec)
        self.connection.on("track", self._on_track)

    def _only(self, codec: str) -> None:
        wanted = [
            c
            for c in RTCRtpSender.getCapabilities("video").codecs
            if c.mimeType.lower() in (f"video/{codec.lower()}", "video/rtx")
        ]
        for transceiver in self.connection.getTransceivers():
            if transceiver.kind == "video":
                transceiver.setCodecPreferences(wanted)

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return str(self.connection.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    def _on_track(self, track: MediaStreamTrack) -> None:
        into = self.video if track.kind == "video" else self.audio
        self._readers.append(asyncio.create_task(self._read(track, into)))

    async def _read(self, track: MediaStreamTrack, into: Returned) -> None:
        while True:
            try:
                frame: Any = await track.recv()
            except MediaStreamError:
                return
            into.frames = [*into.frames[-(into.keep - 1) :], frame]
            into.times_s.append(time.monotonic())
            into.total += 1
            into.arrived.set()

    async def wait_for(
        self, condition: Callable[[], bool], *, timeout_s: float = 15.0, audio: bool = False
    ) -> None:
        """Until a condition holds, looked at whenever a frame has come back."""
        into = self.audio if audio else self.video
        async with asyncio.timeout(timeout_s):
            while not condition():
                into.arrived.clear()
                await into.arrived.wait()

    async def frames(self, count: int, *, timeout_s: float = 15.0) -> None:
        """Until this many more frames have come back."""
        goal = self.video.total + count
        await self.wait_for(lambda: self.video.total >= goal, timeout_s=timeout_s)

    async def close(self) -> None:
        await self.connection.close()
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)


class _Leg(asyncio.DatagramProtocol):
    """One side of the relay: hands what it receives to the other side."""

    def __init__(self, forward: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._forward = forward
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._forward(data, addr)


class LossyRelay:
    """A UDP path between a client and the service that loses a share of both directions."""

    def __init__(self, *, seed: int = 1) -> None:
        self.loss = 0.0
        self.cut = False
        self.loses: Callable[[bytes], bool] = lambda _data: False
        "Whether a datagram is lost whatever the share."
        self.lost = 0
        self.passed = 0
        self._random = random.Random(seed)
        self._client: tuple[str, int] | None = None

    @staticmethod
    def hide(offer: str) -> str:
        """The offer without the client's own addresses: the service must not find a way past
        the relay."""
        return "\r\n".join(x for x in offer.split("\r\n") if not x.startswith("a=candidate:"))

    async def between(self, answer: str) -> str:
        """Start, and return the answer with the service's candidate replaced by this relay."""
        match = re.search(r"a=candidate:\S+ 1 udp \d+ (127\.0\.0\.1) (\d+) typ host", answer)
        assert match is not None, "the answer offers no candidate on 127.0.0.1"
        self._server = (LOOPBACK, int(match.group(2)))
        loop = asyncio.get_running_loop()
        _, self._near = await loop.create_datagram_endpoint(
            lambda: _Leg(self._from_client), local_addr=(LOOPBACK, 0)
        )
        _, self._far = await loop.create_datagram_endpoint(
            lambda: _Leg(self._from_server), local_addr=(LOOPBACK, 0)
        )
        port = self._near.transport.get_extra_info("sockname")[1]
        lines = [line for line in answer.split("\r\n") if not line.startswith("a=candidate:")]
        ours = f"a=candidate:1 1 udp 2130706431 {LOOPBACK} {port} typ host"
        with_ours = [
            one
            for line in lines
            for one in ([ours, line] if line.startswith("a=ice-ufrag") else [line])
        ]
        return "\r\n".join(with_ours)

    def close(self) -> None:
        self._near.transport.close()
        self._far.transport.close()

    def _drops(self, data: bytes) -> bool:
        if self.cut or self.loses(data) or self._random.random() < self.loss:
            self.lost += 1
            return True
        self.passed += 1
        return False

    def _from_client(self, data: bytes, addr: tuple[str, int]) -> None:
        self._client = addr
        if not self._drops(data):
            self._far.transport.sendto(data, self._server)

    def _from_server(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._client is not None and not self._drops(data):
            self._near.transport.sendto(data, self._client)
