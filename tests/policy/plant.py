"""A machine with sessions on it, as far as the quality levels can see it.

What is needed beyond the quota is not done: frames are merged, the cgroup is throttled, jobs wait.
What a level really saves is the plant's own and unknown to the policy, as it is in life.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.policy.levels import EXPECTED_RATIOS, LADDER, Level
from service.policy.strain import Readings, Work

if TYPE_CHECKING:
    from service.policy.quality import Change, Quality

TICK_S = 0.25
FPS = 30.0


@dataclass
class Plant:
    """Sessions that share a quota; each costs so many cores at `full`."""

    quality: Quality
    cores: dict[str, float]
    quota_cores: float = 1.0
    ratios: tuple[float, ...] = EXPECTED_RATIOS
    other_cores: float = 0.05
    thief_cores: float = 0.0
    "What another process takes of the same cores, which no figure of the service tells."
    noise: float = 0.0
    "Frames cost up to this share more or less, moment by moment."
    seed: int = 0
    effect: bool = True
    now_s: float = 0.0
    changes: list[tuple[float, Change]] = field(default_factory=list)
    widest: int = 0
    "The largest difference between the steps of two sessions, at any time."

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def level(self, session: str) -> Level:
        return self.quality.level(session)

    def steps(self) -> list[int]:
        return [self.quality.level(name).step for name in self.cores]

    def needed(self) -> float:
        """Cores that the sessions would use on the levels they are on, without noise."""
        return self.other_cores + sum(self._wanted(name) for name in self.cores)

    def _wanted(self, name: str) -> float:
        cores = self.cores[name]
        if self.effect:
            for ratio in self.ratios[: self.quality.level(name).step]:
                cores *= ratio
        return cores

    def readings(self, *, lag_s: float = 0.0) -> Readings:
        """One moment, and the clock goes on."""
        self.now_s += TICK_S
        wanted = {
            name: self._wanted(name) * (1 + self._random.uniform(-self.noise, self.noise))
            for name in self.cores
        }
        room = max(0.05, self.quota_cores - self.thief_cores)
        total = self.other_cores + sum(wanted.values())
        # Of each second of work that is wanted, so much gets done.
        done = min(1.0, room / total)
        use = total / room
        sessions = {name: self._work(cores, done, use) for name, cores in wanted.items()}
        held_back = max(0.0, 1 - done) if self.thief_cores == 0 else 0.0
        return Readings(
            now_s=self.now_s,
            span_s=TICK_S,
            quota_cores=self.quota_cores,
            used_s=min(total, room) * TICK_S,
            throttled_s=held_back * TICK_S,
            lag_s=lag_s,
            sessions=sessions,
        )

    def _work(self, cores: float, done: float, use: float) -> Work:
        frames = round(FPS * TICK_S)
        composed = max(1, round(frames * done))
        job_s = cores * TICK_S / frames
        # Waiting before a job: a queue of the others' jobs, of even service times.
        others = 1 - 1 / len(self.cores)
        waiting_s = 0.5 * others * use / (1 - use) * job_s if use < 1 else 1.0
        held_s = min(TICK_S, composed * (job_s + waiting_s))
        return Work(
            received=frames,
            taken=frames,
            merged=frames - composed,
            composed=composed,
            cpu_s=composed * job_s,
            waited_s=max(0.0, held_s - composed * job_s),
            wall_s=min(TICK_S, composed * job_s),
            effect=self.effect,
        )

    def run(self, seconds: float) -> list[tuple[float, Change]]:
        """What changed, and when."""
        before = len(self.changes)
        for _ in range(round(seconds / TICK_S)):
            readings = self.readings()
            self.changes += [(self.now_s, one) for one in self.quality.tick(readings)]
            steps = self.steps()
            if steps:
                self.widest = max(self.widest, max(steps) - min(steps))
        return self.changes[before:]


LOWEST_STEP = len(LADDER) - 1
