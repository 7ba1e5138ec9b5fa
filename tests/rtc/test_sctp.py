"""What a hostile peer may cost by SCTP: packets that stop aiortc's parser or fill its tables."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from aiortc.rtcsctptransport import (
    DataChunk,
    ForwardTsnChunk,
    InitChunk,
    ReconfigChunk,
    SackChunk,
    serialize_packet,
)

from service.rtc.sctp import (
    MAX_FRAGMENTS,
    MAX_GAPS,
    MAX_STREAMS,
    PACKETS_AT_ONCE,
    Budget,
    SctpTransport,
)

if TYPE_CHECKING:
    from aiortc.rtcdtlstransport import RTCDtlsTransport
    from aiortc.rtcsctptransport import Chunk

FIRST_TSN = 1000


class Wire:
    """A DTLS transport that keeps what is sent over it."""

    state = "connected"
    _role = "server"

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def _register_data_receiver(self, _: object) -> None: ...
    def _unregister_data_receiver(self, _: object) -> None: ...

    async def _send_data(self, data: bytes) -> None:
        self.sent.append(data)


@pytest.fixture
async def sctp() -> SctpTransport:
    """An association that is established, and gets `chunk`s by hand."""
    wire: RTCDtlsTransport = Wire()  # type: ignore[assignment]
    made = SctpTransport(wire)
    made._remote_port = 5000
    made._last_received_tsn = FIRST_TSN - 1
    made._ssthresh = 1 << 20
    made._set_state(made.State.ESTABLISHED)
    # Packets are counted in test_packets_over_the_rate alone.
    made._packets = Budget(1e9, 1e9)
    return made


async def give(sctp: SctpTransport, chunk: Chunk, *, tag: int | None = None) -> None:
    verification = sctp._local_verification_tag if tag is None else tag
    await sctp._handle_data(serialize_packet(5000, 5000, verification, chunk))


def data(tsn: int, *, stream: int = 0, flags: int = 0, body: bytes = b"x") -> DataChunk:
    chunk = DataChunk(flags=flags)
    chunk.tsn, chunk.stream_id, chunk.stream_seq, chunk.protocol = tsn, stream, 0, 51
    chunk.user_data = body
    return chunk


@pytest.mark.timeout(10)
async def test_a_parameter_without_a_length_is_not_read_for_ever(sctp: SctpTransport) -> None:
    chunk = ReconfigChunk()
    packet = bytearray(serialize_packet(5000, 5000, sctp._local_verification_tag, chunk))
    packet[14:16] = struct.pack("!H", 8)
    packet += bytes(4)  # type 0, length 0
    await sctp._handle_data(bytes(packet))
    assert sctp.state == "closed"


async def test_gap_blocks_of_what_was_never_sent_are_not_counted_through(
    sctp: SctpTransport,
) -> None:
    sack = SackChunk()
    sack.cumulative_tsn, sack.advertised_rwnd = sctp._last_sacked_tsn, 1 << 16
    sack.gaps = [(1, 65_535)] * 200
    await give(sctp, sack)
    assert sctp.state == "closed"


async def test_a_message_that_never_ends_ends_the_association(sctp: SctpTransport) -> None:
    for number in range(2 * MAX_FRAGMENTS + 1):
        await give(sctp, data(FIRST_TSN + number, flags=2 if number == 0 else 0))
        assert len(sctp._inbound_streams[0].reassembly) <= 2 * MAX_FRAGMENTS
    assert sctp.state == "closed"


async def test_chunks_behind_a_gap_are_kept_up_to_a_bound(sctp: SctpTransport) -> None:
    for number in range(4 * MAX_GAPS):
        await give(sctp, data(FIRST_TSN + 1 + number, stream=number % 8, flags=3))
    assert len(sctp._sack_misordered) <= MAX_GAPS
    # The lost one comes, and what was kept moves on.
    await give(sctp, data(FIRST_TSN, flags=3))
    assert sctp.state == "connected"
    assert not sctp._sack_misordered


async def test_streams_are_counted(sctp: SctpTransport) -> None:
    skip = ForwardTsnChunk()
    skip.cumulative_tsn = FIRST_TSN
    skip.streams = [(number, 1) for number in range(MAX_STREAMS + 1)]
    await give(sctp, skip)
    assert sctp.state == "closed"
    assert len(sctp._inbound_streams) == MAX_STREAMS


async def test_packets_over_the_rate_are_dropped(sctp: SctpTransport) -> None:
    sctp._packets = Budget(0.001, PACKETS_AT_ONCE)
    for number in range(int(PACKETS_AT_ONCE) + 50):
        await give(sctp, data(FIRST_TSN + number, flags=3))
    assert sctp.packets_dropped == 50
    assert sctp._last_received_tsn == FIRST_TSN + int(PACKETS_AT_ONCE) - 1


async def test_a_second_beginning_changes_nothing(sctp: SctpTransport) -> None:
    begin = InitChunk()
    begin.initial_tsn, begin.advertised_rwnd = 7, 1
    await give(sctp, begin, tag=0)
    assert sctp._last_received_tsn == FIRST_TSN - 1


def test_a_budget_fills_again_with_time() -> None:
    budget = Budget(2.0, 3.0)
    assert [budget.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert [budget.take(10.5), budget.take(10.5)] == [True, False]
    assert [budget.take(99.0) for _ in range(4)] == [True, True, True, False]
