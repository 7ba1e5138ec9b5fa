"""Audio goes back, or on to a viewer, as it came: packet by packet, without decoding.

Lips stay in sync because both kinds tell in their sender reports when a packet came in (sender.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiortc import clock

from service.rtc.sender import SEQUENCE_MODULUS, TIMESTAMP_MODULUS

if TYPE_CHECKING:
    from aiortc.rtcrtpparameters import RTCRtpCodecParameters

    from service.rtc.packet import IncomingPacket
    from service.rtc.sender import Sender

RESTART_STEP_PACKETS = 3000
"""A longer jump is another stream; SRTP would lose count of its rollovers (RFC 3711 3.3.1)."""


class AudioRelay:
    """Passes the packets of one audio stream to one sender; the stream may start anew."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._mime_type: str | None = None
        self._ssrc: int | None = None
        self._last_sequence = 0
        self._last_timestamp = 0
        self._timestamp = 0
        sender.on_codec = self._negotiated

    def _negotiated(self, codec: RTCRtpCodecParameters) -> None:
        self._mime_type = codec.mimeType

    def pass_on(self, packet: IncomingPacket, mime_type: str) -> None:
        """One packet, and its codec's MIME type."""
        if mime_type != self._mime_type:
            return  # not negotiated yet, or another codec than the one that goes out
        step = (packet.sequence - self._last_sequence) % SEQUENCE_MODULUS
        if step >= SEQUENCE_MODULUS // 2:
            step -= SEQUENCE_MODULUS  # reordered on the way: it keeps its place
        passed = (packet.timestamp - self._last_timestamp) % TIMESTAMP_MODULUS
        if packet.ssrc != self._ssrc or abs(step) > RESTART_STEP_PACKETS:
            step, passed = 1, 0
            self._ssrc = packet.ssrc
        self._last_sequence, self._last_timestamp = packet.sequence, packet.timestamp
        self._timestamp = (self._timestamp + passed) % TIMESTAMP_MODULUS
        self._sender.pass_on(
            packet, timestamp=self._timestamp, sequence_step=step, ntp=clock.current_ntp_time()
        )
