"""This service's reading and writing of RTP packets, held against aiortc's."""

from __future__ import annotations

import struct

import pytest
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpReceiveParameters
from aiortc.rtp import (
    HeaderExtensions,
    HeaderExtensionsMap,
    RtpPacket,
    pack_header_extensions,
    unwrap_rtx,
    wrap_rtx,
)
from hypothesis import given
from hypothesis import strategies as st

from service.rtc.packet import (
    ABS_SEND_TIME_URI,
    AUDIO_LEVEL_URI,
    MID_URI,
    ExtensionIds,
    IncomingPacket,
    extension_block,
    parse,
    write,
)

Answer = tuple[object, ...]
REFUSED: Answer = ("refused",)

bits16 = st.integers(0, (1 << 16) - 1)
bits32 = st.integers(0, (1 << 32) - 1)
ids = st.tuples(*[st.integers(1, 15) | st.integers(16, 255)] * 3)
extension_values = st.lists(
    st.tuples(st.integers(1, 255), st.binary(max_size=20)), max_size=5
) | st.lists(st.tuples(st.integers(1, 4), st.binary(min_size=1, max_size=3)), max_size=4)


def negotiated(numbers: tuple[int, ...]) -> list[RTCRtpHeaderExtensionParameters]:
    uris = (MID_URI, ABS_SEND_TIME_URI, AUDIO_LEVEL_URI)
    return [
        RTCRtpHeaderExtensionParameters(id=number, uri=uri)
        for number, uri in zip(numbers, uris, strict=True)
    ]


def theirs(data: bytes, numbers: tuple[int, ...]) -> Answer:
    known = HeaderExtensionsMap()
    known.configure(RTCRtpReceiveParameters(headerExtensions=negotiated(numbers)))
    try:
        packet = RtpPacket.parse(data, known)
    except (ValueError, struct.error):
        return REFUSED
    values = packet.extensions
    return (
        packet.payload_type,
        bool(packet.marker),
        packet.sequence_number,
        packet.timestamp,
        packet.ssrc,
        packet.payload,
        packet.padding_size,
        (values.mid, values.abs_send_time, values.audio_level),
    )


def ours(data: bytes, numbers: tuple[int, ...]) -> Answer:
    known = ExtensionIds()
    known.configure(negotiated(numbers))
    try:
        return tuple(parse(data, known))
    except ValueError:
        return REFUSED


@st.composite
def datagrams(draw: st.DrawFn) -> bytes:
    """Packets that are nearly right: fields that disagree about their lengths by a little."""
    contributing = draw(st.integers(0, 15))
    extension, padding = draw(st.booleans()), draw(st.booleans())
    version = draw(st.sampled_from([2, 2, 2, 2, 0, 1, 3]))
    first = version << 6 | padding << 5 | extension << 4 | contributing
    data = struct.pack(
        "!BBHII", first, draw(st.integers(0, 255)), draw(bits16), draw(bits32), draw(bits32)
    )
    data += draw(st.binary(min_size=4 * contributing, max_size=4 * contributing))
    if extension:
        profile, values = pack_header_extensions(draw(extension_values))
        profile = draw(st.sampled_from([profile, 0xBEDE, 0x1000, 0x1234]))
        words = max(0, len(values) // 4 + draw(st.sampled_from([0, 0, 0, -1, 1])))
        data += struct.pack("!HH", profile, words) + values
    data += draw(st.binary(max_size=40))
    if padding:
        data += bytes([draw(st.integers(0, 12))])
    cut = draw(st.sampled_from([0, 0, 0, 1, 5, 20]))
    return data[: len(data) - cut]


@given(datagrams() | st.binary(max_size=80), ids)
def test_what_aiortc_reads_is_read_the_same_and_what_it_refuses_is_refused(
    data: bytes, numbers: tuple[int, ...]
) -> None:
    assert ours(data, numbers) == theirs(data, numbers)


@given(
    mid=st.none() | st.text(max_size=30),
    abs_send_time=st.none() | st.integers(0, (1 << 24) - 1),
    level=st.none() | st.tuples(st.booleans(), st.integers(0, 127)),
    numbers=ids.filter(lambda n: len(set(n)) == 3),
    sequence=bits16,
    timestamp=bits32,
    ssrc=bits32,
    marker=st.booleans(),
    payload_type=st.integers(0, 127),
    payload=st.binary(max_size=60),
)
def test_what_is_written_is_what_aiortc_writes(
    mid: str | None,
    abs_send_time: int | None,
    level: tuple[bool, int] | None,
    numbers: tuple[int, ...],
    sequence: int,
    timestamp: int,
    ssrc: int,
    marker: bool,
    payload_type: int,
    payload: bytes,
) -> None:
    known = HeaderExtensionsMap()
    known.configure(RTCRtpReceiveParameters(headerExtensions=negotiated(numbers)))
    packet = RtpPacket(payload_type, int(marker), sequence, timestamp, ssrc, payload)
    packet.extensions = HeaderExtensions(abs_send_time, level, mid)
    written = write(
        payload,
        payload_type=payload_type,
        marker=marker,
        sequence=sequence,
        timestamp=timestamp,
        ssrc=ssrc,
        extensions=extension_block(*known.set(packet.extensions)),
    )
    assert written == packet.serialize(known)
    assert ours(written, numbers) == (
        *(payload_type, marker, sequence, timestamp, ssrc, payload, 0),
        (mid, abs_send_time, level),
    )


@given(sequence=bits16, payload=st.binary(max_size=40))
def test_a_retransmission_holds_the_packet_it_repeats(sequence: int, payload: bytes) -> None:
    packet = RtpPacket(97, 1, sequence, 3000, 1000, payload)
    rtx = parse(wrap_rtx(packet, 98, 7, 2000).serialize(), ExtensionIds())
    assert rtx.unwrapped(97, 1000) == IncomingPacket(97, True, sequence, 3000, 1000, payload)
    theirs_again = unwrap_rtx(wrap_rtx(packet, 98, 7, 2000), 97, 1000)
    assert theirs_again.payload == payload


@pytest.mark.parametrize("profile", [0xBEDE, 0x1000])
def test_a_short_abs_send_time_is_refused(profile: int) -> None:
    """aiortc raises struct.error here, which ended its transport."""
    head = bytes([3 << 4 | 1]) if profile == 0xBEDE else bytes([3, 2])
    values = (head + b"\x00\x01").ljust(4, b"\x00")
    data = struct.pack("!BBHII", 0x90, 97, 1, 2, 3) + struct.pack("!HH", profile, 1) + values
    assert ours(data, (1, 3, 2)) == theirs(data, (1, 3, 2)) == REFUSED
