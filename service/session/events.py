"""What happened in a session, told to whoever listens.

session.py publishes; web/events.py listens on behalf of a platform or a browser. Everything is on
the event loop and publishing never waits: a listener that does not keep up is cut off, so that
none of them can hold media back or keep more than a bounded number of events.
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


class Kind(Enum):
    """What can happen; the words are API (docs/api.md)."""

    LIVE = "session.live"
    ENDED = "session.ended"
    EFFECT_CHANGED = "effect.changed"
    PERSON_AWAY = "person.away"
    PERSON_BACK = "person.back"
    QUALITY_LOWERED = "quality.lowered"
    QUALITY_RESTORED = "quality.restored"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened in one session."""

    id: int
    "Grows from event to event of a session, wherever it is opened again: see Events."
    kind: Kind
    at: float
    "Unix seconds."
    mid: str | None = None
    "The media section of the video track that it is about; None: the whole session."
    details: Mapping[str, object] = field(default_factory=dict)
    "JSON values of this kind's own: the `effect`, the `level`, the `cause` of the end."

    def as_json(self) -> dict[str, object]:
        about = {} if self.mid is None else {"mid": self.mid}
        return {
            "id": self.id,
            "type": self.kind.value,
            "at": round(self.at, 3),
            **about,
            **self.details,
        }


class Closing(Enum):
    """Why a listener hears nothing more."""

    ENDED = "the session has ended"
    TOO_SLOW = "it did not keep up"
    LEFT = "it left, or the server is stopping"


class Listener:
    """One who listens to one session: `next` until it gives a Closing."""

    def __init__(self, again: Iterable[Event], *, missed: bool) -> None:
        """`again`: events from before it came, to be heard first."""
        self.missed = missed
        "Events between the last one it knew and the first one it hears are not kept any more."
        self._waiting = deque(again)
        self._most = len(self._waiting) + QUEUE_EVENTS
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


class Events:
    """The newest events of one session, and its listeners.

    Ids are milliseconds of the clock, and one more than the last where that is larger: a session
    that another server opens again goes on with larger ones, so that a listener that comes back
    there with the last id it knew hears what happened since.
    """

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        """`now` is in unix seconds."""
        self._now = now
        self._kept: deque[Event] = deque()
        self._last_id = 0
        self._last_dropped_id = 0
        self._listeners: set[Listener] = set()
        self._closed = False

    @property
    def last_id(self) -> int:
        """The newest event's; 0 before there is one."""
        return self._last_id

    def publish(self, kind: Kind, *, mid: str | None = None, **details: object) -> None:
        """Something happened, now. Never waits and never raises."""
        at = self._now()
        self._last_id = max(self._last_id + 1, int(at * 1000))
        event = Event(self._last_id, kind, at, mid, details)
        self._kept.append(event)
        if len(self._kept) > EVENTS_KEPT:
            self._last_dropped_id = self._kept.popleft().id
        self._listeners = {listener for listener in self._listeners if listener.tell(event)}

    def listen(self, after: int | None = None) -> Listener:
        """A listener, until `leave`; with `after` it first hears what is kept of later ids."""
        again = [] if after is None else [event for event in self._kept if event.id > after]
        missed = after is not None and after < self._last_dropped_id
        listener = Listener(again, missed=missed)
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
        """The session has ended: nothing is published after this."""
        self._closed = True
        for listener in self._listeners:
            listener.close(Closing.ENDED)
        self._listeners = set()
