"""A camera that has been encoded already: a track that gives packets instead of pictures."""

from __future__ import annotations

import asyncio
import fractions
import time
from typing import TYPE_CHECKING, Any

import av
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.clip import EncodedClip

REPLAYED_S = 0.7
"""Of the lead-in, when its numbers are wanted again."""


class Player(MediaStreamTrack):
    """Plays a clip in real time once `start` has been called; aiortc sends packets as they are."""

    kind = "video"

    def __init__(
        self, clip: EncodedClip, *, loop: bool = True, replay_every_s: float | None = None
    ) -> None:
        """`replay_every_s`: the least time after which numbers are played again at the seam of
        the loop; None: never, unless `replay` is called."""
        super().__init__()
        self.count = 0
        "Frames that were given out."
        self.playing = 0
        "Index in the clip of the last of them."
        self.on_replay: Callable[[], None] = lambda: None
        "Called when numbers begin to be played again."
        self.ended = asyncio.Event()
        "The clip is over; never set when it loops."
        self.rewinds = 0
        self._clip = clip
        self._endless = loop
        self._replay_every_s = replay_every_s
        self._numbered_s = 0.0
        self._next = 0
        self._leave_at = len(clip.frames)
        "The loop goes on from its start after that many frames of the clip."
        self._go = asyncio.Event()
        self._started_s = 0.0
        self._time_base = fractions.Fraction(1, clip.fps)

    def start(self) -> None:
        self._started_s = self._numbered_s = time.monotonic()
        self._go.set()

    def replay(self) -> None:
        """Play the first numbers again, at once, and then the loop from its start."""
        self._next = 0
        self._leave_at = min(self._clip.numbered, round(REPLAYED_S * self._clip.fps))
        self._numbered_s = time.monotonic()
        self.on_replay()

    def rewind(self) -> None:
        """The receiver asks for a keyframe: play on from the last one."""
        if self._next and not self.ended.is_set():
            self._next = self._clip.keyframe_before(self._next - 1)
            self.rewinds += 1

    async def recv(self) -> av.Packet[Any]:
        if self.readyState != "live":
            raise MediaStreamError
        await self._go.wait()
        if self._next >= self._leave_at:
            self._at_the_seam()
        number = self.count
        due_s = self._started_s + number / self._clip.fps
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        packet = av.Packet(self._clip.frames[self._next])
        packet.pts, packet.time_base = number, self._time_base
        self.count += 1
        self.playing = self._next
        self._next += 1
        return packet

    def _at_the_seam(self) -> None:
        if not self._endless:
            self.ended.set()
            raise MediaStreamError
        replayed = self._leave_at < len(self._clip.frames)
        every_s = self._replay_every_s if self._clip.numbered and not replayed else None
        if every_s is not None and time.monotonic() - self._numbered_s >= every_s:
            self.replay()
        else:
            self._next, self._leave_at = self._clip.loop_from, len(self._clip.frames)
