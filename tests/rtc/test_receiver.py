"""What a receiver asks of the sender, and what it does not keep."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpPsfbPacket,
    RtcpRtpfbPacket,
)

from service.rtc.bandwidth import Bandwidth
from service.rtc.packet import Extensions, IncomingPacket
from service.rtc.receiver import SSRC_CHANGE_PAUSE_S, AudioReceiver, VideoReceiver
from tests.rtc.counts import Counts
from tests.rtc.wire import OPUS, VP8, VP8_RTX, Wire, receive_parameters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from service.rtc.jitter import EncodedFrame

DESCRIPTOR = b"\x10"
KEY = DESCRIPTOR + b"\x00\x00\x00\x9d\x01\x2akey!"
DELTA = DESCRIPTOR + b"\x01d"


def packet(
    sequence: int,
    *,
    payload: bytes = DELTA,
    ssrc: int = 1000,
    payload_type: int = 97,
    timestamp: int | None = None,
    abs_send_time: int | None = None,
) -> IncomingPacket:
    return IncomingPacket(
        payload_type=payload_type,
        marker=True,
        sequence=sequence,
        timestamp=sequence * 3000 if timestamp is None else timestamp,
        ssrc=ssrc,
        payload=payload,
        extensions=Extensions(abs_send_time=abs_send_time),
    )


class Stand:
    """A receiver on a wire."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.counts = Counts()
        self.bandwidth = Bandwidth()
        self.receiver = VideoReceiver(self.wire.as_transport(), self.counts, self.bandwidth)
        self.receiver._set_rtcp_ssrc(5)
        self.frames: list[EncodedFrame] = []
        self.receiver.on_frame = self.frames.append

    def feed(self, *packets: IncomingPacket) -> None:
        for one in packets:
            self.receiver.rtp_received(one, time.monotonic())

    def nacked(self) -> list[list[int]]:
        return [p.lost for p in self.wire.feedback(RTCP_RTPFB_NACK, RtcpRtpfbPacket)]

    def plis(self) -> int:
        return len(self.wire.feedback(RTCP_PSFB_PLI, RtcpPsfbPacket))


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    made = Stand()
    await made.receiver.receive(receive_parameters(VP8, VP8_RTX))
    yield made
    await made.receiver.stop()


async def test_frames_are_handed_over_as_they_complete(stand: Stand) -> None:
    stand.feed(packet(1, payload=KEY), packet(2))
    assert [f.timestamp for f in stand.frames] == [3000, 6000]
    await stand.receiver.stop()
    assert stand.counts.packets["in"] == 2


async def test_a_lost_packet_is_asked_for_again_until_a_keyframe_is_the_better_hope(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    stand.feed(packet(1, payload=KEY), packet(3))
    assert stand.nacked() == [[2]]
    for step in range(10):
        now_s[0] = 100.0 + step * 0.05
        stand.receiver._on_tick()
    assert 3 <= len(stand.nacked()) <= 9
    assert stand.plis() == 1
    # From here on only a keyframe helps, and it is asked for until it has come.
    now_s[0] += 0.6
    stand.receiver._on_tick()
    assert stand.plis() == 2
    stand.feed(packet(4), packet(5, payload=KEY))
    assert [f.timestamp for f in stand.frames] == [3000, 15000]
    now_s[0] += 5.0
    stand.receiver._on_tick()
    assert stand.plis() == 2


async def test_a_retransmission_fills_the_gap(stand: Stand) -> None:
    stand.feed(packet(1, payload=KEY), packet(3))
    payload = b"\x00\x02" + DELTA
    stand.feed(packet(900, ssrc=2000, payload_type=98, payload=payload, timestamp=6000))
    assert [f.timestamp for f in stand.frames] == [3000, 6000, 9000]


async def test_a_stream_that_starts_without_a_keyframe_asks_for_one(stand: Stand) -> None:
    dropped: list[int] = []
    stand.receiver.on_undecodable = dropped.append
    stand.feed(*[packet(n) for n in range(1, 200)])
    assert stand.frames == []
    assert sum(dropped) == 199
    assert stand.plis() == 1


async def test_invented_ssrcs_are_bounded(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    for n in range(500):
        now_s[0] += 0.1
        stand.feed(packet(1, ssrc=10_000 + n, payload=KEY, abs_send_time=n))
    assert len(stand.frames) <= 50 / SSRC_CHANGE_PAUSE_S + 1
    assert stand.bandwidth.streams == 1
    assert len(stand.receiver.getSynchronizationSources()) == 0


async def test_a_restarted_stream_is_followed_and_its_stragglers_are_not(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    stand.feed(packet(1, payload=KEY))
    now_s[0] += 5
    stand.feed(packet(800, ssrc=2, payload=KEY), packet(2, ssrc=1000), packet(801, ssrc=2))
    assert [f.timestamp // 3000 for f in stand.frames] == [1, 800, 801]


async def test_malformed_and_unknown_payloads_are_skipped(stand: Stand) -> None:
    stand.feed(
        packet(1, payload=KEY),
        packet(2, payload=b"\x90"),
        packet(3, payload_type=127),
        packet(900, ssrc=2000, payload_type=98, payload=b"\x00"),
    )
    assert len(stand.frames) == 1


async def test_bandwidth_estimates_are_sent_at_a_bounded_rate(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiortc's estimator answers nearly every step while it sees overuse."""
    monkeypatch.setattr(stand.bandwidth._estimator, "add", lambda **_: (500_000, [1000]))
    now_s = [10.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    for n in range(100):
        now_s[0] += 0.01
        stand.feed(packet(n + 1, payload=KEY, abs_send_time=n))
    assert 4 <= len(stand.wire.feedback(RTCP_PSFB_APP, RtcpPsfbPacket)) <= 6


async def test_audio_goes_on_without_a_queue() -> None:
    wire, passed = Wire(), []
    receiver = AudioReceiver(wire.as_transport(), Counts())

    def take(one: IncomingPacket, mime_type: str) -> None:
        passed.append((one.sequence, mime_type))

    receiver.on_packet = take
    await receiver.receive(receive_parameters(OPUS))
    try:
        receiver.rtp_received(packet(7, payload_type=96), 1.0)
        receiver.rtp_received(packet(8, payload_type=1), 1.0)
    finally:
        await receiver.stop()
    assert passed == [(7, "audio/opus")]
