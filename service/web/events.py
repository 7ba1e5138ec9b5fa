"""Events over HTTP: server-sent events, of one session or, for a platform's backend, of all.

(WHATWG HTML, "Server-sent events".) The bearer is in the header as everywhere, so a browser reads
the stream by fetch and not by EventSource, which cannot send one. One stream is one listener of
service.session.events; that of a session lasts as long as the session at most. The places are
bounded, and given back within LOOK_S when a client has gone.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

from service.errors import InvalidField
from service.session.events import Closing, Event
from service.web.problems import TOO_MANY_LISTENERS, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from service.session.events import Broadcast, Listener
    from service.session.registry import Registry
    from service.web.access import Access

MAX_STREAMS: Final = 256
MAX_STREAMS_PER_SESSION: Final = 8
MAX_STREAMS_OF_ALL: Final = 8
"""Of listeners to all sessions, who are a platform's own few."""
RETRY_S: Final = 5
HEARTBEAT_S: Final = 15.0
"""Proxies end a connection that is silent; most of them after a minute."""
LOOK_S: Final = 1.0
"""How often a silent stream looks whether its client is still there: aiohttp does not say."""
WRITE_TIMEOUT_S: Final = 10.0
"""A client that takes nothing for so long is not waited for."""

MEDIA_TYPE: Final = "text/event-stream"
HEADERS: Final = {
    "Content-Type": f"{MEDIA_TYPE}; charset=utf-8",
    # nginx holds an answer back until it has a buffer full.
    "X-Accel-Buffering": "no",
}
# A client that lost its connection waits so long before it comes back.
OPENING: Final = b"retry: 2000\n\n"
HEARTBEAT: Final = b":\n\n"
# Without an id, so that the last one a client knows stays the last one that it got.
MISSED_TYPE: Final = "events.missed"
MISSED: Final = f'event: {MISSED_TYPE}\ndata: {{"type": "{MISSED_TYPE}"}}\n\n'.encode()

EVENT_ID: Final = re.compile(r"[0-9]{1,16}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """Whose listeners a stream is counted with."""

    key: str
    most: int
    what: str
    "For people."


Encode = Callable[[Event], bytes]


class EventStreams:
    """The handlers of /v1/sessions/{session_id}/events and /v1/events."""

    def __init__(self, *, registry: Registry, access: Access) -> None:
        self._registry = registry
        self._access = access
        self._streams: Counter[str] = Counter()
        self._listeners: set[Listener] = set()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """GET: what happens from now on, or from Last-Event-ID on, until the session ends."""
        self._access.session(request)
        session = self._registry.get(request.match_info["session_id"])
        place = Place(session.id, MAX_STREAMS_PER_SESSION, "this session")
        return await self._stream(request, session.events, place, _encoded)

    async def stream_all(self, request: web.Request) -> web.StreamResponse:
        """GET: what happens in all sessions of this server, until it stops."""
        self._access.platform(request)
        place = Place("", MAX_STREAMS_OF_ALL, "all sessions")
        return await self._stream(request, self._registry.feed, place, _encoded_of_all)

    async def _stream(
        self, request: web.Request, source: Broadcast, place: Place, encode: Encode
    ) -> web.StreamResponse:
        after = _last_event_id(request)
        response = web.StreamResponse(headers=HEADERS)
        if request.method == "HEAD":
            return response
        with self._taken(place):
            listener = source.listen(after)
            self._listeners.add(listener)
            try:
                await response.prepare(request)
                await _tell(request, response, listener, encode)
            except (ConnectionError, TimeoutError):
                # Gone, or as good as gone: what waits to be written would wait for ever.
                if request.transport is not None:
                    request.transport.abort()
            finally:
                self._listeners.discard(listener)
                source.leave(listener)
        return response

    async def close(self, _: web.Application) -> None:
        """The server is stopping: every stream ends."""
        for listener in self._listeners:
            listener.close(Closing.LEFT)

    @contextmanager
    def _taken(self, place: Place) -> Iterator[None]:
        """A place for as long as the block runs; raises a 429."""
        if self._streams[place.key] >= place.most:
            raise _too_many(f"{place.most} listen to {place.what} already")
        if self._streams.total() >= MAX_STREAMS:
            raise _too_many(f"{MAX_STREAMS} listen to the sessions of this server already")
        self._streams[place.key] += 1
        try:
            yield
        finally:
            self._streams[place.key] -= 1
            if not self._streams[place.key]:
                del self._streams[place.key]


async def _tell(
    request: web.Request, response: web.StreamResponse, listener: Listener, encode: Encode
) -> None:
    """Until there is nothing more to tell or nobody to tell it to."""
    await _write(response, OPENING + (MISSED if listener.missed else b""))
    written_s = time.monotonic()
    while request.transport is not None and not request.transport.is_closing():
        told: Event | Closing | None = None
        try:
            async with asyncio.timeout(LOOK_S):
                told = await listener.next()
        except TimeoutError:
            if time.monotonic() - written_s < HEARTBEAT_S:
                continue
        match told:
            case Event():
                await _write(response, encode(told))
            case Closing():
                if told is Closing.TOO_SLOW:
                    await _write(response, MISSED)
                return
            case None:
                await _write(response, HEARTBEAT)
        written_s = time.monotonic()


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(WRITE_TIMEOUT_S):
        await response.write(data)


def _encoded(event: Event) -> bytes:
    return _block(event, event.as_json())


def _encoded_of_all(event: Event) -> bytes:
    return _block(event, event.as_feed_json())


def _block(event: Event, told: Mapping[str, object]) -> bytes:
    # One line: JSON escapes the line ends of its texts.
    data = json.dumps(told)
    return f"id: {event.id}\nevent: {event.kind.value}\ndata: {data}\n\n".encode()


def _last_event_id(request: web.Request) -> int | None:
    given = request.headers.get("Last-Event-ID", "")
    if not given:
        return None
    if EVENT_ID.fullmatch(given) is None:
        raise InvalidField("Last-Event-ID", "must be the id of an event, or 0 for all that is kept")
    return int(given)


def _too_many(detail: str) -> Problem:
    return Problem(TOO_MANY_LISTENERS, detail, headers={"Retry-After": str(RETRY_S)})
