"""The quality levels of real sessions: read from their tracks, carried out, told."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest

from service.policy.effects import Color, Nothing
from service.policy.levels import EFFORTS, Level
from service.session.events import Kind
from service.session.quality import TICK_S, QualityControl
from service.session.spec import SessionSpec
from tests.peers import Camera, Client
from tests.rtc.pictures import moving_picture
from tests.session.stand import registry
from tests.session.test_session import told

if TYPE_CHECKING:
    from service.session.session import Session

GREEN = SessionSpec(effect=Color("#00b140"))
RELAY = SessionSpec(effect=Nothing(), allowed_effects=frozenset({"none"}))


@dataclass
class Machine:
    """A budget, its use, and the time: as the test says."""

    quota_cores: float = 1.0
    used_s: float = 0.0
    held_back_s: float = 0.0
    now_s: float = 0.0

    def usage_s(self) -> float:
        return self.used_s

    def throttled_s(self) -> float:
        return self.held_back_s

    def clock(self) -> float:
        return self.now_s


@dataclass
class Watched:
    """A control whose time goes on tick by tick."""

    machine: Machine
    control: QualityControl
    changes: Counter[str]

    def ticks(self, count: int, *, full: bool) -> None:
        """`full`: all of the quota is used, and the cgroup is held back for half of the time."""
        for _ in range(count):
            self.machine.now_s += TICK_S
            self.machine.used_s += TICK_S * (self.machine.quota_cores if full else 0.01)
            self.machine.held_back_s += TICK_S / 2 if full else 0.0
            self.control.tick(lag_s=0.2 if full else 0.0)


@dataclass
class Counts:
    changes: Counter[str] = field(default_factory=Counter)

    def quality_changed(self, direction: str) -> None:
        self.changes[direction] += 1


def watch(sessions: list[Session], lowest: Level = Level.BACKGROUND) -> Watched:
    machine, counts = Machine(), Counts()
    control = QualityControl(
        sessions=lambda: sessions,
        cpu=machine,
        counters=counts,
        lowest=lowest,
        clock=machine.clock,
        process_time=machine.usage_s,
    )
    return Watched(machine, control, counts.changes)


def levels(session: Session) -> list[object]:
    tracks = cast("list[dict[str, object]]", session.describe()["tracks"])
    return [track["quality_level"] for track in tracks]


@pytest.mark.peer
@pytest.mark.model
async def test_down_and_up_again_in_the_json_the_events_and_the_pictures() -> None:
    async with registry() as (sessions, counts):
        session = sessions.create(GREEN)
        client = Client(Camera(lambda number: moving_picture(number, width=640, height=360)))
        await client.accept((await session.offer(await client.offer())).sdp)
        await client.frames(5)
        watched = watch([session])
        watched.ticks(4, full=False)
        assert levels(session) == ["full"]
        assert not watched.control.lowered(session.id)
        watched.ticks(40, full=True)
        assert levels(session) == ["background"]
        assert watched.control.lowered(session.id)
        assert watched.control.short
        assert watched.control.counts()["background"] == 1
        # A picture that is decoded after this was made at this level; those on the way may not be.
        await client.wait_for(lambda: client.video.frames[-1].width == 320)
        networks = counts.stages["person"]
        sent = counts.frames["sent"]
        await counts.more("sent", 10)
        assert counts.stages["person"] == networks
        assert counts.dropped["quality"] >= (counts.frames["sent"] - sent) // 2
        watched.ticks(200, full=False)
        assert levels(session) == ["full"]
        await client.wait_for(lambda: client.video.frames[-1].width == 640)
        assert counts.raw == 0
        events = [one for one in told(session) if str(one["type"]).startswith("quality.")]
        lowered = [one for one in events if one["type"] == Kind.QUALITY_LOWERED.value]
        restored = [one for one in events if one["type"] == Kind.QUALITY_RESTORED.value]
        assert events == [*lowered, *restored]
        assert lowered[-1]["level"] == "background"
        assert [one["level"] for one in restored] == ["fewer", "smaller", "third", "half", "full"]
        assert watched.changes == {"down": len(lowered), "up": len(restored)}
        await client.close()


@pytest.mark.peer
@pytest.mark.model
async def test_another_peer_of_a_lowered_session_begins_lowered() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(GREEN)
        first = Client(Camera(moving_picture))
        await first.accept((await session.offer(await first.offer())).sdp)
        await first.frames(2)
        watched = watch([session])
        watched.ticks(40, full=True)
        (track,) = session.tracks.values()
        assert track._effort is EFFORTS[Level.BACKGROUND]
        second = Client(Camera(moving_picture))
        answer = await session.offer(await second.offer())
        (track,) = session.tracks.values()
        assert track._effort is EFFORTS[Level.BACKGROUND], "until the next tick it would be full"
        await second.accept(answer.sdp)
        await second.frames(2)
        watched.ticks(200, full=False)
        assert track._effort is EFFORTS[Level.FULL]
        await first.close()
        await second.close()


@pytest.mark.peer
@pytest.mark.model
async def test_full_as_the_lowest_level_turns_it_off() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(GREEN)
        client = Client(Camera(moving_picture))
        await client.accept((await session.offer(await client.offer())).sdp)
        await client.frames(2)
        watched = watch([session], Level.FULL)
        watched.ticks(60, full=True)
        assert levels(session) == ["full"]
        assert not watched.changes
        await client.close()


@pytest.mark.peer
@pytest.mark.model
async def test_what_a_track_did_is_told() -> None:
    async with registry() as (sessions, counts):
        shown, relayed = sessions.create(GREEN), sessions.create(RELAY)
        clients = [Client(Camera(moving_picture)) for _ in range(2)]
        works = []
        for session, client in zip((shown, relayed), clients, strict=True):
            await client.accept((await session.offer(await client.offer())).sdp)
            await client.frames(20)
            (track,) = session.tracks.values()
            works.append(track.work())
        for work in works:
            assert work.received >= work.taken >= work.composed >= 15
            assert work.cpu_s > work.decode_cpu_s > 0
            assert work.wall_s > 0
            assert work.waited_s >= 0
            assert work.frame_cpu_s is not None
            assert 0.0001 < work.frame_cpu_s < 1.0
        assert [work.effect for work in works] == [True, False]
        assert counts.raw == 0
        for client in clients:
            await client.close()


def test_a_session_without_a_peer_has_no_level() -> None:
    session = cast("Session", type("Waiting", (), {"id": "s", "tracks": {}})())
    watched = watch([session])
    watched.ticks(40, full=True)
    assert sum(watched.control.counts().values()) == 0
    assert not watched.control.lowered("s")
    assert not watched.control.short


def test_two_ticks_at_once_are_one_and_another_counter_is_no_use() -> None:
    watched = watch([])
    watched.machine.now_s += TICK_S
    assert watched.control._used(TICK_S) == 0.0
    # A quota appeared: from now on the use is that of the whole cgroup, which is days old.
    watched.machine.used_s += 1e6
    watched.control._process_time = lambda: 0.125
    watched.control._process_s = 0.0
    assert watched.control._used(TICK_S) == 0.125
    before_s = watched.control._ticked_s
    watched.control.tick(lag_s=0.0)
    assert watched.control._ticked_s > before_s
    before_s = watched.control._ticked_s
    watched.machine.now_s += 0.01
    watched.control.tick(lag_s=0.0)
    assert watched.control._ticked_s == before_s


async def test_a_fault_costs_one_tick(caplog: pytest.LogCaptureFixture) -> None:
    ticked = asyncio.Event()
    calls = 0

    def sessions() -> list[Session]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("injected")
        ticked.set()
        return []

    control = QualityControl(sessions=sessions, cpu=Machine(), counters=Counts())
    task = asyncio.create_task(control.run())
    async with asyncio.timeout(10):
        await ticked.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert "could not be judged" in caplog.text
