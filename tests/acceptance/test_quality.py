"""The real service in a cgroup whose CPU quota is halved under load, and returned.

Its sessions must step down within two seconds, stay live, show nothing of the room, and step up
again. When they did is told by the service's own events: this machine may be late to hear of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
import urllib.request
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from loadtest import clip as clips
from loadtest import procfs
from loadtest.adapters import Backcloth, Wish
from loadtest.client import Client
from tests.running import Service, running

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.peer, pytest.mark.model, pytest.mark.timeout(180)]

CONTROLLER = Path("/sys/fs/cgroup/cpu")  # version 1, as where the service is developed
PERIOD_US = 100_000
SHARES = 100 * 1024
"""A hundred times what a cgroup has by itself."""
SESSIONS = 3
FPS = 20
WARM_UP_S = 5.0
MEASURED_S = 3.0
FULL_LOAD = 0.65
"""Of the quota, with room for what this machine does beside: half of it is too little then."""
REACTION_S = 2.0
HALVED_S = 8.0
LEAST_FPS = 5
"""Of each session in that time: half the camera's rate is 10."""
RESTORED_TIMEOUT_S = 45.0


class Cgroup:
    """A cgroup of its own for one service."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def limit(self, cores: float) -> float:
        """Give it so many cores; when that was, in unix seconds."""
        quota = self.directory / "cpu.cfs_quota_us"
        quota.write_text(str(max(1000, round(cores * PERIOD_US))))
        return time.time()

    @property
    def wrapper(self) -> list[str]:
        """A command that enters it and becomes another one."""
        enter = 'echo $$ > "$0" && exec "$@"'
        return ["sh", "-c", enter, str(self.directory / "cgroup.procs")]


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    directory = CONTROLLER / f"backcloth-test-{os.getpid()}"
    try:
        directory.mkdir()
        (directory / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        # What else runs on this machine comes after it: the quota alone holds it back.
        (directory / "cpu.shares").write_text(str(SHARES))
    except OSError as exc:
        with contextlib.suppress(OSError):
            directory.rmdir()
        pytest.skip(f"no CPU quota can be set here: {exc}")
    try:
        yield Cgroup(directory)
    finally:
        # The kernel takes a moment to let go of a process that has ended.
        for _ in range(50):
            with contextlib.suppress(OSError):
                directory.rmdir()
                break
            time.sleep(0.1)


class Listener:
    """The events of one session, from the beginning."""

    def __init__(self, url: str) -> None:
        self.events: list[dict[str, Any]] = []
        self.heard = asyncio.Event()
        self._url = url

    async def listen(self, http: aiohttp.ClientSession) -> None:
        async with http.get(
            self._url, headers={"Last-Event-ID": "0"}, timeout=aiohttp.ClientTimeout(None)
        ) as stream:
            async for line in stream.content:
                if line.startswith(b"data: "):
                    self.events.append(json.loads(line[6:]))
                    self.heard.set()

    def levels(self, since_s: float) -> list[dict[str, Any]]:
        return [
            one for one in self.events if one["type"].startswith("quality.") and one["at"] > since_s
        ]

    async def restored(self) -> None:
        """Until the last change of level led back to `full`."""
        while not (changes := self.levels(0)) or changes[-1]["level"] != "full":
            self.heard.clear()
            await self.heard.wait()


def metrics(service: Service) -> dict[str, float]:
    with urllib.request.urlopen(f"{service.url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


async def sessions_of(http: aiohttp.ClientSession, service: Service) -> list[dict[str, Any]]:
    async with http.get(f"{service.url}/v1/sessions") as answer:
        found: list[dict[str, Any]] = (await answer.json())["sessions"]
    return found


def sent_frames(sessions: list[dict[str, Any]]) -> dict[str, int]:
    return {one["id"]: sum(track["frames"]["sent"] for track in one["tracks"]) for one in sessions}


async def test_a_quota_that_is_halved_and_returned(cgroup: Cgroup) -> None:
    film = clips.default_film((640, 360), FPS, seconds=4)
    clip = clips.encode(film, clips.Codec.H264, FPS)
    async with AsyncExitStack() as stack:
        service = stack.enter_context(
            running(wrapper=cgroup.wrapper, MAX_SESSIONS="10", SESSION_CORES="0.05")
        )
        http = await stack.enter_async_context(aiohttp.ClientSession())
        group = await stack.enter_async_context(asyncio.TaskGroup())
        listeners = []
        for _ in range(SESSIONS):
            line = Backcloth(http, service.url, Wish(width=640, height=360, fps=30))
            client = Client(clip, line)
            stack.push_async_callback(client.close)
            await client.start()
            listener = Listener(f"{service.url}/v1/sessions/{line.session_id}/events")
            task = group.create_task(listener.listen(http))
            stack.callback(task.cancel)
            listeners.append(listener)
        await asyncio.sleep(WARM_UP_S)
        used_s = procfs.cpu_seconds(service.process.pid)
        await asyncio.sleep(MEASURED_S)
        cores = (procfs.cpu_seconds(service.process.pid) - used_s) / MEASURED_S

        quota_cores = cores / FULL_LOAD
        cgroup.limit(quota_cores)
        await asyncio.sleep(WARM_UP_S)

        halved_at = cgroup.limit(quota_cores / 2)
        before = sent_frames(await sessions_of(http, service))
        await asyncio.sleep(HALVED_S)
        for listener in listeners:
            lowered = listener.levels(halved_at)
            assert lowered, "the session kept its level"
            assert lowered[0]["type"] == "quality.lowered"
            assert lowered[0]["at"] - halved_at <= REACTION_S
        told = await sessions_of(http, service)
        levels = [track["quality_level"] for one in told for track in one["tracks"]]
        assert len(levels) == SESSIONS
        assert "full" not in levels
        assert all(one["state"] == "live" for one in told)
        found = await asyncio.to_thread(metrics, service)
        assert found['backcloth_quality_changes_total{direction="down"}'] >= SESSIONS
        assert found['backcloth_quality_level{level="full"}'] == 0
        now = sent_frames(told)
        assert all(now[name] - count >= LEAST_FPS * HALVED_S for name, count in before.items())

        cgroup.limit(quota_cores)
        async with asyncio.timeout(RESTORED_TIMEOUT_S):
            for listener in listeners:
                await listener.restored()
        found = await asyncio.to_thread(metrics, service)
        assert found["backcloth_raw_frames_total"] == 0
        assert all(one["state"] == "live" for one in await sessions_of(http, service))
