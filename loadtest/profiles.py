"""When sessions come, and how long they stay: pure, and the same again for the same seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Arrival:
    """One session."""

    number: int
    at_s: float
    "Since the start of the run."
    stay_s: float | None
    "None: to the end of the run."


@dataclass(frozen=True, slots=True)
class AtOnce:
    """All in the same moment."""

    sessions: int

    def __str__(self) -> str:
        return f"{self.sessions} at once"

    def arrivals(self) -> Iterator[Arrival]:
        for number in range(self.sessions):
            yield Arrival(number, 0.0, None)


@dataclass(frozen=True, slots=True)
class Ramp:
    """One after the other."""

    sessions: int
    every_s: float

    def __str__(self) -> str:
        return f"{self.sessions}, one every {self.every_s:g} s"

    def arrivals(self) -> Iterator[Arrival]:
        for number in range(self.sessions):
            yield Arrival(number, number * self.every_s, None)


@dataclass(frozen=True, slots=True)
class Poisson:
    """As people come and go who know nothing of each other: exponential pauses between arrivals,
    exponential stays. On average rate times mean stay are there (Little's law)."""

    per_s: float
    mean_stay_s: float
    seed: int
    sessions: int | None
    "None: without end."

    def __str__(self) -> str:
        many = "" if self.sessions is None else f", {self.sessions} in all"
        return f"poisson {self.per_s:g}/s, {self.mean_stay_s:g} s each in the mean{many}"

    def arrivals(self) -> Iterator[Arrival]:
        chance = random.Random(self.seed)  # noqa: S311 (no secret)
        at_s, number = 0.0, 0
        while self.sessions is None or number < self.sessions:
            at_s += chance.expovariate(self.per_s)
            yield Arrival(number, at_s, chance.expovariate(1 / self.mean_stay_s))
            number += 1


Profile = AtOnce | Ramp | Poisson


def within(profile: Profile, seconds: float | None) -> tuple[Arrival, ...]:
    """Those that come before the run is over; None is when the last has left.

    Raises ValueError where there would be no end."""
    endless = isinstance(profile, Poisson) and profile.sessions is None
    if endless and seconds is None:
        raise ValueError("a Poisson run needs a number of sessions or of seconds")
    found = []
    for one in profile.arrivals():
        if seconds is not None and one.at_s >= seconds:
            break
        found.append(one)
    return tuple(found)
