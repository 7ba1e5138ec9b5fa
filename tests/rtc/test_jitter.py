"""Frames out of packets: order, loss, padding, restarts, and when to ask again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rtc.codecs import Codec
from service.rtc.jitter import (
    CAPACITY_PACKETS,
    GIVE_UP_AFTER_S,
    MAX_NACKS_AT_ONCE,
    MAX_NACKS_PER_PACKET,
    RENACK_INTERVAL_S,
    RESTART_DISTANCE_PACKETS,
    JitterBuffer,
    LossRepair,
    Released,
    SequenceUnwrapper,
    VideoPacket,
)

if TYPE_CHECKING:
    import random

KEY = b"\x00\x00\x00\x9d\x01\x2akey!"
DELTA = b"\x01delta"
FRAME_TICKS = 3000


def packet(
    sequence: int, frame: int, *, marker: bool = False, data: bytes = DELTA, arrived_s: float = 0.0
) -> VideoPacket:
    return VideoPacket(sequence % (1 << 16), frame * FRAME_TICKS, marker, data, arrived_s)


def stream(frames: int, packets_per_frame: int, *, start: int = 0) -> list[VideoPacket]:
    """A VP8 stream that opens with a keyframe."""
    out: list[VideoPacket] = []
    for frame in range(frames):
        for part in range(packets_per_frame):
            first = KEY if frame == 0 and part == 0 else DELTA
            marker = part == packets_per_frame - 1
            out.append(packet(start + len(out), frame, marker=marker, data=first))
    return out


def feed(buffer: JitterBuffer, packets: list[VideoPacket]) -> list[int]:
    """The frame numbers that came out."""
    return [f.timestamp // FRAME_TICKS for p in packets for f in buffer.add(p).frames]


def test_a_frame_is_handed_over_on_its_marker() -> None:
    buffer = JitterBuffer(Codec.VP8)
    first, second = stream(1, 2)
    assert buffer.add(first).frames == ()
    (frame,) = buffer.add(second).frames
    assert frame.data == KEY + DELTA
    assert frame.keyframe


def test_a_sender_without_markers_is_served_at_the_next_timestamp() -> None:
    buffer = JitterBuffer(Codec.VP8)
    assert buffer.add(packet(0, 0, data=KEY)).frames == ()
    assert [f.data for f in buffer.add(packet(1, 1)).frames] == [KEY]


def test_the_arrival_of_a_frame_is_that_of_its_last_packet() -> None:
    buffer = JitterBuffer(Codec.VP8)
    buffer.add(packet(0, 0, data=KEY, arrived_s=5.0))
    buffer.add(packet(2, 0, marker=True, arrived_s=6.0))
    (frame,) = buffer.add(packet(1, 0, arrived_s=7.0)).frames
    assert frame.arrived_s == 7.0


def test_a_repaired_loss_releases_every_frame_that_waited() -> None:
    """One frame a packet: handing over at most one frame per packet would stay late for good."""
    buffer = JitterBuffer(Codec.VP8)
    packets = stream(8, 1)
    late = packets.pop(2)
    assert feed(buffer, packets) == [0, 1]
    assert feed(buffer, [late]) == [2, 3, 4, 5, 6, 7]


def test_padding_between_frames_is_no_frame() -> None:
    """An empty frame would flush the H264 decoder for good."""
    buffer = JitterBuffer(Codec.VP8)
    packets = stream(1, 2)
    packets.append(packet(2, 0, data=b""))
    packets.append(packet(3, 1, marker=True))
    assert feed(buffer, packets) == [0, 1]


@given(st.integers(0, (1 << 16) - 1), st.randoms(use_true_random=False))
def test_reordering_within_the_capacity_changes_nothing(start: int, rng: random.Random) -> None:
    packets = stream(6, 3, start=start)
    head, tail = packets[:1], packets[1:]
    rng.shuffle(tail)
    assert feed(JitterBuffer(Codec.VP8), head + tail) == [0, 1, 2, 3, 4, 5]


def test_a_duplicate_is_not_a_second_frame() -> None:
    buffer = JitterBuffer(Codec.VP8)
    packets = stream(3, 1)
    assert feed(buffer, [*packets, *packets]) == [0, 1, 2]


def test_nothing_comes_out_before_the_first_keyframe() -> None:
    buffer = JitterBuffer(Codec.VP8)
    assert buffer.add(packet(0, 0, marker=True)) == Released((), True, 1)
    assert buffer.add(packet(1, 1, marker=True)) == Released((), True, 1)
    assert feed(buffer, [packet(2, 2, marker=True, data=KEY)]) == [2]


def test_giving_up_waits_for_a_keyframe() -> None:
    buffer = JitterBuffer(Codec.VP8)
    packets = stream(4, 1)
    del packets[1]
    assert feed(buffer, packets) == [0]
    assert buffer.missing() == [1]
    assert buffer.give_up() == Released((), reference_lost=True)
    assert buffer.packets_given_up == 1
    assert feed(buffer, [packet(4, 4, marker=True)]) == []
    assert feed(buffer, [packet(5, 5, marker=True, data=KEY)]) == [5]
    assert not buffer.awaiting_keyframe


def test_giving_up_keeps_a_keyframe_that_has_arrived() -> None:
    buffer = JitterBuffer(Codec.VP8)
    packets = stream(4, 1)
    packets[3] = packet(3, 3, marker=True, data=KEY)
    del packets[1]
    feed(buffer, packets)
    assert [f.timestamp for f in buffer.give_up().frames] == [3 * FRAME_TICKS]


def test_the_buffer_is_bounded() -> None:
    buffer = JitterBuffer(Codec.VP8)
    feed(buffer, [packet(0, 0, marker=True, data=KEY)])
    for n in range(2, 3 * CAPACITY_PACKETS):
        buffer.add(packet(n, n))
        assert len(buffer.missing()) <= CAPACITY_PACKETS
        assert len(buffer._packets) <= CAPACITY_PACKETS


def test_an_overflow_releases_the_keyframe_it_holds() -> None:
    buffer = JitterBuffer(Codec.VP8)
    feed(buffer, stream(1, 1))
    frames = []
    for n in range(2, CAPACITY_PACKETS + 10):
        released = buffer.add(packet(n, n, marker=True, data=KEY if n == 500 else DELTA))
        frames += [frame.timestamp // FRAME_TICKS for frame in released.frames]
    assert frames == list(range(500, CAPACITY_PACKETS + 10))


def test_the_tail_of_a_broken_frame_is_no_keyframe() -> None:
    """Any byte may begin it: with the key frame bit alone every second one would pass."""
    buffer = JitterBuffer(Codec.VP8)
    packets = stream(3, 3)
    packets[5] = packet(5, 1, marker=True, data=bytes(20))
    del packets[4]
    assert feed(buffer, packets) == [0]
    assert buffer.give_up() == Released((), reference_lost=True)


def test_a_far_jump_is_a_new_stream() -> None:
    buffer = JitterBuffer(Codec.VP8)
    feed(buffer, stream(3, 1))
    jump = RESTART_DISTANCE_PACKETS + 100
    assert feed(buffer, [packet(jump, 9, marker=True)]) == []
    assert feed(buffer, [packet(jump + 1, 10, marker=True, data=KEY)]) == [10]


@pytest.mark.parametrize(
    ("wire", "expected"),
    [([65534, 65535, 0, 1], [65534, 65535, 65536, 65537]), ([5, 3, 4], [5, 3, 4])],
)
def test_sequence_numbers_unwrap(wire: list[int], expected: list[int]) -> None:
    unwrapper = SequenceUnwrapper()
    assert [unwrapper.unwrap(n) for n in wire] == expected


def test_a_missing_packet_is_asked_for_at_once_and_again_by_the_clock() -> None:
    repair = LossRepair()
    assert repair.due([7], now_s=1.0) == [7]
    assert repair.due([7], now_s=1.0 + RENACK_INTERVAL_S / 2) == []
    assert repair.due([7], now_s=1.0 + RENACK_INTERVAL_S) == [7]
    assert repair.due([], now_s=1.2) == []
    assert not repair.waiting


def test_asking_ends_at_a_bound_and_hope_too() -> None:
    repair = LossRepair()
    asked = [repair.due([7], now_s=step * RENACK_INTERVAL_S) for step in range(50)]
    assert sum(map(len, asked)) == MAX_NACKS_PER_PACKET
    assert not LossRepair().hopeless(now_s=99.0)
    fresh = LossRepair()
    fresh.due([7], now_s=1.0)
    assert not fresh.hopeless(now_s=1.0 + GIVE_UP_AFTER_S * 0.9)
    assert fresh.hopeless(now_s=1.0 + GIVE_UP_AFTER_S)


def test_one_request_is_bounded_and_wraps() -> None:
    repair = LossRepair()
    lost = repair.due(list(range(65500, 65800)), now_s=0.0)
    assert len(lost) == MAX_NACKS_AT_ONCE
    assert max(lost) < 1 << 16
