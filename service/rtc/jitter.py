"""Video packets in any order -> complete frames in order, and what to ask of the sender.

Two pure pieces without I/O, driven by receiver.py with the time passed in:
`JitterBuffer` puts a frame together and hands it over as soon as its marker bit has arrived (the
usual way, waiting for the first packet of the next frame, costs one frame of latency), and
`LossRepair` decides when to ask again for a missing packet and when to stop hoping.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from service.rtc.codecs import Codec, is_keyframe

SEQUENCE_MODULUS = 1 << 16
CAPACITY_PACKETS = 1024
"""Packets held at most; a 1080p keyframe takes about 200."""
RESTART_DISTANCE_PACKETS = 3000
"""A jump further than this is another stream, not reordering (RFC 3550 A.1: MAX_DROPOUT)."""
RENACK_INTERVAL_S = 0.06
"""Pause before a packet is asked for again; above the round trip of most calls."""
GIVE_UP_AFTER_S = 0.35
"""How long a frame may wait for a missing packet; after that a keyframe is asked for."""
MAX_NACKS_PER_PACKET = 8
MAX_NACKS_AT_ONCE = 64
"""Sequence numbers in one feedback message at most; more missing than this is a lost cause."""


class VideoPacket(NamedTuple):
    """One depayloaded RTP packet. `sequence` and `timestamp` are as on the wire."""

    sequence: int
    timestamp: int
    marker: bool
    data: bytes
    arrived_s: float


class EncodedFrame(NamedTuple):
    """One complete frame as it goes into a decoder."""

    codec: Codec
    data: bytes
    timestamp: int
    "RTP timestamp as on the wire, 90 kHz."
    keyframe: bool
    arrived_s: float
    "When its last packet arrived, on the monotonic clock."


class Released(NamedTuple):
    """What came out of the buffer."""

    frames: tuple[EncodedFrame, ...] = ()
    reference_lost: bool = False
    "A frame was dropped or given up that later ones refer to: only a keyframe helps."
    undecodable: int = 0
    "Complete frames that were thrown away because their reference is gone."


NOTHING = Released()
"""What most packets release."""


class SequenceUnwrapper:
    """16-bit sequence numbers -> integers that never wrap (RFC 3550 A.1)."""

    def __init__(self) -> None:
        self._last: int | None = None

    def unwrap(self, sequence: int) -> int:
        if self._last is None:
            self._last = sequence
            return sequence
        delta = (sequence - self._last) % SEQUENCE_MODULUS
        if delta >= SEQUENCE_MODULUS // 2:
            delta -= SEQUENCE_MODULUS
        unwrapped = self._last + delta
        self._last = max(self._last, unwrapped)
        return unwrapped

    def reset(self) -> None:
        self._last = None


class JitterBuffer:
    """Holds packets until their frames are complete.

    Until a keyframe has come, and after a gap was given up, other frames are useless to the
    decoder and are dropped here, whole.
    """

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self._unwrapper = SequenceUnwrapper()
        self._packets: dict[int, VideoPacket] = {}
        self._next: int | None = None
        self._seen_to = 0
        "From `_next` up to here the packets belong to one frame and none is missing."
        self._highest: int | None = None
        self.awaiting_keyframe = True
        self.packets_given_up = 0

    @property
    def next_sequence(self) -> int | None:
        return self._next

    def add(self, packet: VideoPacket) -> Released:
        """Store a packet; every frame that is complete now, oldest first."""
        sequence = self._unwrapper.unwrap(packet.sequence)
        if self._highest is not None and abs(sequence - self._highest) > RESTART_DISTANCE_PACKETS:
            self._restart()
            sequence = self._unwrapper.unwrap(packet.sequence)
        if self._next is None:
            self._next = sequence
        if sequence < self._next or sequence in self._packets:
            return NOTHING  # a copy of what is held, was released or given up
        self._packets[sequence] = packet
        self._highest = sequence if self._highest is None else max(self._highest, sequence)
        if self._highest - self._next >= CAPACITY_PACKETS:
            return self.give_up()
        return self._release()

    @property
    def has_gap(self) -> bool:
        """Whether a packet is missing before the newest one that is held."""
        if not self._packets:
            return False
        assert self._next is not None
        assert self._highest is not None
        return len(self._packets) <= self._highest - self._next

    def missing(self) -> list[int]:
        """Unwrapped numbers of the packets between the oldest wanted and the newest seen."""
        if self._next is None or self._highest is None or not self.has_gap:
            return []
        return [n for n in range(self._next, self._highest) if n not in self._packets]

    def give_up(self) -> Released:
        """Forget the frames that wait for missing packets; the next one must be a keyframe."""
        if self._next is None or self._highest is None:
            return Released()
        self.packets_given_up += len(self.missing())
        self.awaiting_keyframe = True
        start = self._keyframe_start()
        if start is None:
            # Keep the tail: its frame may be the keyframe's first part still arriving.
            start = self._highest + 1
        for sequence in [n for n in self._packets if n < start]:
            del self._packets[sequence]
        self._next = start
        released = self._release()
        return Released(released.frames, self.awaiting_keyframe, released.undecodable)

    def _keyframe_start(self) -> int | None:
        """Where the first buffered frame starts that a decoder could start from."""
        previous: VideoPacket | None = None
        for sequence in sorted(self._packets):
            packet = self._packets[sequence]
            starts = sequence - 1 not in self._packets or (
                previous is not None and previous.timestamp != packet.timestamp
            )
            if starts and is_keyframe(self.codec, packet.data):
                return sequence
            previous = packet
        return None

    def _release(self) -> Released:
        end = self._frame_end()
        if end is None:
            return NOTHING
        frames: list[EncodedFrame] = []
        undecodable = 0
        while end is not None:
            frame = self._take(end)
            end = self._frame_end()
            if frame is None:
                continue  # padding after the marker: an empty frame would flush the decoder
            if self.awaiting_keyframe and not frame.keyframe:
                undecodable += 1
                continue
            self.awaiting_keyframe = False
            frames.append(frame)
        return Released(tuple(frames), undecodable > 0 and self.awaiting_keyframe, undecodable)

    def _take(self, end: int) -> EncodedFrame | None:
        """The frame of the packets up to `end`, which are held no longer; None if it is empty."""
        assert self._next is not None
        packets = [self._packets.pop(n) for n in range(self._next, end)]
        self._next = end
        data = b"".join([packet.data for packet in packets])
        if not data:
            return None
        keyframe = is_keyframe(self.codec, data)
        arrived_s = max([packet.arrived_s for packet in packets])
        return EncodedFrame(self.codec, data, packets[0].timestamp, keyframe, arrived_s)

    def _frame_end(self) -> int | None:
        """One past the last packet of the oldest frame, or None while it is incomplete."""
        if self._next is None or (first := self._packets.get(self._next)) is None:
            return None
        if not first.data:
            return self._next + 1  # padding between two frames
        # A keyframe of 200 packets is not walked through again with each of them.
        sequence = max(self._next, self._seen_to)
        while (packet := self._packets.get(sequence)) is not None:
            if packet.timestamp != first.timestamp:
                return sequence  # a sender that sets no marker
            sequence += 1
            if packet.marker:
                return sequence
        self._seen_to = sequence
        return None

    def _restart(self) -> None:
        self._packets.clear()
        self._unwrapper.reset()
        self._next = self._highest = None
        self._seen_to = 0
        self.awaiting_keyframe = True


@dataclass(slots=True)
class _Wanted:
    since_s: float
    asked_s: float
    asked: int


class LossRepair:
    """When to send a NACK for which packets, and when to give up and want a keyframe.

    A retransmission can be lost as well: each missing packet is asked for again every
    RENACK_INTERVAL_S until it has come or its frame is too late.
    """

    def __init__(self) -> None:
        self._wanted: dict[int, _Wanted] = {}

    @property
    def waiting(self) -> bool:
        return bool(self._wanted)

    def due(self, missing: list[int], *, now_s: float) -> list[int]:
        """The numbers (16 bit) to put into a NACK now."""
        still = set(missing)
        for sequence in [n for n in self._wanted if n not in still]:
            del self._wanted[sequence]
        ask: list[int] = []
        for sequence in missing[:MAX_NACKS_AT_ONCE]:
            wanted = self._wanted.setdefault(sequence, _Wanted(now_s, float("-inf"), 0))
            if wanted.asked >= MAX_NACKS_PER_PACKET:
                continue
            if now_s - wanted.asked_s >= RENACK_INTERVAL_S:
                wanted.asked_s = now_s
                wanted.asked += 1
                ask.append(sequence % SEQUENCE_MODULUS)
        return ask

    def hopeless(self, *, now_s: float) -> bool:
        """Whether the oldest missing packet has been waited for long enough."""
        return any(now_s - wanted.since_s >= GIVE_UP_AFTER_S for wanted in self._wanted.values())

    def forget(self) -> None:
        self._wanted.clear()
