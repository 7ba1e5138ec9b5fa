"""SPINE of the quality levels: readings -> what each session needs -> steps down and up.

    Readings --strain.py--> too little CPU? --ladder.py--> a step for each session --levels.py-->

Pure: time and everything that is measured is passed in. session/quality.py reads the clocks and
carries out what is decided. Not for use from several threads, but for `counts`.

One ladder is for all sessions together and is fair: their steps on it differ by one at most. A
session whose own frames are too much for the one thread that works on them at a time goes further
down by itself, on a ladder of its own; no other session would gain from sharing that.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from service.policy.ladder import SETTLE_S, Ladder
from service.policy.levels import LADDER, Level, Savings
from service.policy.strain import HIGH, LATE_S, Readings, Smoothed, Strain, Work

if TYPE_CHECKING:
    from collections.abc import Mapping

LEARN_AFTER_S: Final = 2 * SETTLE_S
"""A session's cost on another step is believed after this."""


@dataclass(frozen=True, slots=True)
class Change:
    """One session goes to another level."""

    session: str
    before: Level
    after: Level

    @property
    def lowered(self) -> bool:
        return self.after.step > self.before.step


@dataclass(slots=True)
class _Member:
    """What is known of one session."""

    own: Ladder
    step: int
    "That it is on: the lower one of the shared ladder's and its own."
    effect: bool = True
    fps: Smoothed = field(default_factory=Smoothed)
    frame_cpu_s: Smoothed = field(default_factory=Smoothed)
    changed_s: float = float("-inf")
    lesson: tuple[int, float] | None = None
    "The step before the last change, and a frame's CPU seconds there, until that was learned."
    full_since_s: float | None = None
    "Its frames have been too much for one thread since."

    @property
    def cores(self) -> float:
        """CPU that it needs, as it is now."""
        return self.fps.value * self.frame_cpu_s.value

    def see(self, work: Work, span_s: float) -> None:
        self.effect = work.effect
        self.fps.see(work.received / span_s, span_s)
        if (frame_cpu_s := work.frame_cpu_s) is not None:
            self.frame_cpu_s.see(frame_cpu_s, span_s)


class Quality:
    """The level of every session."""

    def __init__(self, lowest: Level = Level.BACKGROUND) -> None:
        """No session goes below `lowest`; with `full` nothing ever changes."""
        self._lowest = lowest
        self._shared = Ladder(lowest)
        self._strain = Strain()
        self._savings = Savings()
        self._other_cores = Smoothed()
        self._members: dict[str, _Member] = {}

    def level(self, session: str) -> Level:
        """`full` for a session that was not in any readings yet."""
        member = self._members.get(session)
        return Level.FULL if member is None else LADDER[member.step]

    def counts(self) -> Mapping[Level, int]:
        """How many sessions are on each level. From any thread."""
        counted = Counter(member.step for member in list(self._members.values()))
        return {level: counted[level.step] for level in LADDER}

    @property
    def short(self) -> bool:
        """Whether any session is below `full` because there is too little for all of them."""
        return any(self._shared.steps.values())

    def tick(self, readings: Readings) -> list[Change]:
        """What has to change after these readings, which come several times a second."""
        self._meet(readings)
        self._see(readings)
        self._learn(readings.now_s)
        if self._members:
            self._share(readings)
            for name in self._members:
                self._alone(name, readings.now_s)
        return self._settle(readings.now_s)

    def _meet(self, readings: Readings) -> None:
        for name in self._members.keys() - readings.sessions.keys():
            del self._members[name]
            self._shared.leave(name)
        for name in readings.sessions:
            if name not in self._members:
                own = Ladder(self._lowest)
                own.join(name)
                self._shared.join(name)
                # It begins where it is, at full: the step to the others' is a change like any.
                self._members[name] = _Member(own, 0)

    def _see(self, readings: Readings) -> None:
        self._strain.see(readings)
        for name, work in readings.sessions.items():
            self._members[name].see(work, readings.span_s)
        # What does not belong to frames: packets, the event loop, the service's neighbours.
        jobs_s = sum(work.cpu_s for work in readings.sessions.values())
        self._other_cores.see(max(0.0, readings.used_s - jobs_s) / readings.span_s, readings.span_s)

    def _learn(self, now_s: float) -> None:
        for member in self._members.values():
            if member.lesson is None or now_s - member.changed_s < LEARN_AFTER_S:
                continue
            step, before_s = member.lesson
            member.lesson = None
            if member.effect and before_s > 0 and member.frame_cpu_s.value > 0:
                self._savings.learn(step, member.step, member.frame_cpu_s.value / before_s)

    def _share(self, readings: Readings) -> None:
        quota_cores = readings.quota_cores
        members = self._members
        frames_cores = sum(member.cores for member in members.values())
        need = (self._other_cores.value + frames_cores) / quota_cores

        def cost(name: str, step: int) -> float:
            member = members[name]
            return self._predicted(member, max(step, member.own.steps[name])) / quota_cores

        self._shared.decide(
            readings.now_s,
            need,
            cost,
            overloaded=self._strain.overloaded(need, readings.now_s),
            strained=self._strain.saturated or self._strain.late or need >= HIGH,
            losing=self._strain.losing(need),
        )

    def _alone(self, name: str, now_s: float) -> None:
        """Whether one thread, which is all that works on a session at a time, is enough for it."""
        member = self._members[name]
        full = member.cores >= HIGH
        if not full:
            member.full_since_s = None
        elif member.full_since_s is None:
            member.full_since_s = now_s
        lasting = member.full_since_s is not None and now_s - member.full_since_s >= LATE_S

        def cost(_: str, step: int) -> float:
            return self._predicted(member, max(step, self._shared.steps[name]))

        member.own.decide(
            now_s,
            member.cores,
            cost,
            overloaded=lasting,
            strained=full,
            losing=member.cores >= 1.0,  # there is one thread for it, and no more
        )

    def _predicted(self, member: _Member, step: int) -> float:
        """The cores that it would need there."""
        return member.cores * self._savings.ratio(member.step, step, effect=member.effect)

    def _settle(self, now_s: float) -> list[Change]:
        changes = []
        for name, member in self._members.items():
            step = max(self._shared.steps[name], member.own.steps[name])
            if step == member.step:
                continue
            changes.append(Change(name, LADDER[member.step], LADDER[step]))
            # What changes twice within a moment teaches nothing: no figure in between was true.
            settled = member.lesson is None and now_s - member.changed_s >= LEARN_AFTER_S
            member.lesson = (member.step, member.frame_cpu_s.value) if settled else None
            # The prediction stands until frames have been measured on the new step.
            member.frame_cpu_s.scale(self._savings.ratio(member.step, step, effect=member.effect))
            member.step, member.changed_s = step, now_s
        if any(change.lowered for change in changes):
            self._strain.lowered()
        return changes
