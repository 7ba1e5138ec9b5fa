"""One peer connection, whatever it carries: offer -> answer -> connected -> closed.

peer.py (a camera) and viewer.py (somebody who watches) each have one. It negotiates, takes
candidates, watches for silence and releases the connection; what is done with the media sections is
for the owner to say. The offer is the peer's, or, to another server, its own.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from aiortc import RTCSessionDescription
from aiortc.exceptions import OperationError
from aiortc.sdp import candidate_from_sdp

from service.errors import BadOffer, NoMediaPort, UnsupportedOffer
from service.rtc.connection import Connection, ConnectionSettings
from service.rtc.offer import Use, parse_answer, parse_offer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from aiortc import RTCDataChannel, RTCRtpTransceiver
    from aiortc.sdp import SessionDescription

    from service.rtc.receiver import RtpCounters
    from service.setting_text import IceServer

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


class Link:
    """One peer connection, from its offer to its end."""

    def __init__(
        self,
        *,
        settings: PeerSettings,
        use: Use,
        counters: RtpCounters,
        on_state: Callable[[PeerState], None],
        on_channel: Callable[[RTCDataChannel], None],
        on_step: Callable[[Step], None] = lambda _: None,
    ) -> None:
        """`on_channel` is told of every data channel that the peer opens, `on_step` of ICE and
        DTLS when they are through: more than once, it may be."""
        self.state = PeerState.CONNECTING
        self._settings = settings
        self._use = use
        self._on_state = on_state
        self._on_step = on_step
        self._connection = Connection(
            settings.connection,
            counters,
            self._heard,
            # A server that answers and reports, and sends no media, is no source.
            signs=self._nothing if use is Use.PULL else self._heard,
        )
        self._connection.on("datachannel", on_channel)
        self._heard_s = time.monotonic()
        self._heard_any = use is not Use.PULL
        self._connected = asyncio.Event()
        self._ending = asyncio.Event()
        self._cause = ""
        self._remote_ufrag = ""
        self._first_mid = ""
        self._candidates = 0

    async def answer(self, offer: str, take: Callable[[RTCRtpTransceiver], None]) -> str:
        """The SDP answer, with all of the server's candidates in it; `take` is given each media
        section once, to say what is done with it.

        Raises BadOffer for what is no SDP offer, UnsupportedOffer for one that can't be served.
        """
        description = parse_offer(offer, self._use)
        first = description.media[0]
        self._remote_ufrag = (first.ice and first.ice.usernameFragment) or ""
        self._first_mid = first.rtp.muxId
        await self._negotiate(RTCSessionDescription(offer, "offer"), description, take)
        return self._described()

    async def offer(
        self,
        take: Callable[[RTCRtpTransceiver], None],
        *,
        audio: bool,
        servers: Sequence[IceServer] = (),
    ) -> str:
        """An SDP offer of one video section and, if wanted, one of audio, with all of our
        candidates in it, those too that `servers` tell; `take` as of `answer`. `accept` is next.

        Raises NoMediaPort.
        """
        self._connection.ask_also(servers)
        for kind in ("video", "audio") if audio else ("video",):
            self._connection.addTransceiver(kind).direction = self._use.offered[0]
        await self._connection.setLocalDescription()
        for transceiver in self._connection.getTransceivers():
            take(transceiver)
        return self._described()

    async def accept(self, answer: str) -> None:
        """The answer to `offer`. Raises BadOffer for what is no SDP answer, UnsupportedOffer for
        one that does not take what was offered."""
        description = parse_answer(answer, self._connection.localDescription.sdp, self._use)
        # The other server may have taken its time.
        self._heard_s = time.monotonic()
        try:
            await self._connection.setRemoteDescription(
                RTCSessionDescription(str(description), "answer")
            )
        except OperationError as exc:
            raise UnsupportedOffer("the answer has no codec of the offer") from exc
        except Exception as exc:
            raise BadOffer("the answer can't be used") from exc

    def _described(self) -> str:
        """What was negotiated so far; from here on every change of a transport is heard of."""
        for transceiver in self._connection.getTransceivers():
            transport = transceiver.receiver.transport
            transport.on("statechange", self._transport_changed)
            transport.transport.on("statechange", self._transport_changed)
        sdp: str = self._connection.localDescription.sdp
        if "a=candidate:" not in sdp:
            raise NoMediaPort("no media socket could be bound; see the log")
        return sdp

    async def _negotiate(
        self,
        offer: RTCSessionDescription,
        parsed: SessionDescription,
        take: Callable[[RTCRtpTransceiver], None],
    ) -> None:
        try:
            await self._connection.setRemoteDescription(offer)
        except OperationError as exc:
            allowed = ", ".join(codec.value for codec in self._settings.connection.codecs)
            raise UnsupportedOffer(f"no common codec; this server takes {allowed}") from exc
        except Exception as exc:
            # aiortc raises whatever the SDP led to, and its texts quote it.
            raise BadOffer("the offer can't be answered") from exc
        for transceiver in self._connection.getTransceivers():
            transceiver.direction = self._use.answered
            take(transceiver)
        if not any(media.dtls and media.dtls.role == "server" for media in parsed.media):
            self._connection.be_dtls_server()
        await self._connection.setLocalDescription()

    async def run(
        self, works: Iterable[Coroutine[Any, Any, None]], *, release: Callable[[], None]
    ) -> str:
        """Do this work until the end; the cause of it: `connect_timeout`, `failed`, `left`,
        `silent` or what `close` was given. `release` is called when the connection is closed."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(work) for work in works]
                await self._watch()
                for task in tasks:
                    task.cancel()
        finally:
            self._become(PeerState.CLOSED)
            await self.disconnect(release)
        return self._cause

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

    # Liveness.

    def _heard(self) -> None:
        """An authenticated packet of any kind came in (RFC 7675, and see docs/architecture.md)."""
        self._heard_s = time.monotonic()
        self._heard_any = True

    def _nothing(self) -> None:
        """A sign of life, and no media, from a server that is to send it."""

    def _transport_changed(self) -> None:
        transceivers = self._connection.getTransceivers()
        states = {t.receiver.transport.state for t in transceivers}
        ice_states = {t.receiver.transport.transport.state for t in transceivers}
        if "failed" in states | ice_states:
            self.close("failed")
        elif "closed" in states:
            self.close("left")
        elif states == {"connected"}:
            self._on_step(Step.DTLS)
            if not self._connected.is_set():
                self._heard_s = time.monotonic()
            self._connected.set()
        elif ice_states == {"completed"}:
            self._on_step(Step.ICE)

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
        elif self._heard_any:
            suspended = silent_s >= self._settings.suspend_after_s
            self._become(PeerState.SUSPENDED if suspended else PeerState.LIVE)

    def _become(self, state: PeerState) -> None:
        if state is not self.state and self.state is not PeerState.CLOSED:
            self.state = state
            self._on_state(state)

    async def disconnect(self, release: Callable[[], None]) -> None:
        """Close the connection, bounded and even when this task is being cancelled."""
        closing = asyncio.ensure_future(self._connection.close())
        _CLOSING.add(closing)
        closing.add_done_callback(_closed)
        try:
            await asyncio.wait({closing}, timeout=CLOSE_TIMEOUT_S)
        finally:
            release()


_CLOSING: set[asyncio.Future[None]] = set()
"""Connections that are being closed: the loop alone would not keep them from being collected."""


def _closed(closing: asyncio.Future[None]) -> None:
    _CLOSING.discard(closing)
    if not closing.cancelled() and (error := closing.exception()) is not None:
        logger.error("a connection could not be closed", exc_info=error)
