"""One session's counts, frame by frame, with times that are written down here."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from loadtest.tally import Bins, Tally

FPS = 30
FRAME_S = 1 / FPS


@dataclass
class Settled:
    """What of a Pairing is looked at."""

    shift: int = 0
    over: bool = True


def make(pairing: Settled | None = None, measure_from_s: float = 0.0) -> tuple[Tally, Bins]:
    bins, known = Bins(), pairing or Settled()
    tally = Tally(
        lambda: known,  # type: ignore[arg-type, return-value]
        FPS,
        bins,
        warm_up_s=2.0,
        measure_from_s=measure_from_s,
    )
    return tally, bins


def play(tally: Tally, frames: range, late_s: float = 0.01, shift: int = 0) -> None:
    """Sent on time, back a little later; the server calls them by other numbers."""
    for number in frames:
        tally.sent(number, number * FRAME_S)
        tally.back(number - shift, number * FRAME_S + late_s)


def test_the_warm_up_is_not_measured() -> None:
    tally, _ = make()
    play(tally, range(60))
    assert tally.began_s is None
    play(tally, range(60, 91))
    tally.end(91 * FRAME_S)
    # It began with the first frame back two seconds after the very first.
    assert tally.began_s == pytest.approx(60 * FRAME_S + 0.01)
    assert tally.back_frames == 30
    assert tally.sent_frames == 30
    assert tally.measured_s == pytest.approx(31 * FRAME_S - 0.01)
    found = tally.latencies.percentiles()
    assert found is not None
    assert found.p50 == found.largest == 10.0


def test_a_common_start_is_waited_for() -> None:
    tally, _ = make(measure_from_s=4.0)
    play(tally, range(150))
    assert tally.began_s == pytest.approx(4.0, abs=FRAME_S)


def test_nothing_is_measured_before_the_pairing_is_settled() -> None:
    pairing = Settled(over=False)
    tally, _ = make(pairing)
    play(tally, range(120))
    assert not tally.measuring
    pairing.over = True
    play(tally, range(120, 150))
    assert tally.began_s == pytest.approx(120 * FRAME_S + 0.01)


def test_frames_are_paired_by_the_shift() -> None:
    tally, _ = make(Settled(shift=7))
    play(tally, range(120), late_s=0.02, shift=7)
    found = tally.latencies.percentiles()
    assert found is not None
    assert found.largest == 20.0


def test_frames_that_never_came_are_counted() -> None:
    tally, _ = make()
    play(tally, range(70))
    for number in range(70, 74):
        tally.sent(number, number * FRAME_S)
    play(tally, range(74, 80))
    tally.end(80 * FRAME_S)
    assert tally.lost == 4
    assert tally.sent_frames - tally.back_frames == 4


@pytest.mark.parametrize(("missing", "freezes"), [(0, 0), (2, 0), (3, 0), (4, 1), (60, 1)])
def test_a_freeze_is_a_gap_of_more_than_150_ms(missing: int, freezes: int) -> None:
    tally, bins = make()
    play(tally, range(70))
    play(tally, range(70 + missing, 80 + missing))
    assert tally.freezes == freezes
    assert bins.now.freezes == freezes
    assert tally.longest_gap_s == pytest.approx((missing + 1) * FRAME_S)


def test_slow_clips_freeze_later() -> None:
    tally = Tally(
        lambda: Settled(),  # type: ignore[arg-type, return-value]
        10,
        Bins(),
        warm_up_s=0.0,
        measure_from_s=0.0,
    )
    for at_s in (0.0, 0.1, 0.39, 0.70):
        tally.back(round(at_s * 10), at_s)
    assert tally.freezes == 1  # three intervals are 300 ms


def test_a_picture_that_stands_still_at_the_end_is_a_freeze() -> None:
    tally, _ = make()
    play(tally, range(90))
    tally.end(90 * FRAME_S + 1.0)
    assert tally.freezes == 1
    tally.back(200, 99.0)  # after its end nothing counts
    assert tally.back_frames == 29


def test_a_frame_from_before_memory_is_as_late_as_can_be() -> None:
    tally, _ = make()
    play(tally, range(90))
    tally.sent(90, 3.0)
    for number in range(91, 91 + 60 * FPS):
        tally.sent(number, number * FRAME_S)
    tally.back(90, 64.0)
    found = tally.latencies.percentiles()
    assert found is not None
    assert found.largest == 60_000


def test_seconds() -> None:
    tally, bins = make()
    play(tally, range(60))
    assert tally.take_second() == 60
    assert tally.take_second() == 0
    assert (bins.now.sent, bins.now.back, bins.now.latencies_s) == (60, 60, [])
    play(tally, range(60, 91))
    assert len(bins.now.latencies_s) == 30
    assert tally.measured_since(2.1)
    assert not tally.measured_since(1.9)
    tally.end(4.0)
    assert not tally.measured_since(2.1)


def test_memory_does_not_grow() -> None:
    tally, bins = make()
    play(tally, range(20_000))
    assert len(tally._sent_at) == 60 * FPS
    assert len(tally.latencies._counts) == 1
    assert bins.now.sent == 20_000
