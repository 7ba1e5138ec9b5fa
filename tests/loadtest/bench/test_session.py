"""A session of the bench against an echo in a process of its own: what is counted, what is kept."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest

from loadtest import clip as clips
from loadtest.adapters import Wish
from loadtest.bench import session
from loadtest.bench.session import FixedEstimate, NothingReturned
from loadtest.server import NotStarted, Target
from loadtest.stamp import Place
from tests.loadtest.conftest import FPS, SIZE

if TYPE_CHECKING:
    import av

    from loadtest.clip import EncodedClip

ECHO = f"{sys.executable} -m tests.loadtest.echo --port {{port}}"
ESTIMATE_BPS = 600_000


@pytest.fixture(scope="module")
def clip(film: list[av.VideoFrame]) -> EncodedClip:
    return clips.prepare(film, clips.Codec.H264, FPS, place=Place(0.5, 0.5))


@pytest.mark.peer
async def test_what_came_back_is_what_was_sent(clip: EncodedClip) -> None:
    done = await session.run(
        Target("offer", ECHO), clip, Wish(), seconds=1.0, estimate_bps=ESTIMATE_BPS
    )
    found = done.figures
    assert found.sent == pytest.approx(FPS * found.seconds, abs=3)
    assert found.sent - 5 <= found.returned <= found.sent
    assert 0 < found.cpu_ms_per_frame < 200
    assert found.core_percent > 0
    assert found.latency_ms is not None
    assert 0 < found.latency_ms.p50 <= found.latency_ms.p99
    assert (found.pairing, found.levels, found.estimate_kbps) == ("picture", (), 600.0)
    assert found.returned_kbps > 50
    assert found.kbit_per_frame == pytest.approx(found.returned_kbps / FPS, rel=0.2)

    evidence = done.evidence
    assert evidence is not None
    # What is measured is the loop, not the numbered lead-in.
    assert all(evidence.sent[number] >= clip.loop_from for number in evidence.measured)
    assert len(evidence.measured) == found.sent
    numbers = [one.sent for one in evidence.returned]
    assert numbers == sorted(numbers)
    assert set(evidence.measured) & set(numbers)
    assert all(one.data for one in evidence.returned)


@pytest.mark.peer
async def test_the_server_sends_what_it_is_told() -> None:
    """The echo encodes anew, as stock aiortc does, and follows an estimate up to 1500 kbit/s."""
    person = clips.default_film(SIZE, FPS, seconds=1)
    clip = clips.prepare(person, clips.Codec.VP8, FPS, place=None)
    low, high = [
        await session.run(
            Target("offer", ECHO), clip, Wish(), seconds=1.5, estimate_bps=estimate_bps
        )
        for estimate_bps in (500_000, 1_500_000)
    ]
    assert low.figures.kbit_per_frame < 0.7 * high.figures.kbit_per_frame


@pytest.mark.peer
async def test_without_numbers_there_is_no_evidence(film: list[av.VideoFrame]) -> None:
    clip = clips.prepare(film, clips.Codec.VP8, FPS, place=None)
    done = await session.run(
        Target("offer", ECHO), clip, Wish(), seconds=1.0, estimate_bps=ESTIMATE_BPS
    )
    assert done.figures.pairing == "assumed"
    assert done.evidence is None


@pytest.mark.peer
async def test_nothing_back(clip: EncodedClip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FIRST_RETURN_TIMEOUT_S", 0.5)
    with pytest.raises(NothingReturned):
        await session.run(
            Target("offer", f"{ECHO} --mute"), clip, Wish(), seconds=1.0, estimate_bps=ESTIMATE_BPS
        )


async def test_a_server_that_does_not_start(clip: EncodedClip) -> None:
    with pytest.raises(NotStarted):
        await session.run(
            Target("offer", "sh -c 'exit 1'"), clip, Wish(), seconds=1.0, estimate_bps=1
        )


def test_the_estimate_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    estimate = FixedEstimate(800_000)
    told = []
    for number in range(20):  # two seconds of packets
        now_s = 100.0 + number / 10
        told.append(estimate.add(number, number, 1200, 77))
    assert [one for one in told if one] == [(800_000, [77])] * 4


def test_the_machines_cpu_grows_by_what_is_used() -> None:
    before_s, own_s = session._machine_cpu_s(None), time.process_time()
    while time.process_time() - own_s < 0.2:
        pass
    assert session._machine_cpu_s(None) - before_s > 0.1
