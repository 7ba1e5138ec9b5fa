"""What an authenticated peer may try over its own connection: bounded here, and nothing to others.

Each attack runs beside a neighbour whose pictures must go on; the attacker's own do too.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import av
import pytest
from av.video.codeccontext import VideoCodecContext

from service.rtc.srtp import MAX_STREAMS
from service.rtc.transport import MAX_SSRCS
from tests.peers import LOOPBACK, TIME_BASE, Camera, Client
from tests.rtc.pictures import moving_picture
from tests.rtc.stand import connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from service.frame.look import Look
    from service.frame.pipeline import Pipeline
    from tests.rtc.stand import Connected

    MakePipeline = Callable[[Look], Pipeline]

pytestmark = [pytest.mark.model, pytest.mark.peer]

FLOOD = 2000
"""Packets of one attack."""
AT_ONCE = 50
KEYFRAME_INTERVAL_S = 0.5


HUGE = (7680, 4320)
HUGE_FRAMES = 15
ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "VP8": ("libvpx", {"deadline": "realtime", "cpu-used": "16"}),
    "H264": ("libx264", {"preset": "ultrafast", "tune": "zerolatency"}),
}


class HugeCamera(Camera):
    """As any, until it is told to send one keyframe of 8K again and again."""

    def __init__(self, codec: str) -> None:
        super().__init__(moving_picture)
        self.huge = False
        self._keyframe = huge_keyframe(codec)

    async def recv(self) -> Any:
        frame = await super().recv()
        if not self.huge:
            return frame
        packet = av.Packet(self._keyframe)
        packet.pts, packet.time_base = frame.pts, TIME_BASE
        return packet


def huge_keyframe(codec: str) -> bytes:
    """A flat picture of 8K: 56 KB of VP8, 98 of H264, and any decoder makes 50 MB of it."""
    name, options = ENCODERS[codec]
    context = av.CodecContext.create(name, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height = HUGE
    context.pix_fmt, context.time_base, context.bit_rate = "yuv420p", TIME_BASE, 500_000
    context.thread_count, context.options = 1, options
    grey = av.VideoFrame(*HUGE, "yuv420p")
    for plane in grey.planes:
        plane.update(bytes([128]) * plane.buffer_size)
    grey.pts = 0
    (packet,) = [*context.encode(grey), *context.encode(None)]
    return bytes(packet)


@asynccontextmanager
async def beside(
    attacker: Client, make_pipeline: MakePipeline
) -> AsyncIterator[tuple[Connected, Client]]:
    """The attacker's call, and a neighbour in one of its own, whose pictures go on."""
    neighbour = Client(Camera(moving_picture), codec="VP8")
    async with connected(attacker, make_pipeline) as hostile:
        # Whoever comes second is checked for tasks that it leaves: the first must have begun all.
        await attacker.frames(3)
        async with connected(neighbour, make_pipeline):
            await neighbour.frames(3)
            yield hostile, neighbour
            await neighbour.frames(5)


async def flood(client: Client, packets: list[bytes]) -> None:
    """All of them, protected by the client's keys; the loop turns in between."""
    transport = client.connection.getSenders()[0].transport
    for number, packet in enumerate(packets):
        await transport._send_rtp(packet)
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)


def server_transport(hostile: Connected) -> Any:
    return hostile.peer._link._connection.getTransceivers()[0].receiver.transport


def feedback(hostile: Connected, kind: int, fmt: int, more: bytes = b"") -> bytes:
    """RTCP feedback about what the service sends (RFC 4585 6.1)."""
    media = hostile.peer._link._connection.getTransceivers()[0].sender._ssrc
    return struct.pack("!BBHII", 0x80 | fmt, kind, 2 + len(more) // 4, 77, media) + more


async def test_endlessly_new_streams(make_pipeline: MakePipeline) -> None:
    attacker = Client(Camera(moving_picture), codec="VP8")
    async with beside(attacker, make_pipeline) as (hostile, neighbour):
        packets = [
            struct.pack("!BBHII", 0x80, 97, 1, 0, 0x10000 + n) + b"\x10\x00" + bytes(40)
            for n in range(FLOOD)
        ]
        reports = [struct.pack("!BBHI", 0x80, 201, 1, 0x90000 + n) for n in range(FLOOD)]
        await flood(attacker, packets + reports)
        await attacker.frames(5)
        await neighbour.frames(5)
        transport = server_transport(hostile)
        assert len(transport._rx_srtp._known) == MAX_STREAMS
        assert len(transport._router.ssrc_table) <= MAX_SSRCS


async def test_a_flood_of_keyframe_requests(make_pipeline: MakePipeline) -> None:
    attacker = Client(Camera(moving_picture), codec="VP8")
    async with beside(attacker, make_pipeline) as (hostile, neighbour):
        requests = hostile.peer.tracks["0"]._keyframes
        made, due = 0, requests.due

        def counted(*, now_s: float) -> bool:
            nonlocal made
            made += (makes := due(now_s=now_s))
            return makes

        requests.due = counted  # type: ignore[method-assign]
        began_s = time.monotonic()
        picture_loss = feedback(hostile, 206, 1)
        for _ in range(10):
            await flood(attacker, [picture_loss] * (FLOOD // 10))
            await attacker.frames(2)
        await neighbour.frames(5)
        lasted_s = time.monotonic() - began_s
        assert 1 <= made <= lasted_s / KEYFRAME_INTERVAL_S + 1


async def test_a_flood_of_requests_to_repeat(make_pipeline: MakePipeline) -> None:
    attacker = Client(Camera(moving_picture), codec="VP8")
    async with beside(attacker, make_pipeline) as (hostile, neighbour):
        sender: Any = hostile.peer._link._connection.getTransceivers()[0].sender
        repeated = 0
        send, transport = server_transport(hostile).send_packet, server_transport(hostile)

        def counted(plain: bytes) -> bool:
            nonlocal repeated
            # RTX has a stream of its own (RFC 4588 4).
            repeated += plain[8:12] == struct.pack("!I", sender._rtx_ssrc)
            return bool(send(plain))

        transport.send_packet = counted
        began_s = time.monotonic()
        # Each asks for 16 * 17 packets around the newest.
        newest = sender._sequence
        blocks = b"".join(
            struct.pack("!HH", (newest - 17 * n) & 0xFFFF, 0xFFFF) for n in range(1, 17)
        )
        await flood(attacker, [feedback(hostile, 205, 1, blocks)] * FLOOD)
        await attacker.frames(5)
        await neighbour.frames(5)
        lasted_s = time.monotonic() - began_s
        assert 1 <= repeated <= 400 * (lasted_s + 1)


async def test_another_size_in_every_frame(make_pipeline: MakePipeline) -> None:
    sizes = [(320, 180), (180, 320), (322, 182), (160, 90), (640, 360), (16, 16)]

    def draw(number: int) -> av.VideoFrame:
        width, height = sizes[number % len(sizes)]
        return moving_picture(number).reformat(width=width, height=height)

    attacker = Client(Camera(draw), codec="VP8")
    async with beside(attacker, make_pipeline) as (hostile, neighbour):
        await attacker.frames(30)
        await neighbour.frames(10)
        assert hostile.counts.raw == 0
        assert len({(frame.width, frame.height) for frame in attacker.video.frames}) > 1


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_pictures_of_8k(make_pipeline: MakePipeline, codec: str) -> None:
    camera = HugeCamera(codec)
    attacker = Client(camera, codec=codec)
    async with beside(attacker, make_pipeline) as (hostile, neighbour):
        dropped = hostile.counts.dropped
        began, camera.huge = neighbour.video.total, True
        async with asyncio.timeout(15):
            while dropped["decode_error"] < HUGE_FRAMES:
                await neighbour.frames(1)
        assert neighbour.video.total - began >= HUGE_FRAMES // 3
        before = attacker.video.total
        seen = hostile.counts.frames["processed"]
        await neighbour.frames(5)
        # Nothing is made of them, and nothing else comes back for them.
        assert hostile.counts.frames["processed"] == seen
        assert attacker.video.total <= before + 1
        # What it sends is judged picture by picture: its own go on once they are of a usual size.
        camera.huge = False
        await attacker.frames(5)
        sizes = {(frame.width, frame.height) for frame in attacker.video.frames}
        assert sizes == {(320, 180)}
        assert hostile.counts.raw == 0


async def test_packets_after_the_end(make_pipeline: MakePipeline) -> None:
    attacker = Client(Camera(moving_picture), codec="VP8")
    async with beside(attacker, make_pipeline) as (hostile, neighbour):
        agent = server_transport(hostile).transport._connection
        port = agent._protocols[0].local_candidate.port
        hostile.peer.close("test")
        await hostile.ended()
        frames = hostile.counts.frames["received"]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(FLOOD):
                packet = struct.pack("!BBHII", 0x80, 97, number, 0, 1000) + bytes(40)
                sender.sendto(packet, (LOOPBACK, port))
        await neighbour.frames(5)
        assert hostile.counts.frames["received"] == frames
        # Its place is free again.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as next_:
            next_.bind((LOOPBACK, port))
