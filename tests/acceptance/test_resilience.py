"""One session's trouble is its own: the session beside it notices nothing, and nothing is left.

A witness streams all the while; another session's client is killed, loses a fifth of its packets
both ways, or changes its picture's size. Then the service must have as many threads and open files
as before, no session, and no frame that reached the gate raw.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import urllib.request
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from loadtest import clip as clips
from loadtest import procfs
from loadtest.adapters import Backcloth, Wish
from loadtest.client import Client
from tests.acceptance.streaming import decoded
from tests.peers import LossyRelay
from tests.running import ROOT, Service, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

pytestmark = [pytest.mark.peer, pytest.mark.model, pytest.mark.timeout(180)]

FPS = 25
TROUBLED_FPS = 15
# What a neighbour of the troubled session may lose: a stalled event loop or a starved executor
# costs seconds. A quiet machine loses nothing; one that does other work loses some by itself.
LONGEST_GAP_S = 1.0
LEAST_RETURNED = 0.85
LOSS = 0.2
LOSS_S = 10.0
GONE_TIMEOUT_S = 20.0
POLL_INTERVAL_S = 0.1


@pytest.fixture(scope="module")
def film() -> list[Any]:
    return clips.default_film((640, 360), FPS, seconds=4)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """A service that is quick to give up on the silent."""
    with running(
        CPU_CORES="2",
        SESSION_CORES="0.2",
        LOWEST_QUALITY="full",  # the machine's other work is no reason to lower or refuse here
        SILENCE_SUSPEND_S="2",
        SILENCE_END_S="4",
        IDLE_TTL_S="2",
    ) as process:
        yield process


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process holds."""

    threads: int
    open_files: int

    @classmethod
    def of(cls, service: Service) -> Footprint:
        pid = service.process.pid
        return cls(procfs.threads(pid), procfs.open_files(pid))

    def within(self, other: Footprint) -> bool:
        return self.threads <= other.threads and self.open_files <= other.open_files


async def get_json(url: str) -> Any:
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def until(condition: Callable[[Any], bool], url: str) -> Any:
    """Ask until the answer is as wanted. The other side is a process: there is nothing to await
    but its answers."""
    async with asyncio.timeout(GONE_TIMEOUT_S):
        while not condition(answer := await get_json(url)):  # noqa: ASYNC110 (no event comes)
            await asyncio.sleep(POLL_INTERVAL_S)
    return answer


async def fallen_to(before: Footprint, service: Service) -> Footprint:
    """The footprint once it is no larger than before, or at the end of the time."""
    found = Footprint.of(service)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GONE_TIMEOUT_S):
            while not found.within(before):
                await asyncio.sleep(POLL_INTERVAL_S)
                found = Footprint.of(service)
    return found


def metrics(service: Service) -> dict[str, float]:
    with urllib.request.urlopen(f"{service.url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


@asynccontextmanager
async def streaming(
    service: Service,
    clip: clips.EncodedClip,
    *,
    relay: LossyRelay | None = None,
    keep: bool = False,
) -> AsyncIterator[Client]:
    """A session that plays; closed at the end."""
    wish = Wish(width=1280, height=720, fps=30)
    async with aiohttp.ClientSession() as http:
        line = Backcloth(http, service.url, wish)
        client = Client(clip, line if relay is None else Relayed(line, relay), keep=keep)
        try:
            await client.start()
            async with asyncio.timeout(20):
                await client.came_back(1)
            yield client
        finally:
            await client.close()
            if relay is not None:
                relay.close()


@dataclass
class Relayed:
    """A line whose media goes through the lossy relay."""

    line: Backcloth
    relay: LossyRelay

    async def open(self, offer: str) -> str:
        return await self.relay.between(await self.line.open(self.relay.hide(offer)))

    async def close(self) -> None:
        await self.line.close()


@asynccontextmanager
async def undisturbed(service: Service, film: Sequence[Any]) -> AsyncIterator[Client]:
    """A witness streams meanwhile; afterwards it must have missed nothing, and nothing is left."""
    clip = clips.encode(film, clips.Codec.H264, FPS)
    # Two sessions at once and a scrape: every thread is there that is started at first use.
    async with streaming(service, clip) as first, streaming(service, clip):
        await first.came_back(2 * FPS)
        await asyncio.to_thread(metrics, service)
    await until(lambda answer: not sessions_of(answer), f"{service.url}/v1/sessions")
    before = Footprint.of(service)
    async with streaming(service, clip) as witness:
        yield witness
        times_s = [one.at_s for one in witness.returned]
        sent = [one for one in witness.sent if one.at_s >= times_s[0]]
    gaps_s = [later - earlier for earlier, later in itertools.pairwise(times_s)]
    assert max(gaps_s) <= LONGEST_GAP_S, f"the witness saw a gap of {max(gaps_s):.2f} s"
    assert len(times_s) >= LEAST_RETURNED * len(sent), f"{len(times_s)} of {len(sent)} came back"

    await until(lambda answer: not sessions_of(answer), f"{service.url}/v1/sessions")
    found = await asyncio.to_thread(metrics, service)
    assert sum(v for k, v in found.items() if k.startswith("backcloth_sessions{")) == 0
    assert found["backcloth_raw_frames_total"] == 0
    after = await fallen_to(before, service)
    assert after.within(before), f"{before} before, {after} after"


def sessions_of(answer: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer["sessions"] if isinstance(answer, dict) else answer
    return found


async def test_a_killed_client(service: Service, film: list[Any]) -> None:
    async with undisturbed(service, film):
        known = sessions_of(await get_json(f"{service.url}/v1/sessions"))
        victim = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "loadtest", "run", "--url", service.url),
            *("--seconds", "60", "--fps", str(TROUBLED_FPS)),
            cwd=ROOT,
        )
        try:
            opened = await until(
                lambda answer: any(is_sending(one) for one in new(answer, known)),
                f"{service.url}/v1/sessions",
            )
        finally:
            victim.kill()
            await victim.wait()
        (session,) = new(opened, known)
        url = f"{service.url}/v1/sessions"

        def now(answer: Any) -> dict[str, Any] | None:
            return next((one for one in sessions_of(answer) if one["id"] == session["id"]), None)

        suspended = await until(
            lambda answer: (one := now(answer)) is None or one["peer"] != "live", url
        )
        assert (seen := now(suspended)) is not None
        assert seen["peer"] == "suspended"
        await until(lambda answer: now(answer) is None, url)
    ended = await asyncio.to_thread(metrics, service)
    assert ended['backcloth_sessions_ended_total{outcome="idle"}'] >= 1


def new(answer: Any, known: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    ids = {one["id"] for one in known}
    return [one for one in sessions_of(answer) if one["id"] not in ids]


def is_sending(session: dict[str, Any]) -> bool:
    return any(track["frames"]["sent"] > TROUBLED_FPS for track in session["tracks"])


async def test_a_fifth_of_all_packets_lost(service: Service, film: list[Any]) -> None:
    clip = clips.encode(film, clips.Codec.H264, TROUBLED_FPS)
    relay = LossyRelay()
    async with (
        undisturbed(service, film) as witness,
        streaming(service, clip, relay=relay) as troubled,
    ):
        relay.loss = LOSS
        # The witness is the clock: it must not miss a frame anyway.
        await witness.came_back(len(witness.returned) + round(LOSS_S * FPS))
        relay.loss = 0.0
        assert relay.lost > 0.1 * relay.passed
        async with asyncio.timeout(10):  # two seconds' worth, in at most five times their time
            await troubled.came_back(len(troubled.returned) + 2 * TROUBLED_FPS)


async def test_the_picture_changes_its_size(service: Service, film: list[Any]) -> None:
    small = clips.encode(film[: 2 * TROUBLED_FPS], clips.Codec.H264, TROUBLED_FPS)
    large_film = clips.default_film((1280, 720), TROUBLED_FPS, seconds=2)
    large = clips.encode(large_film, clips.Codec.H264, TROUBLED_FPS)
    clip = after_another(small, large, small)
    async with (
        undisturbed(service, film),
        streaming(service, replace(clip, loop_from=0), keep=True) as troubled,
    ):
        async with asyncio.timeout(30):
            await troubled.came_back(len(clip.frames))
    sizes = [(frame.width, frame.height) for _, frame in decoded(troubled.coded, clips.Codec.H264)]
    order = [size for size, _ in itertools.groupby(sizes)]
    assert order[:3] == [(640, 360), (1280, 720), (640, 360)]


def after_another(*parts: clips.EncodedClip) -> clips.EncodedClip:
    """One clip of several that may differ in size."""
    starts = itertools.accumulate((len(part.frames) for part in parts), initial=0)
    keyframes = [
        start + key for start, part in zip(starts, parts, strict=False) for key in part.keyframes
    ]
    return replace(
        parts[0],
        frames=tuple(itertools.chain.from_iterable(part.frames for part in parts)),
        keyframes=tuple(keyframes),
    )
