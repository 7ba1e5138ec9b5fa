"""One RTP packet as bytes: what this service reads of it and writes into it. Pure.

transport.py parses what SRTP has let through; sender.py writes. aiortc's `RtpPacket` reads every
extension into objects at five times the cost, which is most of a packet's; this one reads what is
used, and accepts and refuses the same packets (tests/rtc/test_packet.py holds the two together).
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters

HEADER = Struct("!BBHII")
EXTENSION_HEADER = Struct("!HH")
VERSION_BITS = 2 << 6
PADDING_BIT = 0x20
EXTENSION_BIT = 0x10
MARKER_BIT = 0x80
ONE_BYTE_EXTENSIONS = 0xBEDE
TWO_BYTE_EXTENSIONS = 0x1000
MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
ABS_SEND_TIME_URI = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
AUDIO_LEVEL_URI = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
RTX_HEADER_BYTES = 2


class Extensions(NamedTuple):
    """The values of the header extensions that are read (RFC 8285); None where one is absent."""

    mid: str | None = None
    abs_send_time: int | None = None
    "Seconds as a 6.18 fixed point number, 24 bits."
    audio_level: tuple[bool, int] | None = None
    "Voice activity, and -dBov (RFC 6464)."


NO_EXTENSIONS = Extensions()


class IncomingPacket(NamedTuple):
    """A parsed packet; numbers are as on the wire."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    padding_bytes: int = 0
    extensions: Extensions = NO_EXTENSIONS

    def unwrapped(self, payload_type: int, ssrc: int) -> IncomingPacket:
        """The packet inside this retransmission (RFC 4588 4); it has RTX_HEADER_BYTES at least."""
        return self._replace(
            payload_type=payload_type,
            ssrc=ssrc,
            sequence=self.payload[0] << 8 | self.payload[1],
            payload=self.payload[RTX_HEADER_BYTES:],
        )


class ExtensionIds:
    """Which number stands for which header extension on one transport."""

    def __init__(self) -> None:
        self._mid = self._abs_send_time = self._audio_level = -1

    def configure(self, negotiated: Iterable[RTCRtpHeaderExtensionParameters]) -> None:
        for extension in negotiated:
            if extension.uri == MID_URI:
                self._mid = extension.id
            elif extension.uri == ABS_SEND_TIME_URI:
                self._abs_send_time = extension.id
            elif extension.uri == AUDIO_LEVEL_URI:
                self._audio_level = extension.id

    def read(self, data: bytes, start: int, end: int, *, two_byte: bool) -> Extensions:
        """The values in data[start:end]; ValueError when one is truncated or malformed."""
        mid, abs_send_time, audio_level = NO_EXTENSIONS
        at = start
        while at < end:
            head = data[at]
            at += 1
            if head == 0:
                continue  # padding
            if two_byte:
                if at >= end:
                    raise ValueError("truncated header extension")
                number, size = head, data[at]
                at += 1
            else:
                number, size = head >> 4, (head & 0x0F) + 1
            after = at + size
            if after > end:
                raise ValueError("truncated header extension")
            if number == self._mid:
                mid = str(data[at:after], "utf8")
            elif number == self._abs_send_time:
                if size != 3:
                    raise ValueError("abs-send-time has three bytes")
                abs_send_time = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            elif number == self._audio_level:
                if size != 1:
                    raise ValueError("an audio level has one byte")
                audio_level = (data[at] >= 0x80, data[at] & 0x7F)
            at = after
        return Extensions(mid, abs_send_time, audio_level)


def parse(data: bytes, ids: ExtensionIds) -> IncomingPacket:
    """RFC 3550 5.1; ValueError for what is no RTP packet."""
    size = len(data)
    if size < HEADER.size:
        raise ValueError("shorter than an RTP header")
    first, second, sequence, timestamp, ssrc = HEADER.unpack_from(data)
    if first >> 6 != 2:
        raise ValueError("not RTP version 2")
    start = HEADER.size + 4 * (first & 0x0F)
    extensions = NO_EXTENSIONS
    if first & EXTENSION_BIT:
        values = start + EXTENSION_HEADER.size
        if size < values:
            raise ValueError("truncated extension header")
        profile, words = EXTENSION_HEADER.unpack_from(data, start)
        start = values + 4 * words
        if size < start:
            raise ValueError("truncated header extensions")
        if profile in (ONE_BYTE_EXTENSIONS, TWO_BYTE_EXTENSIONS):
            two_byte = profile == TWO_BYTE_EXTENSIONS
            extensions = ids.read(data, values, start, two_byte=two_byte)
    elif size < start:
        raise ValueError("truncated contributing sources")
    padding = 0
    if first & PADDING_BIT:
        padding = data[-1]
        if not 0 < padding <= size - start:
            raise ValueError("impossible padding")
    return IncomingPacket(
        second & 0x7F,
        second >= MARKER_BIT,
        sequence,
        timestamp,
        ssrc,
        data[start : size - padding],
        padding,
        extensions,
    )


def write(
    payload: bytes,
    *,
    payload_type: int,
    marker: bool,
    sequence: int,
    timestamp: int,
    ssrc: int,
    extensions: bytes,
) -> bytes:
    """A packet; `extensions` is what `extension_block` made, or nothing."""
    header = HEADER.pack(
        VERSION_BITS | EXTENSION_BIT if extensions else VERSION_BITS,
        MARKER_BIT | payload_type if marker else payload_type,
        sequence,
        timestamp,
        ssrc,
    )
    return header + extensions + payload


def extension_block(profile: int, values: bytes) -> bytes:
    """A header's extensions with their own header; `values` fill whole words (RFC 3550 5.3.1)."""
    return EXTENSION_HEADER.pack(profile, len(values) // 4) + values if values else b""
