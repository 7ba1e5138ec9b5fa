"""SPINE of a session: created -> connecting -> live -> ended.

A session outlives its peers: a page reload posts a second offer, and a peer that went away may come
back until the session's time is up. registry.py owns the sessions and runs each as one task; the
peers (service/rtc/peer.py) run as tasks of their session.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from service.errors import InvalidField, NotAllowed, StaleETag, UnknownBackground, UnknownPeer
from service.frame.look import Look
from service.frame.picture import Picture, decode_picture
from service.policy.effects import (
    ALLOWED_BY_DEFAULT,
    SESSION_BACKGROUND,
    Effect,
    Image,
    effect_json,
)
from service.rtc.peer import Counters, Peer, PeerSettings, PeerState
from service.session.looks import Looks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor

    from service.frame.pipeline import Pipeline

logger = logging.getLogger(__name__)

SHORTEST_WAIT_S = 0.25
"""A session that is due and whose offer is still being answered is looked at again after this."""


class State(Enum):
    CREATED = "created"
    "Open, with no peer (not yet, or not any more)."
    CONNECTING = "connecting"
    LIVE = "live"
    ENDED = "ended"


TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.CREATED: frozenset({State.CONNECTING, State.ENDED}),
    State.CONNECTING: frozenset({State.CONNECTING, State.LIVE, State.CREATED, State.ENDED}),
    State.LIVE: frozenset({State.LIVE, State.CONNECTING, State.CREATED, State.ENDED}),
    State.ENDED: frozenset(),
}


class IllegalTransition(RuntimeError):
    """A change of state that TRANSITIONS does not have; nothing was changed."""


class Pictures(Protocol):
    """Where named backgrounds come from."""

    async def get(self, name: str) -> Picture:
        """Raises UnknownBackground."""
        ...


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """What the platform asked for when it opened the session."""

    effect: Effect
    allowed_effects: frozenset[str] = ALLOWED_BY_DEFAULT
    audio: bool = True
    max_width: int = 1280
    max_height: int = 720
    max_fps: int = 30
    ttl_s: int = 3600
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What every session of this process shares."""

    peer: PeerSettings
    idle_ttl_s: float = 60.0
    "How long a session without a peer is kept."
    max_picture_bytes: int = 10 << 20
    max_picture_pixels: int = 24_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What an SDP offer led to."""

    sdp: str
    peer_id: str
    etag: str
    "A quoted entity tag of the ICE session (RFC 9725 4.3.1)."


class Session:
    """One session and, at most, one peer."""

    def __init__(
        self,
        session_id: str,
        spec: SessionSpec,
        *,
        settings: SessionSettings,
        pictures: Pictures,
        make_pipeline: Callable[[Look, SessionSpec], Pipeline],
        executor: Executor,
        counters: Counters,
    ) -> None:
        self.id = session_id
        self.spec = spec
        self.state = State.CREATED
        self.created_at = time.time()
        self.expires_at = self.created_at + spec.ttl_s
        self.cause = ""
        self._settings = settings
        self._pictures = pictures
        self._make_pipeline = make_pipeline
        self._executor = executor
        self._counters = counters
        self._picture: Picture | None = None
        self._looks: Looks | None = None
        "None until the first effect has its picture."
        self._changing = asyncio.Lock()
        "Effects that are set at the same time take their turns: the last one asked for stays."
        self._peer: Peer | None = None
        self._peer_task: asyncio.Task[None] | None = None
        self._answer: Answer | None = None
        self._was_live = False
        self._changed = asyncio.Event()
        self._offering = asyncio.Lock()
        self._deadline_s = time.monotonic() + spec.ttl_s
        self._idle_since_s = time.monotonic()

    @property
    def effect(self) -> Effect:
        return self.spec.effect if self._looks is None else self._looks.all.effect

    # Effects.

    async def set_effect(self, effect: Effect, *, mid: str | None = None) -> None:
        """Another effect for the whole session, or for one of its video tracks.

        Raises NotAllowed, UnknownBackground or InvalidField; then nothing has changed.
        """
        kind = effect_json(effect)["type"]
        if kind not in self.spec.allowed_effects:
            raise NotAllowed(f"the effect {kind!r} is not allowed in this session")
        async with self._changing:
            look = await self._resolve(effect)
            if mid is None:
                self._looks = self._looks or Looks(look)
                self._looks.set_all(look)
                return
            tracks = {} if self._peer is None else self._peer.tracks
            if self._looks is None or mid not in tracks:
                raise InvalidField("mid", f"no video track with mid {mid[:16]!r} in this session")
            self._looks.set_one(mid, look)

    async def set_picture(self, data: bytes) -> None:
        """A picture for this session alone, shown by the background name `session`.

        Raises PictureError; then the picture before it stays.
        """
        async with self._changing:
            self._picture = await asyncio.to_thread(
                decode_picture,
                data,
                max_bytes=self._settings.max_picture_bytes,
                max_pixels=self._settings.max_picture_pixels,
            )
            if self._looks is not None:
                self._looks.show(self._picture)

    async def _first_looks(self) -> Looks:
        async with self._changing:
            if self._looks is None:
                self._looks = Looks(await self._resolve(self.spec.effect))
            return self._looks

    async def _resolve(self, effect: Effect) -> Look:
        if not isinstance(effect, Image):
            return Look(effect)
        if effect.background == SESSION_BACKGROUND:
            if self._picture is None:
                raise UnknownBackground(SESSION_BACKGROUND)
            return Look(effect, self._picture)
        return Look(effect, await self._pictures.get(effect.background))

    # The peer.

    async def offer(self, sdp: str) -> Answer:
        """Answer an SDP offer; the peer before it, if any, is replaced.

        Raises BadOffer or UnsupportedOffer; then the peer before it goes on.
        """
        async with self._offering:
            if self.cause:
                raise UnknownPeer
            looks = await self._first_looks()
            peer = Peer(
                settings=self._settings.peer,
                make_pipeline=lambda look: self._make_pipeline(look, self.spec),
                wanted=looks.wanted,
                audio=self.spec.audio,
                max_fps=self.spec.max_fps,
                executor=self._executor,
                counters=self._counters,
                on_state=lambda state: self._peer_changed(peer, state),
            )
            try:
                answer_sdp = await peer.answer(sdp)
                await self._end_peer("replaced")
                if self.cause:
                    raise UnknownPeer  # the session ended while its offer was being answered
            except BaseException:
                await peer.abandon()
                raise
            return self._adopt(peer, looks, answer_sdp)

    def _adopt(self, peer: Peer, looks: Looks, answer_sdp: str) -> Answer:
        """From here on the session has this peer; nothing is awaited in between."""
        looks.forget_tracks()
        answer = Answer(answer_sdp, secrets.token_urlsafe(12), f'"{secrets.token_hex(8)}"')
        self._peer, self._answer = peer, answer
        self._become(State.CONNECTING)
        self._peer_task = asyncio.create_task(self._run_peer(peer))
        return answer

    async def trickle(self, peer_id: str, fragment: str, if_match: str) -> None:
        """Candidates for the present peer; raises UnknownPeer, StaleETag, or what Peer raises."""
        peer, answer = self._present(peer_id)
        # RFC 9725 4.3.1: `*` is for a restart, which peer.trickle tells by its ufrag.
        if not {tag.strip() for tag in if_match.split(",")} & {answer.etag, "*", '"*"'}:
            raise StaleETag
        await peer.trickle(fragment)

    async def hang_up(self, peer_id: str) -> None:
        """End the present peer; the session waits for another offer. Raises UnknownPeer."""
        self._present(peer_id)
        await self._end_peer("hung_up")

    def _present(self, peer_id: str) -> tuple[Peer, Answer]:
        if self._peer is None or self._answer is None or self._answer.peer_id != peer_id:
            raise UnknownPeer
        return self._peer, self._answer

    async def _run_peer(self, peer: Peer) -> None:
        try:
            cause = await peer.run()
            logger.info("session %s: peer ended: %s", self.id[:6], cause)
        except Exception:
            logger.exception("session %s: a fault ended its peer", self.id[:6])
        finally:
            if self._peer is peer:
                self._peer = self._answer = None
                self._idle_since_s = time.monotonic()
                if self.state is not State.ENDED:
                    self._become(State.CREATED)
                self._changed.set()

    def _peer_changed(self, peer: Peer, state: PeerState) -> None:
        if self._peer is peer and state is PeerState.LIVE and self.state is not State.ENDED:
            self._was_live = True
            self._become(State.LIVE)

    async def _end_peer(self, cause: str) -> None:
        peer, task = self._peer, self._peer_task
        if peer is None or task is None:
            return
        peer.close(cause)
        await asyncio.wait({task})

    # Its life.

    async def run(self) -> str:
        """Until the session ends: the cause (`deleted`, `drained`, `expired`, `idle`,
        `never_connected`). Nothing of it is left when this returns."""
        try:
            while not self.cause:
                self._changed.clear()
                if (cause := self._overdue(time.monotonic())) is not None:
                    self.cause = cause
                    break
                try:
                    async with asyncio.timeout(self._remaining_s(time.monotonic())):
                        await self._changed.wait()
                except TimeoutError:
                    continue
        finally:
            self.cause = self.cause or "cancelled"
            self._become(State.ENDED)
            await self._end_peer(self.cause)
        return self.cause

    def end(self, cause: str) -> None:
        """Let `run` end; the first cause stays."""
        self.cause = self.cause or cause
        self._changed.set()

    def _overdue(self, now_s: float) -> str | None:
        if now_s >= self._deadline_s:
            return "expired"
        waiting = self._peer is None and not self._offering.locked()
        if waiting and now_s - self._idle_since_s >= self._settings.idle_ttl_s:
            return "idle" if self._was_live else "never_connected"
        return None

    def _remaining_s(self, now_s: float) -> float:
        remaining_s = self._deadline_s - now_s
        if self._peer is None:
            idle_end_s = self._idle_since_s + self._settings.idle_ttl_s
            remaining_s = min(remaining_s, idle_end_s - now_s)
        return max(SHORTEST_WAIT_S, remaining_s)

    def _become(self, state: State) -> None:
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransition(f"{self.state.value} -> {state.value}")
        self.state = state

    def describe(self) -> dict[str, object]:
        """The session's JSON (docs/api.md)."""
        peer = self._peer
        tracks = [] if peer is None else peer.describe_tracks()
        for track in tracks:
            assert self._looks is not None, "a peer has looks"
            track["effect"] = effect_json(self._looks.wanted(str(track["mid"])).effect)
            # One level so far: every frame gets everything.
            track["quality_level"] = "full"
        round_trip_s = None if peer is None else peer.round_trip_s
        return {
            "id": self.id,
            "state": self.state.value,
            "peer": None if peer is None else peer.state.value,
            "effect": effect_json(self.effect),
            "allowed_effects": sorted(self.spec.allowed_effects),
            "audio": self.spec.audio,
            "max_width": self.spec.max_width,
            "max_height": self.spec.max_height,
            "max_fps": self.spec.max_fps,
            "created_at": round(self.created_at, 3),
            "expires_at": round(self.expires_at, 3),
            "metadata": dict(self.spec.metadata),
            "round_trip_ms": None if round_trip_s is None else round(round_trip_s * 1e3, 1),
            "tracks": tracks,
        }
