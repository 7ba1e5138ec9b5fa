"""Whole runs and comparisons against an echo in a process of its own."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from loadtest import clip as clips
from loadtest import procfs
from loadtest.adapters import Wish
from loadtest.run import Load, NothingBack, compare, measure
from loadtest.server import Target, started
from tests.loadtest.conftest import FPS, SIZE

if TYPE_CHECKING:
    import av

    from loadtest.clip import EncodedClip

pytestmark = pytest.mark.peer

ECHO = Target("offer", command=f"{sys.executable} -m tests.loadtest.echo --port {{port}}")


@pytest.fixture
def load(clip: EncodedClip) -> Load:
    return Load(clip, Wish(), sessions=2, seconds=1.0)


@pytest.fixture
def short_load(film: list[av.VideoFrame], monkeypatch: pytest.MonkeyPatch) -> Load:
    """Of one codec, for tests that look at other things than the figures."""
    monkeypatch.setattr("loadtest.crowd.WARM_UP_S", 0.2)
    monkeypatch.setattr("loadtest.load.SETTLE_S", 1.0)
    clip = clips.prepare(film, clips.Codec.H264, FPS, place=None)
    return Load(clip, Wish(), sessions=1, seconds=1.0)


async def test_measure(load: Load) -> None:
    found = await measure(ECHO, load)
    assert found.pairing == "picture"
    assert found.verified == 2
    assert (found.width, found.height, found.fps, found.sessions) == (*SIZE, FPS, 2)
    assert len(found.returned_fps) == 2
    assert 0.5 * FPS < min(found.returned_fps) <= max(found.returned_fps) < 1.5 * FPS
    assert found.returned_frames == pytest.approx(sum(found.returned_fps) * found.seconds, rel=0.2)
    assert found.latency_ms is not None
    assert 0 < found.latency_ms.p50 <= found.latency_ms.p95 <= found.latency_ms.largest
    assert found.server_cpu_seconds is not None
    assert 0 < found.server_cpu_seconds < 10
    assert found.sent_kbps > 0
    assert found.returned_kbps > 0


async def test_compare_alternates(short_load: Load) -> None:
    told: list[str] = []
    found = await compare(ECHO, ECHO, short_load, runs=2, tell=told.append)
    assert len(found.pairs) == 2
    assert found.cpu_ratio is not None
    assert len(found.cpu_ratio.pairs) == 2
    # The same server on both sides: what differs is noise.
    assert 0.2 < found.cpu_ratio.median < 5.0
    assert found.bitrate_ratio is not None
    assert [line.splitlines()[0] for line in told] == ["pair 1", "pair 2"]


async def test_the_second_server_may_have_another_load(short_load: Load, load: Load) -> None:
    other = replace(short_load, clip=load.clip)
    found = await compare(ECHO, ECHO, short_load, runs=1, tell=lambda _: None, what_second=other)
    ((a, b),) = found.pairs
    assert (a.codec, b.codec) == ("h264", load.clip.codec.value)
    assert (a.pairing, b.pairing) == ("assumed", "picture")


async def test_a_server_of_somebody_else_has_no_cpu(short_load: Load) -> None:
    assert ECHO.command is not None
    async with started(ECHO.command) as running:
        found = await measure(Target("offer", url=running.url), short_load)
        known = await measure(Target("offer", url=running.url, pid=running.pid), short_load)
        assert running.pid is not None
        assert procfs.threads(running.pid)  # it was not ended
    assert found.server_cpu_seconds is None
    assert known.server_cpu_seconds is not None


async def test_a_server_that_returns_nothing(
    short_load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadtest.crowd.FIRST_RETURN_TIMEOUT_S", 0.5)
    with pytest.raises(NothingBack, match="1 of 1 sessions: no frame came back"):
        await measure(Target("offer", command=f"{ECHO.command} --mute"), short_load)
