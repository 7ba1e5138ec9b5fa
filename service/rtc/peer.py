"""SPINE of a camera's peer: offer -> answer -> connected -> closed.

A session (service/session) makes one Peer for each SDP offer of a camera (or offers itself, to the
server that it pulls from), runs it as a task, and is told of every change of state. The peer owns
its tracks' tasks and ends them all when it ends. What its connection does by itself is in link.py.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Protocol

from service.rtc.audio import AudioRelay
from service.rtc.channel import LABEL, Channel
from service.rtc.link import Link, PeerSettings, PeerState, Step
from service.rtc.offer import Use
from service.rtc.receiver import AudioReceiver, RtpCounters, VideoReceiver
from service.rtc.sender import Sender
from service.rtc.showing import NOBODY, Showing
from service.rtc.track import FrameCounters, VideoTrack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiortc import RTCDataChannel, RTCRtpTransceiver

    from service.frame.look import Look
    from service.frame.pipeline import Pipeline
    from service.rtc.packet import IncomingPacket
    from service.setting_text import IceServer
    from service.workers import Workers


logger = logging.getLogger(__name__)

__all__ = ["Counters", "Peer", "PeerSettings", "PeerState", "Step"]


class Counters(RtpCounters, FrameCounters, Protocol):
    """Everything a peer counts."""


class Peer:
    """One camera's connection in a session, from its offer to its end."""

    def __init__(
        self,
        *,
        settings: PeerSettings,
        make_pipeline: Callable[[Look], Pipeline],
        wanted: Callable[[str], Look],
        audio: bool,
        max_fps: int,
        workers: Workers,
        counters: Counters,
        on_state: Callable[[PeerState], None],
        on_away: Callable[[str, bool], None],
        on_fault: Callable[[str], None] = lambda _: None,
        on_step: Callable[[Step], None] = lambda _: None,
        control: Callable[[Channel], Awaitable[None]] | None = None,
        use: Use = Use.RETURNED,
        showing: Showing = NOBODY,
    ) -> None:
        """`wanted` tells what a media section (by its mid) is to look like, whenever asked;
        `on_away` is told when the person in one of them goes away (True) or is back; `on_fault`
        of every frame of one of them that a fault cost; `on_step` of each step of its set-up;
        `control` talks over the peer's data channel for as long as it is open (None: a channel is
        closed at once). `showing` is shown the first camera and hears the first microphone,
        besides what `use` sends back."""
        self.tracks: dict[str, VideoTrack] = {}
        "Video tracks by mid."
        self._make_pipeline = make_pipeline
        self._wanted = wanted
        self._turn = asyncio.Semaphore(1)
        self._audio = audio
        self._max_fps = max_fps
        self._workers = workers
        self._counters = counters
        self._on_away = on_away
        self._on_fault = on_fault
        self._on_step = on_step
        self._steps = list(Step)
        "Those that are still ahead."
        self._control = control
        self._channel: Channel | None = None
        self._channel_opened = asyncio.Event()
        self._returned = use is Use.RETURNED
        self._showing = showing
        self._heard_by_all = False
        "The first microphone is wired."
        self._link = Link(
            settings=settings,
            use=use,
            counters=counters,
            on_state=on_state,
            on_channel=self._channel_came,
            on_step=self._reach,
        )

    @property
    def state(self) -> PeerState:
        return self._link.state

    async def answer(self, offer: str) -> str:
        """The SDP answer, with all of the server's candidates in it.

        Raises BadOffer for what is no SDP offer, UnsupportedOffer for one that can't be served.
        """
        return await self._link.answer(offer, self._take)

    async def offer(self, servers: Sequence[IceServer] = ()) -> str:
        """The SDP offer to the server that is pulled from, with all candidates of ours in it;
        `accept` is next. Raises NoMediaPort."""
        return await self._link.offer(self._take, audio=self._audio, servers=servers)

    async def accept(self, answer: str) -> None:
        """Raises BadOffer or UnsupportedOffer."""
        await self._link.accept(answer)

    def _take(self, transceiver: RTCRtpTransceiver) -> None:
        """Wire one media section: video through a track, audio straight on."""
        receiver, sender = transceiver.receiver, transceiver.sender
        assert isinstance(sender, Sender)
        if isinstance(receiver, AudioReceiver):
            if self._audio:
                self._take_audio(receiver, sender)
            else:
                transceiver.direction = "inactive"
            return
        assert isinstance(receiver, VideoReceiver)
        mid = transceiver.mid or ""
        self.tracks[mid] = VideoTrack(
            mid=mid,
            receiver=receiver,
            sender=sender,
            returned=self._returned,
            showing=NOBODY if self.tracks else self._showing,
            make_pipeline=self._make_pipeline,
            wanted=lambda: self._wanted(mid),
            max_fps=self._max_fps,
            turn=self._turn,
            workers=self._workers,
            counters=self._counters,
            on_away=lambda away: self._on_away(mid, away),
            on_fault=lambda: self._on_fault(mid),
            on_first_frame=lambda: self._reach(Step.FRAME),
        )

    def _take_audio(self, receiver: AudioReceiver, sender: Sender) -> None:
        back = AudioRelay(sender) if self._returned else None
        onward = NOBODY if self._heard_by_all else self._showing
        self._heard_by_all = True

        def pass_on(packet: IncomingPacket, mime_type: str) -> None:
            if back is not None:
                back.pass_on(packet, mime_type)
            onward.hear(packet, mime_type)

        receiver.on_packet = pass_on

    async def run(self) -> str:
        """Live until the end; the cause of it: `connect_timeout`, `failed`, `left`, `silent` or
        what `close` was given. Everything the peer held is released when this returns."""
        works = [*(track.run() for track in self.tracks.values()), self._talk()]
        return await self._link.run(works, release=self._release)

    async def abandon(self) -> None:
        """Release a peer whose offer could not be answered."""
        await self._link.disconnect(self._release)

    def close(self, cause: str) -> None:
        """Let `run` end; the first cause stays."""
        self._link.close(cause)

    async def trickle(self, fragment: str) -> None:
        """Candidates by RFC 8840; raises UnsupportedOffer for an ICE restart."""
        await self._link.trickle(fragment)

    def describe_tracks(self) -> list[dict[str, object]]:
        now_s = time.monotonic()
        return [track.describe(now_s) for track in self.tracks.values()]

    @property
    def round_trip_s(self) -> float | None:
        measured = [t.round_trip_s for t in self.tracks.values() if t.round_trip_s is not None]
        return max(measured, default=None)

    def _reach(self, step: Step) -> None:
        if step in self._steps:  # a second camera's first frame is none
            self._steps = self._steps[self._steps.index(step) + 1 :]
            self._on_step(step)

    def _release(self) -> None:
        for track in self.tracks.values():
            self._workers.submit(track.release)

    # The data channel.

    def _channel_came(self, opened: RTCDataChannel) -> None:
        """One at a time, and of this name alone: any other is closed at once."""
        busy = self._channel is not None and self._channel.open
        if opened.label != LABEL or busy or self._control is None:
            opened.close()
            return
        self._channel = Channel(opened)
        self._channel_opened.set()

    async def _talk(self) -> None:
        """For each channel, one after the other, until the peer ends. A fault of ours costs the
        channel, not the call."""
        while True:
            await self._channel_opened.wait()
            self._channel_opened.clear()
            channel = self._channel
            assert channel is not None
            assert self._control is not None
            try:
                await self._control(channel)
            except Exception:
                logger.exception("a fault closed a data channel")
            finally:
                channel.close()
