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
    from loadtest.clip import EncodedClip


class Player(MediaStreamTrack):
    """Plays a clip in real time once `start` has been called; aiortc sends packets as they are."""

    kind = "video"

    def __init__(self, clip: EncodedClip, *, loop: bool = True) -> None:
        super().__init__()
        self.played: list[int] = []
        "Indices of the clip's frames, in the order in which they were sent."
        self.ended = asyncio.Event()
        "The clip is over; never set when it loops."
        self.rewinds = 0
        self._clip = clip
        self._endless = loop
        self._next = 0
        self._go = asyncio.Event()
        self._started_s = 0.0
        self._time_base = fractions.Fraction(1, clip.fps)

    def start(self) -> None:
        self._started_s = time.monotonic()
        self._go.set()

    def rewind(self) -> None:
        """The receiver asks for a keyframe: play on from the last one."""
        if self._next and not self.ended.is_set():
            self._next = self._clip.keyframe_before(self._next - 1)
            self.rewinds += 1

    async def recv(self) -> av.Packet[Any]:
        if self.readyState != "live":
            raise MediaStreamError
        await self._go.wait()
        if self._next >= len(self._clip.frames):
            if not self._endless:
                self.ended.set()
                raise MediaStreamError
            self._next = self._clip.loop_from
        number = len(self.played)
        due_s = self._started_s + number / self._clip.fps
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        packet = av.Packet(self._clip.frames[self._next])
        packet.pts, packet.time_base = number, self._time_base
        self.played.append(self._next)
        self._next += 1
        return packet
