"""What each stage of a frame cost: wall time and CPU time of the thread that did it."""

from __future__ import annotations

import time
from enum import Enum
from typing import NamedTuple


class Stage(Enum):
    """The stages of the frame path, by the names that the metrics use."""

    FACES = "faces"
    PERSON = "person"
    MATTE = "matte"
    COMPOSITE = "composite"


class Cost(NamedTuple):
    """Seconds on the clock and seconds of CPU."""

    wall_s: float = 0.0
    cpu_s: float = 0.0


class Stages(NamedTuple):
    """The cost of one frame; zero for a stage that it did not need."""

    faces: Cost = Cost()
    person: Cost = Cost()
    matte: Cost = Cost()
    composite: Cost = Cost()

    def items(self) -> list[tuple[str, Cost]]:
        return [(stage.value, getattr(self, stage.value)) for stage in Stage]


class StageClock:
    """Gives all time since the last lap to the stage that was just done. One frame's use."""

    __slots__ = ("_cpu_s", "_spent", "_wall_s")

    def __init__(self) -> None:
        self._spent: dict[Stage, tuple[float, float]] = {}
        self._wall_s = time.perf_counter()
        self._cpu_s = time.thread_time()

    def lap(self, stage: Stage) -> None:
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        wall, cpu = self._spent.get(stage, (0.0, 0.0))
        self._spent[stage] = (wall + wall_s - self._wall_s, cpu + cpu_s - self._cpu_s)
        self._wall_s, self._cpu_s = wall_s, cpu_s

    def stages(self) -> Stages:
        return Stages(**{stage.value: Cost(*spent) for stage, spent in self._spent.items()})
