"""What a sender sends, repeats and reports."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from aiortc import clock
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    pack_remb_fci,
)

from service.rtc.audio import AudioRelay
from service.rtc.packet import AUDIO_LEVEL_URI, Extensions, IncomingPacket
from service.rtc.receiver import AudioReceiver
from service.rtc.sender import HISTORY_PACKETS, MAX_RETRANSMISSIONS_PER_S, Sender
from tests.rtc.counts import Counts
from tests.rtc.wire import OPUS, VP8, VP8_RTX, Wire, receive_parameters, send_parameters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECOND = 1 << 32
"""One second of NTP time."""


@pytest.fixture
async def wire() -> Wire:
    return Wire()


@pytest.fixture
async def sender(wire: Wire) -> AsyncIterator[Sender]:
    made = Sender("video", wire.as_transport(), Counts())
    await made.send(send_parameters(VP8, VP8_RTX))
    yield made
    await made.stop()


async def test_a_picture_is_consecutive_packets_and_the_last_is_marked(
    wire: Wire, sender: Sender
) -> None:
    sender.send_frame([b"a", b"b", b"c"], timestamp=0, ntp=0)
    sender.send_frame([b"d"], timestamp=3000, ntp=0)
    packets = wire.rtp()
    first = packets[0].sequence_number
    assert [p.sequence_number - first for p in packets] == [0, 1, 2, 3]
    assert [p.marker for p in packets] == [0, 0, 1, 1]
    assert packets[3].timestamp - packets[0].timestamp == 3000
    assert {p.payload_type for p in packets} == {97}


async def test_lost_packets_are_repeated_from_a_bounded_history(wire: Wire, sender: Sender) -> None:
    for n in range(HISTORY_PACKETS + 1):
        sender.send_frame([b"%d" % n], timestamp=n, ntp=0)
    first = wire.rtp()[0].sequence_number
    wire.sent.clear()
    nack = RtcpRtpfbPacket(RTCP_RTPFB_NACK, ssrc=1, media_ssrc=2, lost=[first, first + 5])
    sender.rtcp_received(nack)
    (rtx,) = wire.rtp()  # the oldest one is gone
    assert rtx.payload_type == 98
    assert rtx.payload[2:] == b"5"


async def test_what_shows_the_camera_is_repeated_only_while_that_is_wanted(
    wire: Wire, sender: Sender
) -> None:
    sender.send_frame([b"raw"], timestamp=0, ntp=0, raw=True)
    sender.send_frame([b"covered"], timestamp=3000, ntp=0)
    lost = [packet.sequence_number for packet in wire.rtp()]
    wire.sent.clear()
    nack = RtcpRtpfbPacket(RTCP_RTPFB_NACK, ssrc=1, media_ssrc=2, lost=lost)
    sender.rtcp_received(nack)
    assert [packet.payload[2:] for packet in wire.rtp()] == [b"covered"]
    sender.may_repeat_raw = lambda: True
    wire.sent.clear()
    sender.rtcp_received(nack)
    assert [packet.payload[2:] for packet in wire.rtp()] == [b"raw", b"covered"]


async def test_a_nack_flood_is_no_amplifier(
    wire: Wire, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 50.0)
    sender.send_frame([b"a"], timestamp=0, ntp=0)
    nack = RtcpRtpfbPacket(
        RTCP_RTPFB_NACK, ssrc=1, media_ssrc=2, lost=[wire.rtp()[0].sequence_number]
    )
    wire.sent.clear()
    for _ in range(5000):
        sender.rtcp_received(nack)
    assert len(wire.sent) == MAX_RETRANSMISSIONS_PER_S


async def test_feedback_reaches_whoever_encodes(sender: Sender) -> None:
    heard: list[object] = []
    sender.on_keyframe_request = lambda: heard.append("keyframe")
    sender.on_estimate = heard.append
    sender.rtcp_received(RtcpPsfbPacket(RTCP_PSFB_PLI, ssrc=1, media_ssrc=2))
    for ssrcs in ([sender._ssrc], [99]):
        fci = pack_remb_fci(400_000, ssrcs)
        sender.rtcp_received(RtcpPsfbPacket(RTCP_PSFB_APP, 1, 0, fci))
    sender.rtcp_received(RtcpPsfbPacket(RTCP_PSFB_APP, 1, 0, b"\x00"))
    assert heard == ["keyframe", 400_000]


async def test_a_closing_transport_is_no_error(wire: Wire, sender: Sender) -> None:
    wire.broken = True
    sender.send_frame([b"a"], timestamp=0, ntp=0)
    assert wire.sent == []


async def test_the_end_is_said(wire: Wire) -> None:
    sender = Sender("video", wire.as_transport(), Counts())
    await sender.send(send_parameters(VP8))
    await sender.stop()
    assert [type(p) for p in wire.rtcp()] == [RtcpByePacket]


async def test_reports_place_both_kinds_on_the_clock_of_arrival(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that took 200 ms in here and a sound that took none, arrived together."""
    video = Sender("video", wire.as_transport(), Counts())
    audio = Sender("audio", wire.as_transport(), Counts())
    await video.send(send_parameters(VP8))
    await audio.send(send_parameters(OPUS))
    try:
        arrived = 1000 * SECOND
        sound = IncomingPacket(96, False, 1, 0, 7, b"s")
        audio.pass_on(sound, timestamp=48_000, sequence_step=1, ntp=arrived)
        monkeypatch.setattr(clock, "current_ntp_time", lambda: arrived + SECOND // 5)
        video.send_frame([b"p"], timestamp=90_000, ntp=arrived)
        sent_sound, sent_picture = wire.rtp()
        reports = [one._report_time() for one in (audio, video)]
    finally:
        await audio.stop()
        await video.stop()
    assert reports[0][0] == reports[1][0] == arrived + SECOND // 5
    assert (reports[0][1] - sent_sound.timestamp) % SECOND == pytest.approx(48_000 / 5, abs=1)
    assert (reports[1][1] - sent_picture.timestamp) % SECOND == pytest.approx(90_000 / 5, abs=1)


async def test_the_round_trip_is_measured(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.5)
    sender._last_report = (77, 1000.0)
    report = RtcpReceiverInfo(sender._ssrc, 0, 0, 0, 0, lsr=77, dlsr=65536 // 4)
    sender.rtcp_received(RtcpRrPacket(ssrc=1, reports=[report]))
    assert sender.round_trip_s == pytest.approx(0.25)


async def test_audio_keeps_its_gaps_its_order_and_its_level(wire: Wire) -> None:
    now_s = 100.0
    receiver = AudioReceiver(wire.as_transport(), Counts())
    sender = Sender("audio", wire.as_transport(), Counts())
    receiver.on_packet = AudioRelay(sender).pass_on
    await receiver.receive(receive_parameters(OPUS))
    parameters = send_parameters(OPUS)
    parameters.headerExtensions = [RTCRtpHeaderExtensionParameters(2, AUDIO_LEVEL_URI)]
    await sender.send(parameters)
    try:
        for sequence, ssrc in [(65534, 1), (65535, 1), (1, 1), (0, 1), (2, 1), (900, 2), (901, 2)]:
            now_s += 1.0
            one = IncomingPacket(
                payload_type=96,
                marker=False,
                sequence=sequence,
                timestamp=(sequence * 960) % SECOND,
                ssrc=ssrc,
                payload=b"o",
                extensions=Extensions(audio_level=(True, sequence % 100)),
            )
            receiver.rtp_received(one, now_s)
        sent = wire.rtp(parameters)
    finally:
        await receiver.stop()
        await sender.stop()
    first = sent[0].sequence_number
    assert [(p.sequence_number - first) % 65536 for p in sent] == [0, 1, 3, 2, 4, 5, 6]
    levels = [p.extensions.audio_level for p in sent]
    assert levels == [(True, sequence % 100) for sequence in (65534, 65535, 1, 0, 2, 900, 901)]
