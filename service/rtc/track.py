"""SPINE of a video frame through the service: arrived -> decoded -> composed -> encoded -> sent.

    receiver.py --frame--> Mailbox --all that wait--> one worker job --payloads--> sender.py
                                                            |--a share of the picture--> showing.py

One job at a time per track runs in a thread of the workers: decoding, the frame path and
encoding in one go. The picture stays in one core's caches and the event loop is crossed twice a
frame. The job decodes everything that waits (later frames refer to earlier ones) and composes only
the newest, so a late worker drops pictures and never falls further behind.

Fail closed: what the job hands to the encoder passes `_admit`, which asks the session itself for
the effect that is wanted, and lets nothing but a `Composited` pass while one is on. The wish is
kept in one place (session/looks.py) and asked for at each step, never copied.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import av
from aiortc import clock

from service.frame.composite import Composited, Sharer, Untouched
from service.policy.effects import Nothing
from service.policy.levels import FULL_EFFORT
from service.rtc.bitrate import BitrateControl, KeyframeRequests
from service.rtc.codecs import VIDEO_CLOCK_HZ, Codec, Decoder, Encoder
from service.rtc.faults import FaultLog
from service.rtc.figures import TrackFigures
from service.rtc.mailbox import Mailbox
from service.rtc.showing import Shown, ShownUntouched
from service.rtc.timestamps import TimestampMapper

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiortc.rtcrtpparameters import RTCRtpCodecParameters

    from service.frame.look import Look
    from service.frame.pipeline import Pipeline
    from service.policy.levels import Effort
    from service.policy.strain import Work
    from service.rtc.jitter import EncodedFrame
    from service.rtc.receiver import VideoReceiver
    from service.rtc.sender import Sender
    from service.rtc.showing import Showing
    from service.workers import Workers


logger = logging.getLogger(__name__)

FAULTS = frozenset({"frame_error", "encode_error", "fault"})
"""Reasons of a drop that no peer, no load and nobody's wish can be the cause of."""
FPS_TOLERANCE = 0.5
"""A frame may come this share of an interval before it is due: cameras are not exact."""


class FrameCounters(Protocol):
    """Where frames, stages and latencies are counted; called from worker threads too."""

    def frame(self, event: str, n: int = 1) -> None: ...
    def frame_dropped(self, reason: str, n: int = 1) -> None: ...
    def raw_frame(self) -> None: ...
    def stage(self, stage: str, wall_s: float, cpu_s: float) -> None: ...
    def latency(self, seconds: float) -> None: ...
    def person_changed(self, state: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Order:
    """What one worker job is to do."""

    frames: list[EncodedFrame]
    keyframe: bool
    posted_s: float
    "When it was given to the workers, monotonic clock."


@dataclass(slots=True)
class Outcome:
    """What one worker job did."""

    payloads: list[bytes] = field(default_factory=list)
    composed: bool = False
    "A picture came out: encoded, or of a track that is not sent back."
    shared: Composited | Untouched | None = None
    "The picture, for those who are shown it."
    pts: int = 0
    width: int = 0
    height: int = 0
    arrived_s: float = 0.0
    untouched: bool = False
    "The picture is the camera as it came: only allowed while no effect is on."
    dropped: dict[str, int] = field(default_factory=dict)
    raw: int = 0
    away: bool | None = None
    "Whether nobody has been in view for a while; None: nobody looked."
    reference_lost: bool = False
    "The decoder met data that it could not use: a keyframe is needed."
    wall_s: dict[str, float] = field(default_factory=dict)
    cpu_s: dict[str, float] = field(default_factory=dict)
    total_cpu_s: float = 0.0
    taken: int = 0
    "Frames that it was given."
    waited_s: float = 0.0
    "For a thread."
    job_s: float = 0.0
    "Wall time from there on."

    def drop(self, reason: str, count: int = 1) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + count


class VideoTrack:
    """One camera of one peer, with a pipeline, a decoder and an encoder of its own."""

    def __init__(
        self,
        *,
        mid: str,
        receiver: VideoReceiver,
        sender: Sender,
        returned: bool,
        showing: Showing,
        make_pipeline: Callable[[Look], Pipeline],
        wanted: Callable[[], Look],
        max_fps: int,
        turn: asyncio.Semaphore,
        workers: Workers,
        counters: FrameCounters,
        on_away: Callable[[bool], None],
        on_fault: Callable[[], None],
        on_first_frame: Callable[[], None] = lambda: None,
    ) -> None:
        """`wanted` is what the session wants this track to look like, at any time and from any
        thread; `returned`: whether its pictures go back to the peer, besides being shown to
        whoever watches `showing`; `turn` is shared by a peer's tracks: one of them works at a
        time; `on_away` is told on the event loop when the person goes away (True) or is back, and
        `on_fault` when a fault of the service's own cost a frame; `on_first_frame` when one has
        been sent."""
        self.mid = mid
        self.figures = TrackFigures()
        self._away = False
        self._away_changed_at: float | None = None
        self._on_away = on_away
        self._on_fault = on_fault
        self._on_first_frame = on_first_frame
        self._wanted = wanted
        self._receiver = receiver
        self._sender = sender
        self._returned = returned
        self._showing = showing
        self._max_fps = max_fps
        self._effort = FULL_EFFORT
        self._turn = turn
        self._workers = workers
        self._counters = counters
        self._mailbox = Mailbox()
        self._mailbox_dropped = 0
        self._posted = asyncio.Event()
        self._bitrate = BitrateControl()
        self._keyframes = KeyframeRequests()
        self._fresh_start = False
        "An encoded picture was withheld: the receiver has to start over at a keyframe."
        self._log = FaultLog(logger)
        # Only the worker job touches these.
        self._decoder: tuple[Codec, Decoder] | None = None
        self._encoder: Encoder | None = None
        self._shown = wanted()
        self._pipeline: Pipeline | None = make_pipeline(self._shown)
        self._working = threading.Lock()
        "Held by the job, and by release()."
        self._sharer = Sharer()
        self._timestamps = TimestampMapper()
        self._due_pts: int | None = None
        self._last_untouched = False
        receiver.on_frame = self._post
        receiver.on_undecodable = self._undecodable
        sender.on_keyframe_request = self._keyframes.ask
        sender.on_estimate = self._estimated
        sender.on_codec = self._negotiated
        sender.may_repeat_raw = self._raw_is_wanted

    @property
    def round_trip_s(self) -> float | None:
        return self._sender.round_trip_s

    def spend(self, effort: Effort) -> None:
        """Another quality level, from the next frame on. Replacing one reference is atomic."""
        self._effort = effort
        if (pipeline := self._pipeline) is not None:
            pipeline.spend(effort)

    def work(self) -> Work:
        """What it has done so far; a copy."""
        return dataclasses.replace(self.figures.work, effect=not self._raw_is_wanted())

    @property
    def typical(self) -> bool:
        """Whether a frame costs what it costs with an effect on, somebody in view, and an encoder
        of its own."""
        return self._returned and not (self._away or self._raw_is_wanted())

    def describe(self, now_s: float) -> dict[str, object]:
        changed_at = self._away_changed_at
        return {
            "mid": self.mid,
            "person": _person(self._away),
            "person_changed_at": None if changed_at is None else round(changed_at, 3),
            **self.figures.describe(now_s),
        }

    async def run(self) -> None:
        """Until cancelled: work on what arrives, one job at a time."""
        while True:
            await self._posted.wait()
            self._posted.clear()
            try:
                # The order is made when it is this track's turn: what came meanwhile is in it.
                async with self._turn:
                    if not self._ready or not len(self._mailbox):
                        continue
                    order = self._order()
                    outcome = await self._workers.run(self._try, order)
                # A keyframe that was asked for and not made is still owed.
                self._fresh_start |= order.keyframe and not outcome.payloads
                self._send(outcome)
            except Exception:  # sending failed in a way nobody thought of: never the track's end
                self._log.fault("a fault in the sender cost a frame")
                self._fresh_start = True

    @property
    def _ready(self) -> bool:
        return self._sender.negotiated or not self._returned

    def _raw_is_wanted(self) -> bool:
        return isinstance(self._wanted().effect, Nothing)

    def _estimated(self, bps: int) -> None:
        self._bitrate.estimate(bps, now_s=time.monotonic())

    def _negotiated(self, codec: RTCRtpCodecParameters) -> None:
        self._encoder = Encoder(Codec(codec.name))

    def _post(self, frame: EncodedFrame) -> None:
        self._counters.frame("received")
        self.figures.received(time.monotonic())
        if not self._mailbox.post(frame):
            self._receiver.ask_keyframe()
        if (dropped := self._mailbox.dropped - self._mailbox_dropped) > 0:
            self._mailbox_dropped = self._mailbox.dropped
            self.figures.dropped(dropped)
            self.figures.work.overloaded += dropped
            self._counters.frame_dropped("overload", dropped)
        self._posted.set()

    def _undecodable(self, count: int) -> None:
        self.figures.dropped(count)
        self._counters.frame_dropped("no_reference", count)

    def release(self) -> None:
        """Let go of the codecs and of the frame path's buffers, for good; run() has ended.

        The objects of a connection refer to each other in circles, and Python looks for circles
        rarely: until then twenty ended calls would hold a hundred megabytes. May wait for a job
        that still runs: not to be called on the event loop.
        """
        with self._working:
            self._pipeline = self._decoder = self._encoder = None
            self._mailbox.take()
            self._sender.forget()

    def _order(self) -> Order:
        now_s = time.monotonic()
        keyframe = self._keyframes.due(now_s=now_s) or self._fresh_start
        self._fresh_start = False
        return Order(self._mailbox.take(), keyframe, now_s)

    # In the worker's thread.

    def _try(self, order: Order) -> Outcome:
        """The job; a fault costs its frames, never the track."""
        with self._working:
            pipeline = self._pipeline
            if pipeline is None:  # the track has ended while this waited for its turn
                return Outcome()
            try:
                return self._work(order, pipeline)
            except Exception:
                self._log.fault("a fault in the job cost a frame")
                self._decoder = None
                lost = Outcome(reference_lost=True)
                lost.drop("fault", len(order.frames))
                return lost

    def _work(self, order: Order, pipeline: Pipeline) -> Outcome:
        started_s, started_cpu_s = time.monotonic(), time.thread_time()
        outcome = Outcome(taken=len(order.frames), waited_s=started_s - order.posted_s)
        newest = self._decode(order.frames, outcome)
        if newest is not None:
            frame, outcome.arrived_s = newest
            outcome.pts = frame.pts or 0
            effort = self._effort
            if self._too_early(outcome.pts, effort):
                outcome.drop("quality" if effort.fewer else "max_fps")
            else:
                self._compose_and_encode(pipeline, frame, order, outcome)
        outcome.total_cpu_s = time.thread_time() - started_cpu_s
        outcome.job_s = time.monotonic() - started_s
        return outcome

    def _decode(
        self, frames: list[EncodedFrame], outcome: Outcome
    ) -> tuple[av.VideoFrame, float] | None:
        """Decode all of them; the newest picture and when it arrived."""
        wall_s, cpu_s = time.monotonic(), time.thread_time()
        newest: tuple[av.VideoFrame, float] | None = None
        for frame in frames:
            if self._decoder is None or self._decoder[0] is not frame.codec:
                self._decoder = (frame.codec, Decoder(frame.codec))
            try:
                pictures = self._decoder[1].decode(
                    frame.data, self._timestamps.map(frame.timestamp)
                )
            except av.FFmpegError as exc:
                outcome.drop("decode_error")
                outcome.reference_lost = True
                self._log.warn("a frame could not be decoded: %s", exc)
                continue
            for picture in pictures:
                if newest is not None:
                    outcome.drop("newer_frame")
                newest = (picture, frame.arrived_s)
        outcome.wall_s["decode"] = time.monotonic() - wall_s
        outcome.cpu_s["decode"] = time.thread_time() - cpu_s
        return newest

    def _too_early(self, pts: int, effort: Effort) -> bool:
        """Whether the frame rate of the session, or of its level, has no room for this picture."""
        interval, due = int(VIDEO_CLOCK_HZ / effort.max_fps(self._max_fps)), self._due_pts
        if due is None or not -interval <= pts - due <= interval:
            self._due_pts = pts + interval  # the first one, or one after a gap
            return False
        if pts < due - FPS_TOLERANCE * interval:
            return True
        self._due_pts = due + interval
        return False

    def _compose_and_encode(
        self, pipeline: Pipeline, frame: av.VideoFrame, order: Order, outcome: Outcome
    ) -> None:
        wanted = self._wanted()
        if wanted is not self._shown:
            self._shown = wanted
            pipeline.change(wanted)
        picture = self._compose(pipeline, frame, outcome)
        if picture is None or not self._admit(picture, frame, outcome):
            return
        try:
            outcome.untouched = isinstance(picture, Untouched)
            covered = self._last_untouched and not outcome.untouched
            self._last_untouched = outcome.untouched
            for stage, cost in picture.stages.items():
                if cost.wall_s:  # zero: this picture did without it
                    outcome.wall_s[stage], outcome.cpu_s[stage] = cost.wall_s, cost.cpu_s
            outcome.width, outcome.height = picture.frame.width, picture.frame.height
            if self._returned:
                # What was lost of the camera is not repeated, so nothing must refer to it.
                self._encode(picture.frame, outcome, keyframe=order.keyframe or covered)
            outcome.composed = "encode" in outcome.wall_s or not self._returned
            self._share(picture, outcome)
        finally:
            picture.release()

    def _share(self, picture: Composited | Untouched, outcome: Outcome) -> None:
        """For whoever watches; what passed the gate, and nothing else."""
        if not self._showing.watched:
            return
        try:
            outcome.shared = (
                self._sharer.share_untouched(picture)
                if isinstance(picture, Untouched)
                else self._sharer.share(picture)
            )
        except (av.FFmpegError, ValueError):
            self._log.fault("a fault cost viewers a picture")

    def _compose(
        self, pipeline: Pipeline, frame: av.VideoFrame, outcome: Outcome
    ) -> Composited | Untouched | None:
        try:
            picture = pipeline.process(frame)
            if not isinstance(picture, Untouched):
                outcome.away = pipeline.away
            return picture
        except Exception:
            self._log.fault("a fault in the frame path cost a frame")
            outcome.drop("frame_error")
        try:
            return pipeline.closed(frame.width, frame.height)
        except Exception:
            self._log.fault("a fault in the closed picture cost a frame")
            return None

    def _admit(
        self, picture: Composited | Untouched, source: av.VideoFrame, outcome: Outcome
    ) -> bool:
        """The gate: whether this may be encoded, by what the session wants now."""
        if type(picture) is Composited and not _same_memory(picture.frame, source):
            return True
        if type(picture) is Untouched and self._raw_is_wanted():
            return True
        if type(picture) is Untouched and isinstance(picture.look.effect, Nothing):
            # An effect was switched on while this picture was on its way.
            outcome.drop("effect_changed")
            return False
        outcome.raw += 1
        self._log.warn("refused to send %s while an effect is on", type(picture).__name__)
        return False

    def _encode(self, frame: av.VideoFrame, outcome: Outcome, *, keyframe: bool) -> None:
        assert self._encoder is not None, "run() waits for the negotiation"
        wall_s, cpu_s = time.monotonic(), time.thread_time()
        bitrate_bps = self._bitrate.choose(frame.width, frame.height, now_s=wall_s)
        try:
            outcome.payloads = self._encoder.encode(
                frame, keyframe=keyframe, bitrate_bps=bitrate_bps
            )
        except (av.FFmpegError, ValueError, OSError):
            outcome.drop("encode_error")
            self._log.fault("a fault in the encoder cost a frame")
            return
        outcome.wall_s["encode"] = time.monotonic() - wall_s
        outcome.cpu_s["encode"] = time.thread_time() - cpu_s

    # On the event loop again.

    def _send(self, outcome: Outcome) -> None:
        self._count(outcome)
        self._see(outcome.away)
        if outcome.reference_lost:
            self._receiver.ask_keyframe()
        if outcome.untouched and not self._raw_is_wanted():
            # Switched on while the picture was being encoded: nobody ever gets it, and what is
            # encoded next must not refer to it.
            self._fresh_start = True
            if outcome.composed:
                self.figures.dropped(1)
                self._counters.frame_dropped("effect_changed", 1)
            return
        self._show(outcome)
        if not self._returned and outcome.composed:
            self._sent(outcome)
        if not outcome.payloads:
            return
        age_s = time.monotonic() - outcome.arrived_s
        arrived_ntp = clock.current_ntp_time() - int(age_s * (1 << 32))
        self._sender.send_frame(
            outcome.payloads, timestamp=outcome.pts, ntp=arrived_ntp, raw=outcome.untouched
        )
        self._bitrate.sent(sum(map(len, outcome.payloads)), now_s=time.monotonic())
        self._sent(outcome)

    def _show(self, outcome: Outcome) -> None:
        """Hand the picture on to whoever watches; the camera as it came has its own type there."""
        pts, arrived_s = outcome.pts, outcome.arrived_s
        if isinstance(outcome.shared, Untouched):
            wanted = self._raw_is_wanted
            self._showing.show(ShownUntouched(outcome.shared, wanted, pts, arrived_s))
        elif outcome.shared is not None:
            self._showing.show(Shown(outcome.shared, pts, arrived_s))

    def _sent(self, outcome: Outcome) -> None:
        """The picture has left the track: to the peer, or to those alone who are shown it."""
        now_s = time.monotonic()
        latency_s = now_s - outcome.arrived_s
        if not self.figures.frames["sent"]:
            self._on_first_frame()
        self.figures.sent(now_s, width=outcome.width, height=outcome.height, latency_s=latency_s)
        self._counters.frame("sent")
        self._counters.latency(latency_s)

    def _count(self, outcome: Outcome) -> None:
        for reason, count in outcome.dropped.items():
            self.figures.dropped(count)
            self._counters.frame_dropped(reason, count)
        if outcome.raw or not FAULTS.isdisjoint(outcome.dropped):
            self._on_fault()
        for _ in range(outcome.raw):
            self.figures.frames["raw"] += 1
            self._counters.raw_frame()
        if outcome.composed:
            self._counters.frame("processed")
            self.figures.processed(outcome.wall_s, outcome.total_cpu_s)
        else:
            self.figures.cpu_seconds += outcome.total_cpu_s
        self.figures.worked(
            taken=outcome.taken,
            merged=outcome.dropped.get("newer_frame", 0),
            composed=int(outcome.composed),
            cpu_s=outcome.total_cpu_s,
            decode_cpu_s=outcome.cpu_s.get("decode", 0.0),
            waited_s=outcome.waited_s,
            wall_s=outcome.job_s,
        )
        for stage, wall_s in outcome.wall_s.items():
            self._counters.stage(stage, wall_s, outcome.cpu_s[stage])

    def _see(self, away: bool | None) -> None:
        if away is None or away is self._away:
            return
        self._away, self._away_changed_at = away, time.time()
        self._counters.person_changed(_person(away))
        self._on_away(away)


def _person(away: bool) -> str:
    return "away" if away else "in_view"


def _same_memory(one: av.VideoFrame, other: av.VideoFrame) -> bool:
    """Whether two pictures share their luma: then the one is the other, whatever it is called."""
    return one is other or one.planes[0].buffer_ptr == other.planes[0].buffer_ptr
