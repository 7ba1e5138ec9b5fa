"""What happened in a session, told to whoever listens.

session.py publishes; web/events.py listens on behalf of a platform or a browser, to one session or,
by the feed, to all of them; service/webhooks hears the feed too. Everything is on the event loop
and publishing never waits: a listener that does not keep up is cut off, so that none of them can
hold media back or keep more than a bounded number of events.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

EVENTS_KEPT: Final = 64
"""For listeners that come back: the newest events of a session."""
QUEUE_EVENTS: Final = 64
"""So far may a listener fall behind, beyond what it asked to hear again."""
FEED_KEPT: Final = 1024
"""The newest events of all sessions together, for listeners to all of them that come back."""
FEED_QUEUE_EVENTS: Final = 1024
"""So far may a listener to all sessions fall behind."""


class Kind(Enum):
    """What can happen; the words are API (docs/api.md)."""

    CREATED = "session.created"
    LIVE = "session.live"
    WAITING = "session.waiting"
    ENDED = "session.ended"
    EFFECT_CHANGED = "effect.changed"
    PERSON_AWAY = "person.away"
    PERSON_BACK = "person.back"
    MOVE = "session.move"
    QUALITY_LOWERED = "quality.lowered"
    QUALITY_RESTORED = "quality.restored"
    PULL_LIVE = "pull.live"
    PULL_LOST = "pull.lost"
    PUSH_LIVE = "push.live"
    PUSH_LOST = "push.lost"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened in one session."""

    id: int
    "Grows from event to event, also of a session that is opened again elsewhere: see EventIds."
    kind: Kind
    at: float
    "Unix seconds."
    mid: str | None = None
    "The media section of the video track that it is about; None: the whole session."
    details: Mapping[str, object] = field(default_factory=dict)
    "JSON values of this kind's own: the `effect`, the `level`, the `cause` of the end."
    session_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    "The platform's own, of the session."

    def as_json(self) -> dict[str, object]:
        """For those who listen to this session alone."""
        about = {} if self.mid is None else {"mid": self.mid}
        return {
            "id": self.id,
            "type": self.kind.value,
            "at": round(self.at, 3),
            **about,
            **self.details,
        }

    def as_feed_json(self) -> dict[str, object]:
        """For those who listen to all sessions."""
        return {**self.as_json(), "session_id": self.session_id, "metadata": dict(self.metadata)}


class Closing(Enum):
    """Why a listener hears nothing more."""

    ENDED = "the session has ended"
    TOO_SLOW = "it did not keep up"
    LEFT = "it left, or the server is stopping"


class Listener:
    """One who listens to one session or to all: `next` until it gives a Closing."""

    def __init__(
        self, again: Iterable[Event], *, missed: bool, queue_events: int = QUEUE_EVENTS
    ) -> None:
        """`again`: events from before it came, to be heard first; it may fall `queue_events`
        behind beyond those."""
        self.missed = missed
        "Events between the last one it knew and the first one it hears are not kept any more."
        self._waiting = deque(again)
        self._most = len(self._waiting) + queue_events
        self._closing: Closing | None = None
        self._woken = asyncio.Event()

    async def next(self) -> Event | Closing:
        """The next event; after the last one why there are no more. May be cancelled at any
        time: an event that was not returned is returned by the next call."""
        while not self._waiting:
            if self._closing is not None:
                return self._closing
            self._woken.clear()
            await self._woken.wait()
        return self._waiting.popleft()

    def tell(self, event: Event) -> bool:
        """False when it is too far behind; it is closed then."""
        if len(self._waiting) >= self._most:
            self.close(Closing.TOO_SLOW)
            return False
        self._waiting.append(event)
        self._woken.set()
        return True

    def close(self, why: Closing) -> None:
        """Nothing is told any more; the first reason stays."""
        self._closing = self._closing or why
        self._woken.set()


class Broadcast:
    """The newest events of one source, and its listeners."""

    def __init__(self, *, kept: int, queue_events: int, since_id: int = 0) -> None:
        """Keeps so many events. What happened before `since_id` is not known here: a listener
        whose last event is older has missed some."""
        self._most_kept = kept
        self._queue_events = queue_events
        self._since_id = since_id
        self._kept: deque[Event] = deque()
        self._last_id = 0
        self._last_dropped_id = 0
        self._listeners: set[Listener] = set()
        self._closed = False

    @property
    def last_id(self) -> int:
        """The newest event's; 0 before there is one."""
        return self._last_id

    def tell(self, event: Event) -> None:
        """Keeps it and tells all. Never waits and never raises."""
        self._last_id = event.id
        self._kept.append(event)
        if len(self._kept) > self._most_kept:
            self._last_dropped_id = self._kept.popleft().id
        self._listeners = {listener for listener in self._listeners if listener.tell(event)}

    def listen(self, after: int | None = None) -> Listener:
        """A listener, until `leave`; with `after` it first hears what is kept of later ids, and
        with 0 all that is kept."""
        again = [] if after is None else [event for event in self._kept if event.id > after]
        missed = after is not None and (after < self._last_dropped_id or 0 < after < self._since_id)
        listener = Listener(again, missed=missed, queue_events=self._queue_events)
        if self._closed:
            listener.close(Closing.ENDED)
        else:
            self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """It listens no more; harmless for one that was cut off."""
        self._listeners.discard(listener)
        listener.close(Closing.LEFT)

    def close(self) -> None:
        """The session has ended: nothing is told after this."""
        self._closed = True
        for listener in self._listeners:
            listener.close(Closing.ENDED)
        self._listeners = set()


class EventIds:
    """Ids of events, one sequence for all sessions of a process.

    They are milliseconds of the clock, and one more than the last where that is larger: a session
    that another server opens again goes on with larger ones, so that a listener that comes back
    there with the last id it knew hears what happened since.
    """

    def __init__(self, *, at: float = 0.0) -> None:
        """Ids are larger than the millisecond `at` (unix seconds)."""
        self.last = int(at * 1000)

    def next(self, at: float) -> int:
        """The id of what happens at that time."""
        self.last = max(self.last + 1, int(at * 1000))
        return self.last


class Events(Broadcast):
    """The newest events of one session, and those who listen to it alone."""

    def __init__(
        self,
        *,
        session_id: str = "",
        metadata: Mapping[str, str] | None = None,
        ids: EventIds | None = None,
        onward: Callable[[Event], None] = lambda _: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`onward` is told of each event too, as `Broadcast.tell` would be; `now` is in unix
        seconds."""
        super().__init__(kept=EVENTS_KEPT, queue_events=QUEUE_EVENTS)
        self._session_id = session_id
        self._metadata = metadata or {}
        self._ids = ids or EventIds()
        self._onward = onward
        self._now = now

    def publish(self, kind: Kind, *, mid: str | None = None, **details: object) -> None:
        """Something happened, now. Never waits and never raises."""
        at = self._now()
        event = Event(self._ids.next(at), kind, at, mid, details, self._session_id, self._metadata)
        self.tell(event)
        self._onward(event)


class Feed(Broadcast):
    """The newest events of all sessions of this process, in the order of their ids."""

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        """`now` is in unix seconds."""
        self._now = now
        self._ids = EventIds(at=now())
        self._hooks: list[Callable[[Event], None]] = []
        super().__init__(kept=FEED_KEPT, queue_events=FEED_QUEUE_EVENTS, since_id=self._ids.last)

    def session(self, session_id: str, metadata: Mapping[str, str]) -> Events:
        """The events of a new session, which are told here as well."""
        return Events(
            session_id=session_id,
            metadata=metadata,
            ids=self._ids,
            onward=self.tell,
            now=self._now,
        )

    def hook(self, hook: Callable[[Event], None]) -> None:
        """`hook` is called with every event from now on. It must neither wait nor raise, and
        bounds what it keeps by itself."""
        self._hooks.append(hook)

    def tell(self, event: Event) -> None:
        """As of a Broadcast, and to the hooks."""
        super().tell(event)
        for hook in self._hooks:
            hook(event)
