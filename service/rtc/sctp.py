"""The SCTP association under the data channel: aiortc's, with limits on what a peer may cost.

aiortc keeps whatever a peer sends: fragments of messages that never end, streams, gaps, channels;
it looks through all of them at every chunk, on the event loop; a parameter of length 0 and a SACK
of wide gaps hold that loop for ever or for seconds; and an assertion that a peer can reach ends the
DTLS task, and the peer's media with it. Here a packet over the rate is dropped, as a
network drops it; a chunk that finds no room is left for the peer to send again (RFC 9260 6.2); and
who breaks the rules loses the association alone. channel.py is the user of it.
"""

from __future__ import annotations

import logging
import struct
import time
from typing import TYPE_CHECKING, Final

from aiortc.rtcsctptransport import (
    Chunk,
    DataChunk,
    InboundStream,
    InitChunk,
    RTCSctpCapabilities,
    RTCSctpTransport,
    SackChunk,
    padl,
    tsn_plus_one,
)

if TYPE_CHECKING:
    from aiortc import RTCDataChannel
    from aiortc.rtcdtlstransport import RTCDtlsTransport

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES: Final = 16 * 1024
"""Announced in the answer (RFC 8841 6): a browser refuses to send more."""
RECEIVE_WINDOW_BYTES: Final = 64 * 1024
MAX_STREAMS: Final = 16
"""Inbound streams that have carried anything; a channel is one."""
MAX_FRAGMENTS: Final = 128
"""Chunks that wait in one stream; the largest message has 14 of a usual size."""
MAX_GAPS: Final = 256
"""Chunks that came before an earlier one."""
MAX_SACKED: Final = 1024
"""Chunks that the gap blocks of one SACK may name; far fewer are ever on their way."""
HEADER_BYTES: Final = 12
CHUNK_HEADER_BYTES: Final = 4
PARAMETERS_AT: Final = {1: 16, 2: 16, 4: 0, 5: 0, 6: 0, 9: 0, 130: 0}
"""Types of chunks with parameters, and where in the chunk's body those begin."""
MAX_CHANNELS: Final = 16
"""Channels that a peer may open, one after another or at once, in its life."""
PACKETS_PER_S: Final = 400.0
PACKETS_AT_ONCE: Final = 400.0


class Violation(Exception):
    """The peer sent what no peer that keeps to the rules sends."""


class Budget:
    """So many in a second, and so many at once (a token bucket)."""

    def __init__(self, per_s: float, at_once: float) -> None:
        self._per_s = per_s
        self._most = self._left = at_once
        self._seen_s = float("-inf")

    def take(self, now_s: float) -> bool:
        """Whether there is room for one more, which is then taken. ``now_s``: a steady clock."""
        self._left = min(self._most, self._left + (now_s - self._seen_s) * self._per_s)
        self._seen_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


def require_parameters(packet: bytes) -> None:
    """Raises Violation for a parameter that says it has no length: aiortc's parser would stand
    still at it. Whatever else is wrong with a packet, that parser tells."""
    at = HEADER_BYTES
    while at + CHUNK_HEADER_BYTES <= len(packet):
        kind, _, length = struct.unpack_from("!BBH", packet, at)
        end = at + length
        if length < CHUNK_HEADER_BYTES or end > len(packet):
            return
        if (offset := PARAMETERS_AT.get(kind)) is not None:
            inner = at + CHUNK_HEADER_BYTES + offset
            while inner + 4 <= end:
                (inner_length,) = struct.unpack_from("!H", packet, inner + 2)
                if inner_length < 4:  # its own header (RFC 9260 3.2.1)
                    raise Violation("a parameter without a length")
                inner += inner_length + padl(inner_length)
        at = end + padl(length)


class SctpTransport(RTCSctpTransport):
    """One peer's association."""

    def __init__(self, transport: RTCDtlsTransport) -> None:
        super().__init__(transport)
        self._advertised_rwnd = RECEIVE_WINDOW_BYTES
        self._packets = Budget(PACKETS_PER_S, PACKETS_AT_ONCE)
        self._channels_opened = 0
        self._broken = False
        self.packets_dropped = 0
        self.on("datachannel", self._count_channel)

    @classmethod
    def getCapabilities(cls) -> RTCSctpCapabilities:
        """What the answer says of this side."""
        return RTCSctpCapabilities(maxMessageSize=MAX_MESSAGE_BYTES)

    # aiortc's own methods, with a bound each.

    async def _handle_data(self, data: bytes) -> None:
        if self._broken:
            return
        if not self._packets.take(time.monotonic()):
            self.packets_dropped += 1
            return
        try:
            require_parameters(data)
            await super()._handle_data(data)
        except ConnectionError:
            return  # the transport below is going: the peer's own watch ends it
        except Exception as fault:
            # Whatever it was, the peer's packet led to it. Its text may quote the packet.
            logger.warning("a data channel is closed: %s", type(fault).__name__)
            self._broken = True
            await self.stop()

    async def _receive_chunk(self, chunk: Chunk) -> None:
        if isinstance(chunk, InitChunk) and self._association_state is self.State.ESTABLISHED:
            # Late, from when both began it. aiortc would take its numbers and keep its own chunks;
            # a restart (RFC 9260 5.2.2) is not needed: a peer begins anew with an offer.
            return
        if isinstance(chunk, SackChunk):
            _require_few(chunk.gaps)
        await super()._receive_chunk(chunk)

    async def _receive_data_chunk(self, chunk: DataChunk) -> None:
        if self._last_received_tsn is None:
            raise Violation("data before the association")
        stream = self._get_inbound_stream(chunk.stream_id)
        # The next one in order moves something on: it is taken beyond the bound, up to another.
        is_next = chunk.tsn == tsn_plus_one(self._last_received_tsn)
        full = len(stream.reassembly) >= MAX_FRAGMENTS or self._advertised_rwnd < 0
        if (
            len(stream.reassembly) >= 2 * MAX_FRAGMENTS
            or self._advertised_rwnd < -RECEIVE_WINDOW_BYTES
        ):
            raise Violation("a message never ends")
        if not is_next and (full or len(self._sack_misordered) >= MAX_GAPS):
            self._sack_needed = True
            return
        await super()._receive_data_chunk(chunk)

    def _get_inbound_stream(self, stream_id: int) -> InboundStream:
        if stream_id not in self._inbound_streams and len(self._inbound_streams) >= MAX_STREAMS:
            raise Violation("too many streams")
        return super()._get_inbound_stream(stream_id)

    async def _send_chunk(self, chunk: Chunk) -> None:
        # Timers and flushes run as tasks of their own: with nothing below them they are done.
        try:
            await super()._send_chunk(chunk)
        except ConnectionError:
            return

    def _count_channel(self, _: RTCDataChannel) -> None:
        self._channels_opened += 1
        if self._channels_opened > MAX_CHANNELS:
            raise Violation("too many channels")


def _require_few(gaps: list[tuple[int, int]]) -> None:
    """Raises Violation for gap blocks (RFC 9260 3.3.4) that nobody's losses make."""
    if any(start > end for start, end in gaps):
        raise Violation("a gap block that ends before it starts")
    if sum(end - start + 1 for start, end in gaps) > MAX_SACKED:
        raise Violation("gap blocks of more than was ever sent")
