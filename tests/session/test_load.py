"""What sessions do to the CPU reaches admission: their needs, what frames cost, how full it is."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest

from service.policy.admission import Admission, Admitted, Reason, Rejected
from service.policy.cost import CostModel, Demand
from service.policy.effects import ALL, Color, Nothing
from service.rtc.figures import TrackFigures
from service.session.load import LEARN_INTERVAL_S, LOOK_INTERVAL_S, WARM_UP_S, LoadWatch
from service.session.spec import SessionSpec
from tests.peers import Camera, Client
from tests.rtc.pictures import moving_picture
from tests.session.stand import registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.session.session import Session

PRIOR_CORES = 0.4
LARGE = (1280, 720)
SMALL = (640, 360)


class Processor:
    """A CPU budget, and its use, that the test turns."""

    def __init__(self) -> None:
        self.quota_cores = 2.0
        self.load = 0.1
        self.looked = asyncio.Event()

    def load_ratio(self) -> float:
        self.looked.set()
        return self.load


@dataclass(eq=False)
class Track:
    """A track's counts without the track; they are the real ones."""

    figures: TrackFigures = field(default_factory=TrackFigures)
    typical: bool = True


@dataclass(eq=False)
class Seat:
    """A session, as far as its load goes."""

    id: str
    spec: SessionSpec
    tracks: dict[str, Track] = field(default_factory=dict)


class Stand:
    """A watch over sessions that the test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.process_s = 3.0
        self.viewers_s = 0.0
        self.cpu = Processor()
        self.cost = CostModel(PRIOR_CORES)
        self.admission = Admission(quota_cores=2.0, cost=self.cost, planned_share=1.0)
        self.seats: list[tuple[int, Seat]] = []
        self.lowered: set[str] = set()
        self.short = False
        self.fault: Exception | None = None
        self.watch = LoadWatch(
            sessions=lambda: cast("list[tuple[int, Session]]", self.seats),
            admission=self.admission,
            cost=self.cost,
            cpu=self.cpu,
            lowered=lambda session_id: session_id in self.lowered,
            short=self.is_short,
            clock=lambda: self.now_s,
            process_time=lambda: self.process_s,
            viewers_cpu_s=lambda: self.viewers_s,
        )

    def is_short(self) -> bool:
        if self.fault is not None:
            raise self.fault
        return self.short

    def open(self, *tracks: Track) -> Seat:
        spec = SessionSpec(Color("#00b140"))
        decision = self.admission.reserve(
            Demand(spec.max_width * spec.max_height, spec.max_fps), self.now_s
        )
        assert isinstance(decision, Admitted)
        seat = Seat(f"session-{decision.place}", spec, dict(zip("01", tracks, strict=False)))
        self.seats.append((decision.place, seat))
        return seat

    def run(
        self,
        seconds: float,
        *,
        size: tuple[int, int] = LARGE,
        fps: int = 30,
        frame_s: Callable[[Track], float] = lambda _: 0.01,
        rest_s: float = 0.001,
        viewers_s: float = 0.0,
    ) -> None:
        """All tracks take frames for so long; the watch looks as often as it does."""
        for _ in range(round(seconds / LOOK_INTERVAL_S)):
            for frame in range(round(fps * LOOK_INTERVAL_S)):
                at_s = self.now_s + frame / fps
                for _, seat in self.seats:
                    for track in seat.tracks.values():
                        track.figures.received(at_s)
                        track.figures.processed({}, frame_s(track))
                        track.figures.sent(at_s, width=size[0], height=size[1], latency_s=0.01)
                        self.process_s += frame_s(track) + rest_s + viewers_s
                        self.viewers_s += viewers_s
            self.now_s += LOOK_INTERVAL_S
            self.watch.look()


def test_a_session_without_frames_keeps_what_was_reserved() -> None:
    stand = Stand()
    stand.open()
    stand.open(Track())
    before = stand.admission.reserved_cores
    for _ in range(100):
        stand.now_s += LOOK_INTERVAL_S
        stand.watch.look()
    assert stand.admission.reserved_cores == before == pytest.approx(2 * PRIOR_CORES)


def test_a_live_session_gives_back_what_its_size_does_not_need() -> None:
    stand = Stand()
    stand.open(Track(typical=False))  # nothing is learned: the prices stay
    stand.run(60, size=SMALL)
    expected = stand.cost.cores(Demand(640 * 360, 30))
    assert stand.admission.reserved_cores == pytest.approx(expected, rel=0.06)


def test_no_more_frames_are_reserved_than_the_session_allows() -> None:
    stand = Stand()
    stand.open(Track(typical=False))
    stand.run(30, fps=60)
    assert stand.admission.reserved_cores == pytest.approx(PRIOR_CORES)


def test_two_cameras_need_twice_as_much() -> None:
    stand = Stand()
    stand.open(Track(typical=False), Track(typical=False))
    stand.run(10)
    assert stand.admission.reserved_cores == pytest.approx(2 * PRIOR_CORES, rel=0.08)


def test_what_frames_cost_is_learned_with_their_share_of_the_rest() -> None:
    stand = Stand()
    stand.open(Track())
    stand.run(120, frame_s=lambda _: 0.005, rest_s=0.002)
    assert stand.cost.cores(Demand(1280 * 720, 30)) == pytest.approx(30 * 0.007, rel=0.1)


def test_what_viewers_cost_is_not_blamed_on_sessions() -> None:
    stand = Stand()
    stand.open(Track())
    stand.run(120, frame_s=lambda _: 0.005, rest_s=0.002, viewers_s=0.02)
    assert stand.cost.cores(Demand(1280 * 720, 30)) == pytest.approx(30 * 0.007, rel=0.1)


def test_the_first_seconds_of_a_track_teach_nothing() -> None:
    stand = Stand()
    stand.open(Track())
    stand.run(LEARN_INTERVAL_S)
    stand.run(WARM_UP_S - LOOK_INTERVAL_S, frame_s=lambda _: 0.1)
    assert stand.cost.cores(Demand(1280 * 720, 30)) == pytest.approx(PRIOR_CORES)


def test_a_session_below_the_highest_level_teaches_nothing_and_keeps_its_reservation() -> None:
    stand = Stand()
    seat = stand.open(Track())
    stand.run(20)
    before_cores, cost_cores = stand.admission.reserved_cores, stand.cost.cores(Demand(10**6, 30))
    stand.lowered.add(seat.id)
    stand.run(120, size=SMALL, fps=14, frame_s=lambda _: 0.001)
    assert stand.admission.reserved_cores == before_cores
    assert stand.cost.cores(Demand(10**6, 30)) == cost_cores


def test_a_track_under_no_effect_teaches_nothing() -> None:
    stand = Stand()
    cheap, usual = Track(typical=False), Track()
    stand.open(cheap, usual)
    stand.run(120, frame_s=lambda track: 0.002 if track is cheap else 0.012)
    assert stand.cost.cores(Demand(1280 * 720, 30)) == pytest.approx(30 * 0.013, rel=0.1)


def test_quota_load_and_lowered_levels_reach_admission() -> None:
    stand = Stand()
    stand.open()
    most = Demand(1280 * 720, 30)

    def asked() -> Reason | None:
        stand.watch.look()
        decision = stand.admission.reserve(most, stand.now_s)
        if isinstance(decision, Rejected):
            return decision.reason
        stand.admission.release(decision.place)
        return None

    assert asked() is None
    stand.cpu.quota_cores = 0.7
    assert asked() is Reason.CPU_BUDGET
    stand.cpu.quota_cores = 2.0
    stand.cpu.load = 0.97
    assert asked() is Reason.OVERLOADED
    stand.cpu.load = 0.5
    stand.short = True
    assert asked() is Reason.OVERLOADED
    stand.short = False
    assert asked() is None


async def test_a_fault_does_not_end_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    stand = Stand()
    stand.fault = RuntimeError("a fault")
    running = asyncio.create_task(stand.watch.run())
    try:
        async with asyncio.timeout(10):
            for _ in range(2):
                await stand.cpu.looked.wait()
                stand.cpu.looked.clear()
    finally:
        running.cancel()
    assert "a fault while the load was looked at" in caplog.text


@pytest.mark.peer
@pytest.mark.model
async def test_a_real_session_is_seen() -> None:
    cost = CostModel(PRIOR_CORES)
    admission = Admission(quota_cores=2.0, cost=cost)
    async with registry(admission=admission) as (sessions, _):
        watch = LoadWatch(
            sessions=sessions.placed,
            admission=admission,
            cost=cost,
            cpu=Processor(),
            lowered=lambda _: False,
            short=lambda: False,
        )
        session = sessions.create(SessionSpec(Color("#00b140"), allowed_effects=ALL))
        watch.look()
        assert admission.reserved_cores == pytest.approx(PRIOR_CORES)
        client = Client(Camera(moving_picture))
        await client.accept((await session.offer(await client.offer())).sdp)
        await client.frames(10)
        (track,) = session.tracks.values()
        assert track.figures.fps_in(time.monotonic()) > 0
        watch.look()
        await client.frames(10)
        watch.look()
        assert 0 < admission.reserved_cores < PRIOR_CORES
        assert track.typical
        await session.scene.set_effect(Nothing())
        assert not track.typical
        await client.close()
        await sessions.end(session.id)
        assert admission.reserved_cores == 0
