"""SPINE of a picture to one viewer: shown -> encoded -> sent. As track.py, from the composing on.

    audience.py --picture--> one slot, newest wins --> one worker job --payloads--> sender.py

Each viewer has an encoder of its own: a bitrate by its own path, a keyframe when it asks for one,
and a fault or a slow network that nobody else notices. What it is given is a `Composited` by its
type (showing.py), and it encodes a share of that (frame/composite.py: Sharer), so that neither its
time nor its faults touch the track's picture.

Fail closed: the camera as it came has a type of its own, `ShownUntouched`, which knows whom to ask
whether the session has no effect still. It is asked where track.py asks: before the picture is
encoded, before it is sent, and before a lost packet of it is repeated.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import av
from aiortc import clock

from service.frame.composite import Sharer
from service.rtc.bitrate import BitrateControl, KeyframeRequests
from service.rtc.codecs import Codec, Encoder
from service.rtc.faults import FaultLog
from service.rtc.showing import ShownUntouched
from service.rtc.timestamps import LONGEST_STEP_TICKS, NOMINAL_STEP_TICKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiortc.rtcrtpparameters import RTCRtpCodecParameters

    from service.frame.composite import Composited, Untouched
    from service.rtc.sender import Sender
    from service.rtc.showing import AnyShown
    from service.workers import Workers


logger = logging.getLogger(__name__)


class ViewerCounters(Protocol):
    """Where what viewers cost is counted; called on the event loop."""

    def stage(self, stage: str, wall_s: float, cpu_s: float) -> None: ...
    def viewer_frame(self, event: str) -> None: ...


class Timeline:
    """Presentation times that grow, whatever the tracks that follow each other count from."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._pts = 0

    def place(self, pts: int) -> int:
        """Both in ticks of 90 kHz."""
        if self._last is not None:
            passed = pts - self._last
            # Another track begins at zero: the camera's page was reloaded.
            self._pts += passed if 0 < passed <= LONGEST_STEP_TICKS else NOMINAL_STEP_TICKS
        self._last = pts
        return self._pts


@dataclass(slots=True)
class _Encoded:
    payloads: list[bytes] = field(default_factory=list)
    wall_s: float = 0.0
    cpu_s: float = 0.0


class Screen:
    """The video of one viewer."""

    def __init__(
        self,
        *,
        sender: Sender,
        workers: Workers,
        counters: ViewerCounters,
        paused: Callable[[], bool],
        on_first_frame: Callable[[], None] = lambda: None,
    ) -> None:
        """`paused`: whether nothing is to be sent for now, because nothing is heard of the
        viewer; `on_first_frame` is told when a picture has been sent."""
        self.cpu_seconds = 0.0
        self.frames = {"sent": 0, "dropped": 0}
        self.width = 0
        self.height = 0
        self._sender = sender
        self._workers = workers
        self._counters = counters
        self._paused = paused
        self._on_first_frame = on_first_frame
        self._newest: AnyShown | None = None
        "The mailbox: one slot."
        self._posted = asyncio.Event()
        self._bitrate = BitrateControl()
        self._keyframes = KeyframeRequests()
        self._keyframe_owed = False
        self._timeline = Timeline()
        self._raw_wanted: Callable[[], bool] = _never
        "By the newest picture: whether what shows the camera as it came may be sent again."
        self._log = FaultLog(logger)
        # Only the worker job touches these.
        self._sharer = Sharer()
        self._encoder: Encoder | None = None
        self._raw_referred_to = False
        "The encoder predicts from a picture of the camera as it came."
        self._working = threading.Lock()
        "Held by the job, and by release()."
        sender.on_keyframe_request = self._keyframes.ask
        sender.on_estimate = self._estimated
        sender.on_codec = self._negotiated
        sender.may_repeat_raw = lambda: self._raw_wanted()

    def show(self, shown: AnyShown) -> None:
        """The newest picture; one that still waits is dropped. Never waits, never raises."""
        self._raw_wanted = shown.wanted if isinstance(shown, ShownUntouched) else _never
        if not self._sender.negotiated or self._paused():
            return
        if self._newest is not None:
            self._count("dropped")
        self._newest = shown
        self._posted.set()

    async def run(self) -> None:
        """Until cancelled: encode and send what is shown, one job at a time."""
        while True:
            await self._posted.wait()
            self._posted.clear()
            shown, self._newest = self._newest, None
            if shown is None:
                continue
            keyframe = self._keyframes.due(now_s=time.monotonic()) or self._keyframe_owed
            frame = shown.picture.frame
            self.width, self.height = frame.width, frame.height
            bitrate_bps = self._bitrate.choose(self.width, self.height, now_s=time.monotonic())
            try:
                encoded = await self._workers.run(self._try, shown, keyframe, bitrate_bps)
                self._keyframe_owed = keyframe and not encoded.payloads
                self._send(shown, encoded)
            except Exception:  # sending failed in a way nobody thought of: never the viewer's end
                self._log.fault("a fault in a viewer's sender cost a picture")
                self._keyframe_owed = True
            del shown, frame  # the pixels are held no longer than they are worked on

    def release(self) -> None:
        """Let go of the encoder and the picture, for good; run() has ended. May wait for a job
        that still runs: not to be called on the event loop."""
        with self._working:
            self._encoder = self._newest = None
            self._sender.forget()

    def describe(self) -> dict[str, object]:
        return {
            "width": self.width,
            "height": self.height,
            "cpu_seconds": round(self.cpu_seconds, 3),
            "frames": dict(self.frames),
        }

    def _estimated(self, bps: int) -> None:
        self._bitrate.estimate(bps, now_s=time.monotonic())

    def _negotiated(self, codec: RTCRtpCodecParameters) -> None:
        self._encoder = Encoder(Codec(codec.name))

    # In the worker's thread.

    def _try(self, shown: AnyShown, keyframe: bool, bitrate_bps: int) -> _Encoded:
        """The job; a fault costs its picture, never the viewer."""
        with self._working:
            encoder = self._encoder
            if encoder is None:  # the viewer has left while this waited for its turn
                return _Encoded()
            if _unwanted(shown):  # an effect was switched on while this waited for its turn
                return _Encoded()
            raw = isinstance(shown, ShownUntouched)
            wall_s, cpu_s = time.monotonic(), time.thread_time()
            encoded = _Encoded()
            try:
                picture = self._share(shown)
                # What was lost of the camera is not repeated, so nothing must refer to it.
                covers = self._raw_referred_to and not raw
                self._raw_referred_to |= raw
                encoded.payloads = encoder.encode(
                    picture.frame, keyframe=keyframe or covers, bitrate_bps=bitrate_bps
                )
                self._raw_referred_to = raw
            except (av.FFmpegError, ValueError, OSError):
                self._log.fault("a fault in a viewer's encoder cost a picture")
            encoded.wall_s = time.monotonic() - wall_s
            encoded.cpu_s = time.thread_time() - cpu_s
            return encoded

    def _share(self, shown: AnyShown) -> Composited | Untouched:
        if isinstance(shown, ShownUntouched):
            return self._sharer.share_untouched(shown.picture)
        return self._sharer.share(shown.picture)

    # On the event loop again.

    def _send(self, shown: AnyShown, encoded: _Encoded) -> None:
        self.cpu_seconds += encoded.cpu_s
        if encoded.wall_s:  # also what nobody is sent: what it took is told of alike everywhere
            self._counters.stage("encode", encoded.wall_s, encoded.cpu_s)
        if not encoded.payloads:
            self._count("dropped")
            return
        if _unwanted(shown):
            # Switched on while the picture was being encoded: it never leaves, and what is encoded
            # next must not refer to it.
            self._keyframe_owed = True
            self._count("dropped")
            return
        age_s = time.monotonic() - shown.arrived_s
        self._sender.send_frame(
            encoded.payloads,
            timestamp=self._timeline.place(shown.pts),
            ntp=clock.current_ntp_time() - int(age_s * (1 << 32)),
            raw=isinstance(shown, ShownUntouched),
        )
        self._bitrate.sent(sum(map(len, encoded.payloads)), now_s=time.monotonic())
        if not self.frames["sent"]:
            self._on_first_frame()
        self._count("sent")

    def _count(self, event: str) -> None:
        self.frames[event] += 1
        self._counters.viewer_frame(event)


def _unwanted(shown: AnyShown) -> bool:
    """Whether it shows the camera as it came, and no longer may."""
    return isinstance(shown, ShownUntouched) and not shown.wanted()


def _never() -> bool:
    return False
