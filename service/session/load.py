"""What the sessions do to the CPU, told to admission: every half second how full it is and what
each session needs, every two seconds what the frames have cost.

A task of the application runs `run`. Reads the tracks' own counts (service/rtc/figures.py); what
follows from them is decided in service/policy.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from weakref import WeakKeyDictionary

from service.policy.cost import Demand, Spent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from service.policy.admission import Admission
    from service.policy.cost import CostModel
    from service.rtc.track import VideoTrack
    from service.session.session import Session

logger = logging.getLogger(__name__)

LOOK_INTERVAL_S: Final = 0.5
LEARN_INTERVAL_S: Final = 2.0
WARM_UP_S: Final = 3.0
"""A track's first frames are not like those that follow: a keyframe, and the network twice."""


class Cpu(Protocol):
    """The CPU budget and its use."""

    @property
    def quota_cores(self) -> float: ...
    def load_ratio(self) -> float: ...


@dataclass(slots=True)
class _Seen:
    """A track's counts when it was last learned from."""

    first_s: float
    frames: int
    cpu_s: float


class LoadWatch:
    """Looks at all sessions, again and again."""

    def __init__(
        self,
        *,
        sessions: Callable[[], Iterable[tuple[int, Session]]],
        admission: Admission,
        cost: CostModel,
        cpu: Cpu,
        lowered: Callable[[str], bool],
        short: Callable[[], bool],
        viewers_cpu_s: Callable[[], float] = lambda: 0.0,
        clock: Callable[[], float] = time.monotonic,
        process_time: Callable[[], float] = time.process_time,
    ) -> None:
        """``sessions`` lists them with the places that they hold in ``admission``; ``lowered``
        tells by its id whether one is below the highest quality level, ``short`` whether any is
        because they need more CPU together than there is; ``viewers_cpu_s`` is what encoding for
        viewers has used so far, which no session's frames are to be blamed for."""
        self._sessions = sessions
        self._admission = admission
        self._cost = cost
        self._cpu = cpu
        self._lowered = lowered
        self._short = short
        self._clock = clock
        self._process_time = process_time
        self._viewers_cpu_s = viewers_cpu_s
        self._seen: WeakKeyDictionary[VideoTrack, _Seen] = WeakKeyDictionary()
        self._learned_s = clock()
        self._process_s = self._sessions_cpu_s()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            try:
                self.look()
            except Exception:  # admission goes on with what it knew: never the service's end
                logger.exception("a fault while the load was looked at")

    def look(self) -> None:
        """Once. Takes a fraction of a millisecond, and a little more where files of /proc are
        due to be read again."""
        now_s = self._clock()
        tracks: list[tuple[VideoTrack, bool]] = []
        for place, session in self._sessions():
            lowered = self._lowered(session.id)
            own = list(session.tracks.values())
            tracks += [(track, not lowered and track.typical) for track in own]
            # What a lowered one would need at the highest level cannot be seen: it keeps its own.
            if not lowered:
                self._admission.resize(place, _demands(own, session.spec.max_fps, now_s), now_s)
        self._admission.see(
            quota_cores=self._cpu.quota_cores,
            load_ratio=self._cpu.load_ratio(),
            short=self._short(),
        )
        if now_s - self._learned_s >= LEARN_INTERVAL_S:
            self._learn(tracks, now_s)

    def _learn(self, tracks: Iterable[tuple[VideoTrack, bool]], now_s: float) -> None:
        spent = [self._spent(track, typical, now_s) for track, typical in tracks]
        process_s, elapsed_s = self._sessions_cpu_s(), now_s - self._learned_s
        self._cost.learn(
            [one for one in spent if one is not None],
            process_cpu_s=process_s - self._process_s,
            elapsed_s=elapsed_s,
        )
        self._process_s, self._learned_s = process_s, now_s

    def _sessions_cpu_s(self) -> float:
        return self._process_time() - self._viewers_cpu_s()

    def _spent(self, track: VideoTrack, typical: bool, now_s: float) -> Spent | None:
        figures = track.figures
        frames, cpu_s = figures.frames["processed"], figures.cpu_seconds
        if (seen := self._seen.get(track)) is None:
            if frames:
                self._seen[track] = _Seen(now_s, frames, cpu_s)
            return None
        spent = Spent(
            pixels=figures.width * figures.height,
            frames=frames - seen.frames,
            cpu_s=cpu_s - seen.cpu_s,
            typical=typical and now_s - seen.first_s >= WARM_UP_S,
        )
        seen.frames, seen.cpu_s = frames, cpu_s
        return spent


def _demands(tracks: Iterable[VideoTrack], max_fps: int, now_s: float) -> list[Demand]:
    """What the tracks that send frames ask for."""
    demands = []
    for track in tracks:
        figures = track.figures
        fps = min(float(max_fps), figures.fps_in(now_s))
        if fps > 0 and figures.width:
            demands.append(Demand(figures.width * figures.height, fps))
    return demands
