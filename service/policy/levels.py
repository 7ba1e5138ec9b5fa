"""The quality levels: what each one saves, and what it has been seen to save.

A level is what a session's tracks are worked on with while there is too little CPU; each saves
what the ones above it save, and something more. quality.py chooses them, rtc/track.py and
frame/pipeline.py carry them out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Level(Enum):
    """Highest first. The names are API: metrics, the session's JSON, a setting."""

    FULL = "full"
    "The person model is asked about every frame that moved."
    HALF = "half"
    "About every second one; in between its answer is carried along with what moves."
    THIRD = "third"
    SMALLER = "smaller"
    "The picture is also scaled down."
    FEWER = "fewer"
    "Also at half the frame rate."
    BACKGROUND = "background"
    "The background alone (blur: all of the picture, blurred beyond recognition); no model runs."

    @property
    def step(self) -> int:
        """Steps below the highest."""
        return LADDER.index(self)


LADDER: Final = tuple(Level)
SMALLER_SCALE: Final = 1 / 2
"""Of width and height. Scaling by anything but two costs more than the smaller picture saves:
3.1 ms of CPU at 1280x720 for two thirds, where encoding gets 2.1 ms cheaper."""
FEWER_FPS: Final = 15


@dataclass(frozen=True, slots=True)
class Effort:
    """What a level means to a track. Under the effect `none` there is no model to spare, and the
    camera's own size is kept for as long as there is another level to go to."""

    every: int = 1
    """The person model is asked about one of so many frames."""
    scale: float = 1.0
    """Of width and height."""
    fewer: bool = False
    """At most FEWER_FPS, and at most half of what the session allows."""
    background: bool = False
    """Nothing of the camera that could be recognised, and no model."""

    def max_fps(self, session_fps: int) -> float:
        """Frames a second, of a session that allows so many."""
        return min(FEWER_FPS, session_fps / 2) if self.fewer else session_fps


EFFORTS: Final = {
    Level.FULL: Effort(),
    Level.HALF: Effort(every=2),
    Level.THIRD: Effort(every=3),
    Level.SMALLER: Effort(every=3, scale=SMALLER_SCALE),
    Level.FEWER: Effort(every=3, scale=SMALLER_SCALE, fewer=True),
    Level.BACKGROUND: Effort(every=3, scale=SMALLER_SCALE, fewer=True, background=True),
}
FULL_EFFORT: Final = EFFORTS[Level.FULL]

EXPECTED_RATIOS: Final = (0.96, 0.97, 0.72, 0.68, 0.45)
"""CPU of a frame that arrives at each level below `full`, over that at the level above it, before
anything was seen: see the table of docs/performance.md."""
RELAY_RATIOS: Final = (1.0, 1.0, 1.0, 0.64, 0.65)
"""The same under `none`, where the first three levels change nothing."""
LEAST_RATIO: Final = 0.3
LEARNING: Final = 0.25
"""Weight of what one session has just shown: pictures differ."""


class Savings:
    """What a session costs at one level over what it costs at another, learned as they change."""

    def __init__(self) -> None:
        self._ratios = list(EXPECTED_RATIOS)

    def ratio(self, before: int, after: int, *, effect: bool) -> float:
        """Cost at the step `after` over that at `before`: below 1 on the way down."""
        if after < before:
            return 1 / self.ratio(after, before, effect=effect)
        product = 1.0
        for ratio in (self._ratios if effect else RELAY_RATIOS)[before:after]:
            product *= ratio
        return product

    def learn(self, before: int, after: int, seen: float) -> None:
        """A session with an effect cost `seen` times as much after it went from one step to the
        other. The surprise is shared out over the steps in between."""
        if after < before:
            before, after, seen = after, before, 1 / max(seen, 1e-6)
        steps = after - before
        if steps == 0:
            return
        surprise = max(seen, 1e-6) / self.ratio(before, after, effect=True)
        factor = surprise ** (LEARNING / steps)
        for step in range(before, after):
            self._ratios[step] = min(1.0, max(LEAST_RATIO, self._ratios[step] * factor))
