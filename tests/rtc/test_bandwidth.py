"""That an estimate fed by bursts says what one fed by packets says."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from aiortc.rate import OveruseEstimator, RateCounter, RemoteBitrateEstimator
from hypothesis import given
from hypothesis import strategies as st

from service.rtc.bandwidth import REMB_INTERVAL_MS, Bandwidth, BurstEstimator, IncomingRate
from service.rtc.packet import Extensions, IncomingPacket

PACKET_BYTES = 1000


@dataclass
class Path:
    """A bottleneck of so many bits per second in front of the receiver, with a queue."""

    bits_per_s: float
    free_at_s: float = 0.0

    def arrival_s(self, sent_s: float, size_bytes: int) -> float:
        self.free_at_s = max(self.free_at_s, sent_s) + 8 * size_bytes / self.bits_per_s
        return self.free_at_s


@dataclass
class Both:
    """The estimate by bursts beside that by packets."""

    bandwidth: Bandwidth = field(default_factory=Bandwidth)
    by_packets: RemoteBitrateEstimator = field(default_factory=RemoteBitrateEstimator)
    told: list[tuple[float, int]] = field(default_factory=list)
    last_by_packets: int = 0

    def send(
        self, *, seconds: float, path: Path, packets: int, pacing_s: float, from_s: float
    ) -> None:
        """30 pictures a second of so many packets, `pacing_s` apart."""
        draw = random.Random(7)
        for picture in range(int(seconds * 30)):
            for index in range(packets):
                sent_s = from_s + picture / 30 + index * pacing_s
                arrived_s = path.arrival_s(sent_s, PACKET_BYTES) + draw.random() * 0.001
                self.arrive(sent_s, arrived_s, last=index == packets - 1)

    def arrive(self, sent_s: float, arrived_s: float, *, last: bool) -> None:
        sent = int(sent_s * (1 << 18)) % (1 << 24)
        packet = IncomingPacket(
            97, last, 0, 0, 1, bytes(PACKET_BYTES), extensions=Extensions(abs_send_time=sent)
        )
        if (remb := self.bandwidth.add(packet, arrived_s)) is not None:
            self.told.append((arrived_s, remb[0]))
        known = self.by_packets.add(
            arrival_time_ms=int(arrived_s * 1000),
            abs_send_time=sent,
            payload_size=PACKET_BYTES,
            ssrc=1,
        )
        if known is not None:
            self.last_by_packets = known[0]


@pytest.mark.parametrize("packets", [1, 4, 12])
@pytest.mark.parametrize("pacing_s", [0.0, 0.002])
def test_a_free_path_is_estimated_as_by_packets(packets: int, pacing_s: float) -> None:
    both = Both()
    both.send(seconds=20, path=Path(50e6), packets=packets, pacing_s=pacing_s, from_s=100.0)
    sent_bps = packets * PACKET_BYTES * 8 * 30
    assert both.told[-1][1] == pytest.approx(both.last_by_packets, rel=0.1)
    assert both.told[-1][1] > 1.2 * sent_bps


@pytest.mark.parametrize("pacing_s", [0.0, 0.002])
def test_a_path_that_narrows_is_seen(pacing_s: float) -> None:
    both = Both()
    path = Path(50e6)
    both.send(seconds=10, path=path, packets=8, pacing_s=pacing_s, from_s=100.0)
    free_bps = both.told[-1][1]
    path.bits_per_s = 1.2e6  # of the 1.92 Mbit/s that are sent
    both.send(seconds=3, path=path, packets=8, pacing_s=pacing_s, from_s=110.0)
    assert both.told[-1][1] < 1.2e6 < free_bps
    assert both.told[-1][1] == pytest.approx(both.last_by_packets, rel=0.15)
    noticed_s = next(at for at, bps in both.told if at > 110.0 and bps < 1.2e6) - 110.0
    assert noticed_s < 1.5


def test_it_is_told_at_a_bounded_rate() -> None:
    both = Both()
    both.send(seconds=10, path=Path(1.2e6), packets=8, pacing_s=0.0, from_s=100.0)
    pauses_s = [b[0] - a[0] for a, b in zip(both.told, both.told[1:], strict=False)]
    assert len(pauses_s) > 5
    assert min(pauses_s) >= REMB_INTERVAL_MS / 1000 - 0.001


def test_a_burst_without_its_end_is_not_lost() -> None:
    """A picture whose last packet is missing counts when the next one begins."""
    one, other = Bandwidth(), Bandwidth()
    for bandwidth, marker in ((one, True), (other, False)):
        for n in range(100):
            sent = Extensions(abs_send_time=n * (1 << 18) // 30)
            packet = IncomingPacket(97, marker, n, 0, 1, bytes(500), extensions=sent)
            bandwidth.add(packet, 10 + n / 30)
    rates = [b._estimator.incoming_bitrate.rate(13_300) for b in (one, other)]
    assert rates[0] == pytest.approx(500 * 8 * 30, rel=0.05)
    assert rates[1] == pytest.approx(rates[0], rel=0.05)


def test_packets_without_a_send_time_are_no_matter() -> None:
    assert Bandwidth().add(IncomingPacket(97, True, 0, 0, 1, b"a"), 1.0) is None


@given(st.lists(st.tuples(st.integers(0, 700), st.integers(0, 5000)), max_size=60))
def test_the_rate_is_that_of_aiortcs_counter(steps: list[tuple[int, int]]) -> None:
    known, rate = RateCounter(1000, 8000), IncomingRate()
    now_ms = 5000
    for passed_ms, size in steps:
        now_ms += passed_ms
        assert rate.rate(now_ms) == known.rate(now_ms)
        known.add(size, now_ms)
        rate.add(size, now_ms)
        assert rate.rate(now_ms) == known.rate(now_ms)
    assert len(rate._bursts) <= 1000


@given(st.lists(st.floats(0, 500), max_size=200))
def test_the_shortest_distance_is_that_of_aiortcs_filter(distances_ms: list[float]) -> None:
    known, ours = OveruseEstimator(), BurstEstimator()
    for distance_ms in distances_ms:
        expected = known.update_min_frame_period(distance_ms)
        assert ours.update_min_frame_period(distance_ms) == expected
