"""Stand-ins for what the HTTP layer talks to: sessions without media, a library without files.

They have the signatures of service.session.registry and service.session.session, and raise what
those raise; tests/web/test_real_registry.py runs the same application on the real ones.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.errors import (
    BadOffer,
    InvalidField,
    LibraryUnavailable,
    ModelUnavailable,
    NoMediaPort,
    NotAllowed,
    PictureError,
    Refused,
    StaleETag,
    UnknownBackground,
    UnknownPeer,
    UnknownSession,
    UnsupportedOffer,
)
from service.policy.effects import SESSION_BACKGROUND, Effect, Image, effect_json, effect_type
from service.policy.levels import Level
from service.policy.rules import require_background
from service.rtc.offer import Use
from service.session.audience import Seated
from service.session.catalogue import Listed as ListedModel
from service.session.events import Events, Feed, Kind, Listener
from service.session.pictures import Listed, PictureFile
from service.session.session import Answer, State
from service.session.sfu import Way

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from service.rtc.channel import Channel
    from service.session.sfu import Endpoint
    from service.session.spec import SessionSpec

CREATED_AT = 1_800_000_000.0
ETAG = '"etag-1"'


class WatchedEvents(Events):
    """Real events, at a time that stands still, and how many listen to them."""

    def __init__(self, feed: Feed | None = None, session_id: str = "") -> None:
        super().__init__(
            session_id=session_id,
            metadata={"of": session_id},
            ids=None if feed is None else feed._ids,
            onward=(lambda _: None) if feed is None else feed.tell,
            now=lambda: CREATED_AT,
        )
        self.listening = 0
        self._changed = asyncio.Event()

    def listen(self, after: int | None = None) -> Listener:
        self.listening += 1
        self._changed.set()
        return super().listen(after)

    def leave(self, listener: Listener) -> None:
        super().leave(listener)
        self.listening -= 1
        self._changed.set()

    async def listened_to_by(self, count: int) -> None:
        """Until so many listen."""
        async with asyncio.timeout(10):
            while self.listening != count:
                self._changed.clear()
                await self._changed.wait()


class FakeAudience:
    """Two seats; its viewers are "viewer-1", "viewer-2", ..."""

    def __init__(self) -> None:
        self.viewers: list[str] = []
        self.fragments: list[str] = []
        self._made = 0

    async def offer(self, sdp: str) -> Seated:
        if len(self.viewers) >= 2:
            raise Refused("viewer_cap", 5, whom="viewer")
        if sdp == "ports are taken":
            raise NoMediaPort("no port of the range for media is free")
        if not sdp.startswith("v=0"):
            raise BadOffer("the offer is no SDP")
        if "m=video" not in sdp or "a=sendonly" in sdp:
            raise UnsupportedOffer("the offer receives no video")
        self._made += 1
        self.viewers.append(f"viewer-{self._made}")
        return Seated("v=0 answer", self.viewers[-1], ETAG)

    async def trickle(self, viewer_id: str, fragment: str, if_match: str) -> None:
        self._present(viewer_id)
        if {"*", '"*"', ETAG}.isdisjoint(tag.strip() for tag in if_match.split(",")):
            raise StaleETag
        if fragment == "hello":
            raise BadOffer("the fragment is none")
        if "a=ice-ufrag:new" in fragment:
            raise UnsupportedOffer("an ICE restart is not supported")
        self.fragments.append(fragment)

    async def leave(self, viewer_id: str) -> None:
        self._present(viewer_id)
        self.viewers.remove(viewer_id)

    def _present(self, viewer_id: str) -> None:
        if viewer_id not in self.viewers:
            raise UnknownPeer


@dataclass
class FakeSession:
    """A session with one video track, "0", and whatever peer was offered last."""

    id: str
    spec: SessionSpec
    serial: int = 0
    state: State = State.CREATED
    level: Level = Level.FULL
    version: int = 0
    reopened: bool = False
    film_memory_full: bool = False
    created_at: float = CREATED_AT
    effect: Effect = field(init=False)
    peer_id: str | None = None
    cause: str = ""
    picture: bytes | None = None
    track_effects: dict[str, Effect] = field(default_factory=dict)
    fragments: list[str] = field(default_factory=list)
    offers: list[str] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    audience: FakeAudience = field(default_factory=FakeAudience)
    control: Callable[[Channel], Awaitable[None]] | None = None
    "Talks over the data channel of the peer that was offered last."
    pull: Endpoint | None = None
    push: Endpoint | None = None
    events: WatchedEvents = field(default_factory=WatchedEvents)

    def __post_init__(self) -> None:
        self.effect = self.spec.effect

    @property
    def scene(self) -> FakeSession:
        """It is both."""
        return self

    @property
    def etag(self) -> str:
        return f'"{self.id}-{self.version}"'

    def require_version(self, expected: Collection[str] | None) -> None:
        if expected is not None and self.etag not in expected:
            raise StaleETag(self.etag)

    @property
    def expires_at(self) -> float:
        return self.created_at + self.spec.ttl_s

    def endpoint(self, way: Way) -> Endpoint | None:
        return self.pull if way is Way.PULL else self.push

    async def set_endpoints(
        self, endpoints: Mapping[Way, Endpoint], *, expected: Collection[str] | None = None
    ) -> None:
        self.require_version(expected)
        self.version += 1
        self.pull, self.push = (endpoints.get(way, self.endpoint(way)) for way in Way)

    async def set_effect(
        self,
        effect: Effect,
        *,
        mid: str | None = None,
        bound: bool = False,
        expected: Collection[str] | None = None,
    ) -> None:
        self.require_version(expected)
        if effect_type(effect) not in self.spec.allowed_effects:
            raise NotAllowed("not in this session")
        require_background(effect, self.spec.backgrounds)
        if bound and not self.spec.lock.keeps(self.effect, effect):
            raise NotAllowed("locked")
        if mid is not None and mid != "0":
            raise InvalidField("mid", "is no track")
        if self.film_memory_full:
            raise Refused("film_memory", 60)
        own = isinstance(effect, Image) and effect.background == SESSION_BACKGROUND
        if own and self.picture is None:
            raise UnknownBackground(SESSION_BACKGROUND)
        await FakeModels().require(getattr(effect, "model", "hybrid"))
        if mid is None:
            self.effect = effect
        else:
            self.track_effects[mid] = effect
        self.version += 1

    async def set_picture(self, data: bytes) -> None:
        if data == b"no room for this film":
            raise Refused("film_memory", 60)
        if not data.startswith(b"RIFF"):
            raise PictureError("the picture cannot be decoded as JPEG, PNG or WebP")
        self.picture = data

    async def offer(
        self,
        sdp: str,
        control: Callable[[Channel], Awaitable[None]] | None = None,
        *,
        use: Use = Use.RETURNED,
    ) -> Answer:
        if sdp == "background is gone":
            raise UnknownBackground("attic")
        if sdp == "the store is down":
            raise LibraryUnavailable
        if sdp == "ports are taken":
            raise NoMediaPort("no port of the range for media is free")
        if sdp == "fault":
            raise RuntimeError(f"an unforeseen fault in {sdp}")
        if not sdp.startswith("v=0"):
            raise BadOffer("the offer is no SDP")
        if "m=video" not in sdp:
            raise UnsupportedOffer("the offer has no video")
        await FakeModels().require(getattr(self.effect, "model", "hybrid"))
        self.offers.append(sdp)
        self.uses.append(use)
        self.control = control
        self.peer_id = f"peer-{len(self.offers)}"
        return Answer("v=0 answer", self.peer_id, ETAG)

    async def trickle(self, peer_id: str, fragment: str, if_match: str) -> None:
        self._present(peer_id)
        if {"*", '"*"', ETAG}.isdisjoint(tag.strip() for tag in if_match.split(",")):
            raise StaleETag
        if fragment == "hello":
            raise BadOffer("the fragment is none")
        if "a=ice-ufrag:new" in fragment:
            raise UnsupportedOffer("an ICE restart is not supported")
        self.fragments.append(fragment)

    async def hang_up(self, peer_id: str) -> None:
        self._present(peer_id)
        self.peer_id = None

    def end(self, cause: str) -> None:
        self.cause = cause

    def describe(self) -> dict[str, object]:
        return {
            "id": self.id,
            "etag": self.etag,
            "state": self.state.value,
            "effect": effect_json(self.effect),
        }

    def _present(self, peer_id: str) -> None:
        if peer_id != self.peer_id:
            raise UnknownPeer


class FakeRegistry:
    """Sessions "session-1", "session-2", ..., with room for as many as the test says."""

    def __init__(self) -> None:
        self.draining = False
        self.move_to = ""
        self.feed = Feed(now=lambda: CREATED_AT)
        self.room = 100
        self.ended: list[tuple[str, str]] = []
        self._sessions: dict[str, FakeSession] = {}
        self._made = 0

    def create(
        self,
        spec: SessionSpec,
        *,
        session_id: str | None = None,
        pull: Endpoint | None = None,
        push: Endpoint | None = None,
    ) -> FakeSession:
        if self.draining or len(self._sessions) >= self.room:
            raise Refused("draining" if self.draining else "cpu_budget", 7, self.move_to)
        self._made += 1
        name = session_id or f"session-{self._made}"
        session = FakeSession(name, spec, serial=self._made, events=WatchedEvents(self.feed, name))
        session.pull, session.push = pull, push
        self._sessions[session.id] = session
        return session

    def get(self, session_id: str) -> FakeSession:
        try:
            return self._sessions[session_id]
        except KeyError:
            raise UnknownSession from None

    def sessions(self) -> list[FakeSession]:
        return list(self._sessions.values())

    async def end(self, session_id: str, cause: str = "deleted") -> None:
        await asyncio.sleep(0)
        session = self.get(session_id)
        session.events.publish(Kind.ENDED, cause=cause)
        session.events.close()
        self.forget(session_id)
        self.ended.append((session_id, cause))

    def forget(self, session_id: str) -> None:
        """As if this were another server, which never had the session."""
        del self._sessions[session_id]


class FakeModels:
    """Every model but rvm."""

    async def require(self, model: str) -> None:
        if model == "rvm":
            raise ModelUnavailable(model)

    async def list(self) -> tuple[ListedModel, ...]:
        return (ListedModel("hybrid", ()), ListedModel("rvm", ("rvm",)))


class FakePictures:
    """A library of two pictures that are no pictures, both built in, and nothing beside them."""

    async def list(self) -> tuple[list[Listed], bool]:
        return [await self.find(name) for name in ("attic", "library-warm")], True

    async def require(self, name: str) -> None:
        await self.find(name)

    def require_writable(self, name: str) -> None:
        """Nothing: tests/web/test_library.py has what a library refuses."""

    async def find(self, name: str) -> Listed:
        file = self._file(name, "large")
        return Listed(name, name.title(), 1920, 1080, len(file.data), etag=file.etag, built_in=True)

    async def file(self, name: str) -> PictureFile:
        return self._file(name, "large")

    async def thumbnail(self, name: str) -> PictureFile:
        return self._file(name, "small")

    def _file(self, name: str, size: str) -> PictureFile:
        if name not in ("attic", "library-warm"):
            raise UnknownBackground(name)
        return PictureFile(f"{size} {name}".encode(), f"etag-{size}-{name}")


class FakeMetrics:
    """A scrape of one line, and how many logins failed."""

    def __init__(self) -> None:
        self.failed_logins: list[str] = []

    def failed_login(self, answer: str) -> None:
        self.failed_logins.append(answer)

    def admission(self, decision: str, reason: str) -> None:
        """Counted by the registry, where there is no fleet."""

    def fleet_passed_on(self, outcome: str) -> None:
        """Nobody is there to pass anything on to."""

    def exposition(self) -> tuple[bytes, str]:
        return b"backcloth_raw_frames_total 0.0\n", "text/plain; version=1.0.0; charset=utf-8"


class FakeCpu:
    """Two cores, a quarter of them in use."""

    quota_cores = 2.0

    def load_ratio(self) -> float:
        return 0.25
