"""Losses and jitter of a stream, by hand and against aiortc's own statistics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtp import RtpPacket
from hypothesis import given
from hypothesis import strategies as st

from service.rtc.reception import MAX_LOST, Reception, Report

if TYPE_CHECKING:
    from collections.abc import Iterable

HZ = 90_000


def fed(sequences: Iterable[int]) -> Reception:
    reception = Reception(HZ)
    for n, sequence in enumerate(sequences):
        reception.add(sequence % (1 << 16), n * 3000, n / 30)
    return reception


def test_a_stream_without_faults() -> None:
    assert fed(range(100)).report() == Report(0, 0, 99, 0)


def test_losses_are_counted_in_all_and_since_the_report_before() -> None:
    reception = fed([0, 1, 2, 4])
    assert reception.report() == Report(
        fraction_lost=256 // 5, lost=1, highest_sequence=4, jitter=0
    )
    for sequence in (5, 6, 7):
        reception.add(sequence, 0, 1.0)
    assert reception.report().fraction_lost == 0
    assert reception.report().lost == 1


def test_a_late_packet_and_a_copy_are_no_loss() -> None:
    assert fed([0, 2, 1, 3]).report().lost == 0
    assert fed([0, 1, 1, 2]).report().lost == -1


def test_cycles_are_counted() -> None:
    assert fed(range(65_530, 65_540)).report().highest_sequence == 65_539


def test_losses_fit_into_their_field() -> None:
    reception = fed([0])
    for n in range(1, 400):
        reception.add(n * 32_000 % (1 << 16), 0, 0.0)
    assert reception.lost == MAX_LOST
    assert reception.report().fraction_lost == 255


def test_a_timestamp_that_wraps_is_no_jitter() -> None:
    reception = Reception(HZ)
    reception.add(1, (1 << 32) - 1500, 10.0)
    reception.add(2, 1500, 10.0 + 3000 / HZ)
    assert reception.report().jitter == 0


@given(
    st.lists(
        st.tuples(st.integers(-3, 5), st.integers(0, 2), st.floats(0, 0.2)), min_size=1, max_size=60
    )
)
def test_the_figures_are_those_of_aiortc(steps: list[tuple[int, int, float]]) -> None:
    """Both as RFC 3550 has them, for streams that don't wrap."""
    known, reception = StreamStatistics(HZ), Reception(HZ)
    sequence, timestamp, now_s = 1000, 0, 1000.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: now_s)
        for step, pictures, passed_s in steps:
            sequence, timestamp, now_s = (
                sequence + step,
                timestamp + 3000 * pictures,
                now_s + passed_s,
            )
            known.add(RtpPacket(sequence_number=sequence, timestamp=timestamp))
            reception.add(sequence, timestamp, now_s)
    report = reception.report()
    assert (report.lost, report.highest_sequence) == (known.packets_lost, known.max_seq)
    assert report.fraction_lost == known.fraction_lost
    # aiortc cuts times to whole ticks before it subtracts them.
    assert report.jitter == pytest.approx(known.jitter, abs=1 + len(steps) // 8)
