"""SPINE of a session: created -> connecting -> live -> ended.

A session outlives its peers: a page reload posts a second offer, and a peer that went away may come
back until the session's time is up. registry.py owns the sessions and runs each as one task; the
peers (service/rtc/peer.py) run as tasks of their session, and so do a pull and a push (sfu.py).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import secrets
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from service.errors import NotAllowed, StaleETag, UnknownPeer
from service.logs import about_session
from service.policy.effects import Effect, effect_json
from service.policy.levels import EFFORTS, Level
from service.rtc.figures import EVENTS as FRAME_EVENTS
from service.rtc.offer import Use
from service.rtc.peer import Counters, Peer, PeerSettings, PeerState, Step
from service.session.audience import Audience, AudienceCounters
from service.session.events import Kind
from service.session.scene import Scene
from service.session.sfu import Line, LineCounters, Way
from service.session.traces import UNTRACED, SetUp, Traces

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

    from service.frame.look import Look
    from service.frame.pipeline import Pipeline
    from service.rtc.channel import Channel
    from service.rtc.track import VideoTrack
    from service.session.audience import Seats
    from service.session.events import Events
    from service.session.looks import Looks
    from service.session.scene import Models, Pictures
    from service.session.sfu import Endpoint, Exchange, Exchanges
    from service.session.spec import SessionSettings, SessionSpec
    from service.workers import Workers


logger = logging.getLogger(__name__)

SHORTEST_WAIT_S = 0.25
"""A session that is due and whose offer is still being answered is looked at again after this."""
PEER_ERRORS: Mapping[str, str] = {"connect_timeout": "connect_timeout", "failed": "peer_failed"}
"""Causes of a peer's end that are nobody's wish, and what an error event calls them."""
FRAME_ERRORS_INTERVAL_S = 60.0
"""A camera whose frames fail is told of once in this time, not thirty times a second."""


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


class PeerCounters(Counters, AudienceCounters, LineCounters, Protocol):
    """Everything that a session's peers and viewers count."""


@dataclass(frozen=True, slots=True)
class Far:
    """The other servers of a session."""

    exchanges: Exchanges
    pull: Endpoint | None = None
    "Where its video comes from, in place of a camera's offer."
    push: Endpoint | None = None
    "Where what is made of it goes to, besides whoever watches."


@dataclass(frozen=True, slots=True)
class Answer:
    """What an SDP offer led to."""

    sdp: str
    peer_id: str
    etag: str
    "A quoted entity tag of the ICE session (RFC 9725 4.3.1)."


@dataclass(slots=True)
class Used:
    """What a session's video tracks did, all peers together."""

    cpu_seconds: float = 0.0
    frames: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FRAME_EVENTS, 0))

    def and_also(self, tracks: Iterable[VideoTrack]) -> Used:
        """A sum; neither is changed."""
        total = Used(self.cpu_seconds, dict(self.frames))
        for track in tracks:
            total.cpu_seconds += track.figures.cpu_seconds
            for event, count in track.figures.frames.items():
                total.frames[event] += count
        return total


class Session:
    """One session and, at most, one peer."""

    def __init__(
        self,
        session_id: str,
        spec: SessionSpec,
        *,
        serial: int,
        events: Events,
        settings: SessionSettings,
        pictures: Pictures,
        models: Models,
        make_pipeline: Callable[[Look, SessionSpec], Pipeline],
        workers: Workers,
        counters: PeerCounters,
        seats: Seats,
        traces: Traces = UNTRACED,
        reopened: bool = False,
        far: Far | None = None,
    ) -> None:
        """`serial` grows from session to session of a process; `reopened` is one that was opened
        by its token, and may be on another server too."""
        self.id = session_id
        self.serial = serial
        self.reopened = reopened
        self.spec = spec
        self.state = State.CREATED
        self.created_at = time.time()
        self.expires_at = self.created_at + spec.ttl_s
        self.cause = ""
        self.level = Level.FULL
        "The quality level that its tracks are worked on with."
        self.events = events
        self.audience = Audience(
            session_id,
            settings=settings.peer,
            audio=spec.audio,
            workers=workers,
            counters=counters,
            seats=seats,
            traces=traces,
        )
        "Those who watch it."
        self.scene = Scene(
            spec,
            settings=settings,
            pictures=pictures,
            models=models,
            mids=lambda: self.tracks,
            tell=self._effect_changed,
        )
        "What it shows."
        self._settings = settings
        self._make_pipeline = make_pipeline
        self._workers = workers
        self._counters = counters
        self._traces = traces
        self._set_up: SetUp = UNTRACED
        self._peer: Peer | None = None
        self._peer_task: asyncio.Task[str] | None = None
        self._answer: Answer | None = None
        self._succeeded = False
        "Another peer has its answer, and takes the present one's place when that has ended."
        self._used = Used()
        "By the peers before the present one."
        self._told_of_frames_s = float("-inf")
        self._was_live = False
        self._told_live = False
        "Whoever listens takes it for live."
        self._changed = asyncio.Event()
        self._offering = asyncio.Lock()
        self._deadline_s = time.monotonic() + spec.ttl_s
        self._idle_since_s = time.monotonic()
        self._live = asyncio.Event()
        "Set while its source is live."
        self._lines: dict[Way, Line] = {} if far is None else self._lines_to(far)

    @property
    def effect(self) -> Effect:
        return self.scene.effect

    @property
    def etag(self) -> str:
        """A quoted entity tag of what PATCH changes: its effects, its picture and its endpoints.
        Figures and states beside those change with every frame, and are of no matter to it."""
        return self.scene.etag

    @property
    def tracks(self) -> Mapping[str, VideoTrack]:
        """The present peer's video tracks, by mid."""
        return {} if self._peer is None else self._peer.tracks

    def set_level(self, level: Level) -> None:
        """Another quality level for all of its tracks, from their next frames on."""
        kind = Kind.QUALITY_LOWERED if level.step > self.level.step else Kind.QUALITY_RESTORED
        self.level = level
        self._spend()
        if self.state is not State.ENDED:
            self.events.publish(kind, level=level.value)

    def _spend(self) -> None:
        for track in self.tracks.values():
            track.spend(EFFORTS[self.level])

    def _effect_changed(self, mid: str | None, effect: Effect) -> None:
        if self.state is not State.ENDED:
            self.events.publish(Kind.EFFECT_CHANGED, mid=mid, effect=effect_json(effect))

    # The peer.

    async def offer(
        self,
        sdp: str,
        control: Callable[[Channel], Awaitable[None]] | None = None,
        *,
        use: Use = Use.RETURNED,
    ) -> Answer:
        """Answer an SDP offer of a camera; the peer before it, if any, is replaced. `control`
        talks over the peer's data channel. What is made of the video goes back to the peer or, by
        `use`, to viewers alone.

        Raises BadOffer or UnsupportedOffer, or what set_effect raises where the session's first
        effect cannot be had; then the peer before it goes on.
        """
        if Way.PULL in self._lines:
            raise NotAllowed("the session's video is pulled from another server: it takes no offer")
        async with self._offering:
            if self.cause:
                raise UnknownPeer
            looks = await self.scene.first_looks()
            peer = self._make_peer(looks, use, self._settings.peer, control)
            try:
                answer_sdp = await peer.answer(sdp)
                self._succeeded = True
                await self._end_peer("replaced")
                if self.cause:
                    raise UnknownPeer  # the session ended while its offer was being answered
            except BaseException:
                self._succeeded = False
                await peer.abandon()
                if self._peer is None:
                    self._tell_waiting("replaced")
                raise
            return self._adopt(peer, looks, answer_sdp)

    def _make_peer(
        self,
        looks: Looks,
        use: Use,
        settings: PeerSettings,
        control: Callable[[Channel], Awaitable[None]] | None = None,
    ) -> Peer:
        peer = Peer(
            settings=settings,
            make_pipeline=lambda look: self._make_pipeline(look, self.spec),
            wanted=looks.wanted,
            audio=self.spec.audio,
            max_fps=self.spec.max_fps,
            workers=self._workers,
            counters=self._counters,
            on_state=lambda state: self._peer_changed(peer, state),
            on_away=lambda mid, away: self._person_changed(peer, mid, away),
            on_fault=lambda mid: self._frames_failed(peer, mid),
            on_step=lambda step: self._peer_reached(peer, step),
            control=control,
            use=use,
            showing=self.audience,
        )
        return peer

    def _adopt(self, peer: Peer, looks: Looks, answer_sdp: str) -> Answer:
        """From here on the session has this peer; nothing is awaited in between."""
        looks.forget_tracks()
        self._succeeded = False
        answer = Answer(answer_sdp, secrets.token_urlsafe(12), f'"{secrets.token_hex(8)}"')
        self._peer, self._answer = peer, answer
        self._spend()
        self._become(State.CONNECTING)
        self._set_up = self._traces.answered(self.id)
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

    def has_peer(self, peer_id: str) -> bool:
        """Whether this is its present peer."""
        return self._answer is not None and self._answer.peer_id == peer_id

    def _present(self, peer_id: str) -> tuple[Peer, Answer]:
        if self._peer is None or self._answer is None or self._answer.peer_id != peer_id:
            raise UnknownPeer
        return self._peer, self._answer

    async def _run_peer(self, peer: Peer) -> str:
        short = about_session(self.id)
        cause = "fault"
        try:
            cause = await peer.run()
            logger.info("session %s: peer ended: %s", short, cause)
            # Of one that is pulled its line tells, and tries again.
            if cause in PEER_ERRORS and Way.PULL not in self._lines:
                self._tell_error(PEER_ERRORS[cause])
        except Exception:
            logger.exception("session %s: a fault ended its peer", short)
            self._tell_error("peer_fault")
        finally:
            if self._peer is peer:
                self._used = self._used.and_also(peer.tracks.values())
                self._peer = self._answer = None
                self._set_up.ended(cause)
                # Of one that fell silent, a browser that was killed, nothing was heard for a while.
                silent = cause == "silent" and Way.PULL not in self._lines
                silent_s = self._settings.peer.end_after_s if silent else 0.0
                self._idle_since_s = time.monotonic() - silent_s
                if self.state is not State.ENDED:
                    self._become(State.CREATED)
                    if not self._succeeded:
                        self._tell_waiting(cause)
                self._changed.set()
        return cause

    def _tell_waiting(self, cause: str) -> None:
        """Also where a peer went that never was live, but took the place of one that was."""
        if self._told_live and self.state is not State.ENDED:
            self._told_live = False
            self.events.publish(Kind.WAITING, cause=cause)

    def _peer_changed(self, peer: Peer, state: PeerState) -> None:
        if self._peer is peer and state is PeerState.LIVE and self.state is not State.ENDED:
            if self.state is not State.LIVE:  # one that was suspended for a while is live still
                self.events.publish(Kind.LIVE)
                self._told_live = True
            self._was_live = True
            self._become(State.LIVE)
            if Way.PULL in self._lines:
                self._lines[Way.PULL].is_live()

    def _peer_reached(self, peer: Peer, step: Step) -> None:
        if self._peer is peer:
            self._set_up.reached(step)

    def _person_changed(self, peer: Peer, mid: str, away: bool) -> None:
        if self._peer is peer and self.state is not State.ENDED:
            self.events.publish(Kind.PERSON_AWAY if away else Kind.PERSON_BACK, mid=mid)

    def _frames_failed(self, peer: Peer, mid: str) -> None:
        now_s = time.monotonic()
        if self._peer is peer and now_s - self._told_of_frames_s >= FRAME_ERRORS_INTERVAL_S:
            self._told_of_frames_s = now_s
            self._tell_error("frames", mid=mid)

    def _tell_error(self, code: str, *, mid: str | None = None) -> None:
        if self.state is not State.ENDED:
            self.events.publish(Kind.ERROR, mid=mid, code=code)

    async def _end_peer(self, cause: str) -> None:
        peer, task = self._peer, self._peer_task
        if peer is None or task is None:
            return
        peer.close(cause)
        await asyncio.wait({task})

    # Other servers.

    def _lines_to(self, far: Far) -> dict[Way, Line]:
        """One for each that there is."""

        def line(
            way: Way,
            endpoint: Endpoint,
            connect: Callable[[Exchange], Awaitable[str]],
            hang_up: Callable[[], None],
            ready: Callable[[], Awaitable[object]] | None = None,
        ) -> Line:
            return Line(
                way,
                endpoint,
                session_id=self.id,
                exchanges=far.exchanges,
                settings=self._settings.sfu,
                counters=self._counters,
                connect=connect,
                hang_up=hang_up,
                ready=ready,
                tell=self._tell_line,
            )

        lines = {}
        if far.pull is not None:
            lines[Way.PULL] = line(Way.PULL, far.pull, self._pull, self._end_pull)
        if far.push is not None:
            lines[Way.PUSH] = line(Way.PUSH, far.push, self._push, self._end_push, self._live.wait)
        return lines

    def endpoint(self, way: Way) -> Endpoint | None:
        """What it is pulled from, or pushed to; None: it was opened without."""
        line = self._lines.get(way)
        return None if line is None else line.endpoint

    async def set_endpoints(
        self, endpoints: Mapping[Way, Endpoint], *, expected: Collection[str] | None = None
    ) -> None:
        """Other addresses or bearers of servers that it was opened with; `expected` as of
        set_effect. Raises StaleETag; then nothing has changed."""
        async with self.scene.changing(expected):
            for way, endpoint in endpoints.items():
                self._lines[way].replace(endpoint)

    async def _pull(self, exchange: Exchange) -> str:
        """One peer that another server is the source of, to its end; the cause."""
        async with self._offering:
            looks = await self.scene.first_looks()
            peer = self._make_peer(looks, Use.PULL, self._far_settings)
            await exchange.connect(peer)
            self._adopt(peer, looks, "")
        assert self._peer_task is not None, "it was adopted"
        return await asyncio.shield(self._peer_task)

    def _end_pull(self) -> None:
        if self._peer is not None:
            self._peer.close("replaced")

    async def _push(self, exchange: Exchange) -> str:
        line = self._lines[Way.PUSH]
        return await self.audience.push(exchange, line.is_live, self._far_settings)

    def _end_push(self) -> None:
        self.audience.end_push("replaced")

    @property
    def _far_settings(self) -> PeerSettings:
        """Another server is given up sooner than a browser, which may be in a lift."""
        peer, silence_s = self._settings.peer, self._settings.sfu.silence_s
        return dataclasses.replace(
            peer, end_after_s=silence_s, suspend_after_s=min(peer.suspend_after_s, silence_s / 2)
        )

    def line_states(self) -> list[tuple[str, str]]:
        """Its pull and its push, with their states. From any thread."""
        return [(way.value, line.state.value) for way, line in self._lines.items()]

    def _tell_line(self, kind: Kind, **details: object) -> None:
        if self.state is not State.ENDED:
            self.events.publish(kind, mid=None, **details)
        self._changed.set()

    async def _run_line(self, line: Line) -> None:
        while True:
            try:
                await line.run()
            except Exception:
                logger.exception("session %s: a fault ended a line", about_session(self.id))
            self._idle_since_s = time.monotonic()
            self._changed.set()
            await line.replaced()

    # Its life.

    async def run(self) -> str:
        """Until the session ends: the cause (`deleted`, `drained`, `expired`, `idle`, `moved`,
        `never_connected`). Nothing of it is left when this returns."""
        lines = [asyncio.create_task(self._run_line(line)) for line in self._lines.values()]
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
            used = self._used.and_also(self.tracks.values())
            self.events.publish(
                Kind.ENDED,
                cause=self.cause,
                duration_s=round(time.time() - self.created_at, 3),
                cpu_seconds=round(used.cpu_seconds + self.audience.cpu_seconds, 3),
                frames=used.frames,
            )
            self.events.close()
            for line in lines:
                line.cancel()
            await self.audience.end(self.cause)
            await self._end_peer(self.cause)
            if lines:
                # Each leaves (DELETE) what another server made for it.
                await asyncio.wait(lines)
        return self.cause

    @property
    def attended(self) -> bool:
        """Whether it has a peer, or is getting one: of a pull, it is so until it fails."""
        pull = self._lines.get(Way.PULL)
        pulled = pull is not None and not pull.over
        return pulled or self._peer is not None or self._offering.locked()

    def end(self, cause: str) -> None:
        """Let `run` end; the first cause stays."""
        self.cause = self.cause or cause
        self._changed.set()

    def _overdue(self, now_s: float) -> str | None:
        if now_s >= self._deadline_s:
            return "expired"
        if not self.attended and now_s - self._idle_since_s >= self._settings.idle_ttl_s:
            return "idle" if self._was_live else "never_connected"
        return None

    def _remaining_s(self, now_s: float) -> float:
        remaining_s = self._deadline_s - now_s
        if not self.attended:
            idle_end_s = self._idle_since_s + self._settings.idle_ttl_s
            remaining_s = min(remaining_s, idle_end_s - now_s)
        return max(SHORTEST_WAIT_S, remaining_s)

    def _become(self, state: State) -> None:
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransition(f"{self.state.value} -> {state.value}")
        self.state = state
        if state is State.LIVE:
            self._live.set()
        else:
            self._live.clear()

    def describe(self) -> dict[str, object]:
        """The session's JSON (docs/api.md)."""
        peer = self._peer
        tracks = [] if peer is None else peer.describe_tracks()
        for track in tracks:
            assert self.scene.looks is not None, "a peer has looks"
            track["effect"] = effect_json(self.scene.looks.wanted(str(track["mid"])).effect)
            track["quality_level"] = self.level.value
        round_trip_s = None if peer is None else peer.round_trip_s
        return {
            "id": self.id,
            "etag": self.etag,
            "state": self.state.value,
            "peer": None if peer is None else peer.state.value,
            "effect": effect_json(self.effect),
            "allowed_effects": sorted(self.spec.allowed_effects),
            "away": {
                "after_s": self.spec.away.after_s,
                "background": self.spec.away.background,
            },
            "audio": self.spec.audio,
            "max_width": self.spec.max_width,
            "max_height": self.spec.max_height,
            "max_fps": self.spec.max_fps,
            "created_at": round(self.created_at, 3),
            "expires_at": round(self.expires_at, 3),
            "metadata": dict(self.spec.metadata),
            "tenant": self.spec.tenant,
            "lock": self.spec.lock.value,
            "backgrounds": None if self.spec.backgrounds is None else sorted(self.spec.backgrounds),
            "logo": self.spec.logo,
            "last_event_id": self.events.last_id,
            "round_trip_ms": None if round_trip_s is None else round(round_trip_s * 1e3, 1),
            "tracks": tracks,
            "viewers": self.audience.describe(),
            "pull": self._describe_line(Way.PULL),
            "push": self._describe_line(Way.PUSH),
        }

    def _describe_line(self, way: Way) -> dict[str, object] | None:
        if way not in self._lines:
            return None
        sent = {"sent": self.audience.describe_pushed()} if way is Way.PUSH else {}
        return {**self._lines[way].describe(), **sent}
