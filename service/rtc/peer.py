"""SPINE of a peer: offer -> answer -> connected -> closed.

A session (service/session) makes one Peer for each SDP offer, runs it as a task, and is told of
every change of state. The peer owns its tracks' tasks and ends them all when it ends.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from aiortc import RTCSessionDescription
from aiortc.exceptions import OperationError
from aiortc.sdp import candidate_from_sdp

from service.errors import BadOffer, NoMediaPort, UnsupportedOffer
from service.rtc.audio import AudioRelay
from service.rtc.channel import LABEL, Channel
from service.rtc.connection import Connection, ConnectionSettings
from service.rtc.offer import parse_offer
from service.rtc.receiver import AudioReceiver, RtpCounters, VideoReceiver
from service.rtc.sender import Sender
from service.rtc.track import FrameCounters, VideoTrack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Executor

    from aiortc import RTCDataChannel, RTCRtpTransceiver
    from aiortc.sdp import SessionDescription

    from service.frame.look import Look
    from service.frame.pipeline import Pipeline

logger = logging.getLogger(__name__)

MAX_TRICKLED_CANDIDATES = 64
CLOSE_TIMEOUT_S = 5.0
WATCH_INTERVAL_S = 0.5


class PeerState(Enum):
    CONNECTING = "connecting"
    LIVE = "live"
    SUSPENDED = "suspended"
    CLOSED = "closed"


class Step(Enum):
    """How far a peer's set-up is. Each comes once, in this order."""

    ICE = "ice"
    "A pair of candidates works."
    DTLS = "dtls"
    "The keys are there: the peer is connected."
    FRAME = "frame"
    "The first processed frame is on its way back."


class Counters(RtpCounters, FrameCounters, Protocol):
    """Everything a peer counts."""


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """What every peer of this process shares."""

    connection: ConnectionSettings
    connect_timeout_s: float = 15.0
    "From the answer until ICE and DTLS are through."
    suspend_after_s: float = 6.0
    "Silence after which no work is done for a peer."
    end_after_s: float = 30.0
    "Silence after which a peer is gone (RFC 7675 5.1)."


class Peer:
    """One peer connection of a session, from its offer to its end."""

    def __init__(
        self,
        *,
        settings: PeerSettings,
        make_pipeline: Callable[[Look], Pipeline],
        wanted: Callable[[str], Look],
        audio: bool,
        max_fps: int,
        executor: Executor,
        counters: Counters,
        on_state: Callable[[PeerState], None],
        on_away: Callable[[str, bool], None],
        on_fault: Callable[[str], None] = lambda _: None,
        on_step: Callable[[Step], None] = lambda _: None,
        control: Callable[[Channel], Awaitable[None]] | None = None,
    ) -> None:
        """`wanted` tells what a media section (by its mid) is to look like, whenever asked;
        `on_away` is told when the person in one of them goes away (True) or is back; `on_fault`
        of every frame of one of them that a fault cost; `on_step` of each step of its set-up;
        `control` talks over the peer's data channel for as long as it is open (None: a channel is
        closed at once)."""
        self.state = PeerState.CONNECTING
        self.tracks: dict[str, VideoTrack] = {}
        "Video tracks by mid."
        self._settings = settings
        self._make_pipeline = make_pipeline
        self._wanted = wanted
        self._turn = asyncio.Semaphore(1)
        self._audio = audio
        self._max_fps = max_fps
        self._executor = executor
        self._counters = counters
        self._on_state = on_state
        self._on_away = on_away
        self._on_fault = on_fault
        self._on_step = on_step
        self._steps = list(Step)
        "Those that are still ahead."
        self._control = control
        self._channel: Channel | None = None
        self._channel_opened = asyncio.Event()
        self._connection = Connection(settings.connection, counters, self._heard)
        self._connection.on("datachannel", self._channel_came)
        self._heard_s = time.monotonic()
        self._connected = asyncio.Event()
        self._ending = asyncio.Event()
        self._cause = ""
        self._remote_ufrag = ""
        self._first_mid = ""
        self._candidates = 0

    async def answer(self, offer: str) -> str:
        """The SDP answer, with all of the server's candidates in it.

        Raises BadOffer for what is no SDP offer, UnsupportedOffer for one that can't be served.
        """
        description = parse_offer(offer)
        first = description.media[0]
        self._remote_ufrag = (first.ice and first.ice.usernameFragment) or ""
        self._first_mid = first.rtp.muxId
        await self._negotiate(RTCSessionDescription(offer, "offer"), description)
        for transceiver in self._connection.getTransceivers():
            transport = transceiver.receiver.transport
            transport.on("statechange", self._transport_changed)
            transport.transport.on("statechange", self._transport_changed)
        answer = self._connection.localDescription.sdp
        if "a=candidate:" not in answer:
            raise NoMediaPort("no media socket could be bound; see the log")
        return answer

    async def _negotiate(self, offer: RTCSessionDescription, parsed: SessionDescription) -> None:
        try:
            await self._connection.setRemoteDescription(offer)
        except OperationError as exc:
            allowed = ", ".join(codec.value for codec in self._settings.connection.codecs)
            raise UnsupportedOffer(f"no common codec; this server takes {allowed}") from exc
        except Exception as exc:
            # aiortc raises whatever the SDP led to, and its texts quote it.
            raise BadOffer("the offer can't be answered") from exc
        for transceiver in self._connection.getTransceivers():
            self._take(transceiver)
        if not any(media.dtls and media.dtls.role == "server" for media in parsed.media):
            self._connection.be_dtls_server()
        await self._connection.setLocalDescription()

    def _take(self, transceiver: RTCRtpTransceiver) -> None:
        """Wire one media section: video through a track, audio straight back."""
        receiver, sender = transceiver.receiver, transceiver.sender
        assert isinstance(sender, Sender)
        if isinstance(receiver, AudioReceiver):
            if self._audio:
                AudioRelay(receiver, sender)
            else:
                transceiver.direction = "inactive"
            return
        assert isinstance(receiver, VideoReceiver)
        mid = transceiver.mid or ""
        self.tracks[mid] = VideoTrack(
            mid=mid,
            receiver=receiver,
            sender=sender,
            make_pipeline=self._make_pipeline,
            wanted=lambda: self._wanted(mid),
            max_fps=self._max_fps,
            turn=self._turn,
            executor=self._executor,
            counters=self._counters,
            on_away=lambda away: self._on_away(mid, away),
            on_fault=lambda: self._on_fault(mid),
            on_first_frame=lambda: self._reach(Step.FRAME),
        )

    async def run(self) -> str:
        """Live until the end; the cause of it: `connect_timeout`, `failed`, `left`, `silent` or
        what `close` was given. Everything the peer held is released when this returns."""
        try:
            async with asyncio.TaskGroup() as group:
                works = [group.create_task(track.run()) for track in self.tracks.values()]
                works.append(group.create_task(self._talk()))
                await self._watch()
                for work in works:
                    work.cancel()
        finally:
            self._become(PeerState.CLOSED)
            await self._disconnect()
        return self._cause

    async def abandon(self) -> None:
        """Release a peer whose offer could not be answered."""
        await self._disconnect()

    def close(self, cause: str) -> None:
        """Let `run` end; the first cause stays."""
        if not self._ending.is_set():
            self._cause = cause
            self._ending.set()

    async def trickle(self, fragment: str) -> None:
        """Candidates by RFC 8840; raises UnsupportedOffer for an ICE restart."""
        ufrag = re.search(r"^a=ice-ufrag:(\S+)", fragment, re.MULTILINE)
        if ufrag is not None and ufrag.group(1) != self._remote_ufrag:
            raise UnsupportedOffer("ICE restart is not supported; send a new offer instead")
        for line in re.findall(r"^a=candidate:(.+?)\r?$", fragment, re.MULTILINE):
            self._candidates += 1
            if self._candidates > MAX_TRICKLED_CANDIDATES:
                raise BadOffer(f"more than {MAX_TRICKLED_CANDIDATES} candidates")
            try:
                candidate = candidate_from_sdp(line)
            except (ValueError, AssertionError, IndexError) as exc:
                raise BadOffer("malformed a=candidate line") from exc
            # Everything is bundled: the first section's transport is the only one.
            candidate.sdpMid = self._first_mid
            await self._connection.addIceCandidate(candidate)

    def describe_tracks(self) -> list[dict[str, object]]:
        now_s = time.monotonic()
        return [track.describe(now_s) for track in self.tracks.values()]

    @property
    def round_trip_s(self) -> float | None:
        measured = [t.round_trip_s for t in self.tracks.values() if t.round_trip_s is not None]
        return max(measured, default=None)

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

    # Liveness.

    def _heard(self) -> None:
        """An authenticated packet of any kind came in (RFC 7675, and see docs/architecture.md)."""
        self._heard_s = time.monotonic()

    def _transport_changed(self) -> None:
        transceivers = self._connection.getTransceivers()
        states = {t.receiver.transport.state for t in transceivers}
        ice_states = {t.receiver.transport.transport.state for t in transceivers}
        if "failed" in states | ice_states:
            self.close("failed")
        elif "closed" in states:
            self.close("left")
        elif states == {"connected"}:
            self._reach(Step.DTLS)
            self._connected.set()
        elif ice_states == {"completed"}:
            self._reach(Step.ICE)

    def _reach(self, step: Step) -> None:
        if step in self._steps:  # a second camera's first frame is none
            self._steps = self._steps[self._steps.index(step) + 1 :]
            self._on_step(step)

    async def _watch(self) -> None:
        """Until the peer has to end: connect in time, then watch for silence."""
        ending = asyncio.create_task(self._ending.wait())
        connected = asyncio.create_task(self._connected.wait())
        try:
            await asyncio.wait(
                {ending, connected},
                timeout=self._settings.connect_timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not (ending.done() or connected.done()):
                self.close("connect_timeout")
            while not self._ending.is_set():
                self._judge_silence(time.monotonic())
                await asyncio.wait({ending}, timeout=WATCH_INTERVAL_S)
        finally:
            ending.cancel()
            connected.cancel()

    def _judge_silence(self, now_s: float) -> None:
        silent_s = now_s - self._heard_s
        if silent_s >= self._settings.end_after_s:
            self.close("silent")
        elif silent_s >= self._settings.suspend_after_s:
            self._become(PeerState.SUSPENDED)
        else:
            self._become(PeerState.LIVE)

    def _become(self, state: PeerState) -> None:
        if state is not self.state and self.state is not PeerState.CLOSED:
            self.state = state
            self._on_state(state)

    async def _disconnect(self) -> None:
        """Close the connection, bounded and even when this task is being cancelled."""
        closing = asyncio.ensure_future(self._connection.close())
        _CLOSING.add(closing)
        closing.add_done_callback(_closed)
        try:
            await asyncio.wait({closing}, timeout=CLOSE_TIMEOUT_S)
        finally:
            for track in self.tracks.values():
                self._executor.submit(track.release)


_CLOSING: set[asyncio.Future[None]] = set()
"""Connections that are being closed: the loop alone would not keep them from being collected."""


def _closed(closing: asyncio.Future[None]) -> None:
    _CLOSING.discard(closing)
    if not closing.cancelled() and (error := closing.exception()) is not None:
        logger.error("a connection could not be closed", exc_info=error)
