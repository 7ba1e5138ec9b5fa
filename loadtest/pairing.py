"""Which returned frame is which sent frame, from the numbers in the lead-in.

Until enough numbers agree, or the lead-in is over, returned frames are decoded and read. Where no
number survived (the place is not on the person, the effect covers it), the first frame that came
back is taken for the first that was sent, and the result says that this was assumed: it holds for
a server that was ready when the client began to send, and is a frame or more off otherwise.

From then on frames are told apart by the distances of their RTP timestamps alone. `again` has
numbers read anew, to see whether that still holds: a server that renumbers its frames, after a
drop or a change of size, would else be given a latency that is wrong by whole frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import av

from loadtest import stamp
from loadtest.clip import Codec, luma_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from av.video.codeccontext import VideoCodecContext

    from loadtest.clip import EncodedClip

WANTED_READINGS = 5
"""That many in a row have to say the same."""
LOOKS_PER_NUMBER = 3
"""A late server is still sending the lead-in when the client has begun the loop."""
LOOKS_AGAIN_S = 10
"""How late a server may be for its numbers to be found when they are played again."""


class Pairing:
    """Finds how many frames were sent before the first one that came back."""

    def __init__(self, clip: EncodedClip) -> None:
        self.shift = 0
        "Sent minus returned number of the same frame."
        self.known = False
        "Read from the pictures, not assumed."
        self.verified = 0
        "Times that numbers read again said the same."
        self.mispaired = 0
        "Times that they said something else, which was then taken over."
        self._clip = clip
        self._decoder: VideoCodecContext | None = None
        self._looks_left = LOOKS_PER_NUMBER * clip.numbered
        self._agreeing = 0
        self._candidate: int | None = None

    @property
    def over(self) -> bool:
        """Whether nothing is to be read now."""
        return self._looks_left <= 0

    def again(self) -> None:
        """Numbers are being sent again, and a keyframe is on its way."""
        self._looks_left = LOOKS_AGAIN_S * self._clip.fps
        self._agreeing, self._candidate, self._decoder = 0, None, None

    def look(self, returned: int, data: bytes, sent_at: Callable[[int], int | None]) -> None:
        """One returned frame, in order. `sent_at` tells a clip frame's number as it was sent."""
        self._looks_left -= 1
        for picture in self._decoded(data):
            number = stamp.read(luma_of(picture), self._clip.place)
            sent = None if number is None else sent_at(number)
            if sent is not None:
                self._agree(sent - returned)

    def _agree(self, shift: int) -> None:
        self._agreeing = self._agreeing + 1 if shift == self._candidate else 1
        self._candidate = shift
        if self._agreeing < WANTED_READINGS:
            return
        if self.known and shift == self.shift:
            self.verified += 1
        elif self.known:
            self.mispaired += 1
        self.shift, self.known = shift, True
        self._looks_left, self._decoder = 0, None

    def _decoded(self, data: bytes) -> list[av.VideoFrame]:
        if self._decoder is None:
            name = "h264" if self._clip.codec is Codec.H264 else "vp8"
            self._decoder = cast("VideoCodecContext", av.CodecContext.create(name, "r"))
            self._decoder.thread_count = 1
            self._decoder.options = {"flags": "+low_delay"}
        try:
            return self._decoder.decode(av.Packet(data))
        except av.FFmpegError:
            return []  # its keyframe is still to come
