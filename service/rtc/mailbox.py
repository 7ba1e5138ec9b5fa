"""Encoded frames on their way from the event loop to the track's worker, bounded.

Neighbours: receiver.py posts, track.py takes. Decoding is cheap and every frame may be a reference
for the next, so none is skipped before decoding; newest-wins happens right after it (track.py).
Only when the worker is so late that the bound is reached is everything up to a keyframe dropped.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.rtc.jitter import EncodedFrame

CAPACITY_FRAMES = 45
"""1.5 s at 30 fps: a worker that is further behind starts over at a keyframe."""


class Mailbox:
    """A queue of encoded frames that drops from a full queue up to the next keyframe.

    Not thread-safe: both ends run on the event loop.
    """

    def __init__(self, capacity_frames: int = CAPACITY_FRAMES) -> None:
        self._capacity = capacity_frames
        self._frames: deque[EncodedFrame] = deque()
        self.dropped = 0
        self.needs_keyframe = False
        "Set after an overflow, until a keyframe has been posted: what comes before is undecodable."

    def __len__(self) -> int:
        return len(self._frames)

    def post(self, frame: EncodedFrame) -> bool:
        """Add a frame. False when it was dropped and a keyframe should be asked for."""
        if frame.keyframe:
            if len(self._frames) >= self._capacity:
                self._drop_all()
            self.needs_keyframe = False
        elif self.needs_keyframe:
            self.dropped += 1
            return False
        elif len(self._frames) >= self._capacity:
            self._drop_all()
            self.dropped += 1
            self.needs_keyframe = True
            return False
        self._frames.append(frame)
        return True

    def take(self) -> list[EncodedFrame]:
        """Everything that waits, oldest first; the mailbox is empty afterwards."""
        frames = list(self._frames)
        self._frames.clear()
        return frames

    def _drop_all(self) -> None:
        self.dropped += len(self._frames)
        self._frames.clear()
