"""A session's events over HTTP: server-sent events, for a platform's backend and for client.js.

(WHATWG HTML, "Server-sent events".) The bearer is in the header as everywhere, so a browser reads
the stream by fetch and not by EventSource, which cannot send one. One stream is one listener of
service.session.events and lasts as long as the session at most. The places are bounded, and given
back within LOOK_S when a client has gone.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from aiohttp import web

from service.errors import InvalidField
from service.session.events import Closing, Event
from service.web.problems import TOO_MANY_LISTENERS, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.session.events import Listener
    from service.session.registry import Registry
    from service.web.access import Access

MAX_STREAMS: Final = 256
MAX_STREAMS_PER_SESSION: Final = 8
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
MISSED: Final = b'event: events.missed\ndata: {"type": "events.missed"}\n\n'

EVENT_ID: Final = re.compile(r"[0-9]{1,16}", re.ASCII)


class EventStreams:
    """The handler of /v1/sessions/{session_id}/events."""

    def __init__(self, *, registry: Registry, access: Access) -> None:
        self._registry = registry
        self._access = access
        self._streams: Counter[str] = Counter()
        self._listeners: set[Listener] = set()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """GET: what happens from now on, or from Last-Event-ID on, until the session ends."""
        self._access.session(request)
        session = self._registry.get(request.match_info["session_id"])
        after = _last_event_id(request)
        response = web.StreamResponse(headers=HEADERS)
        if request.method == "HEAD":
            return response
        with self._place(session.id):
            listener = session.events.listen(after)
            self._listeners.add(listener)
            try:
                await response.prepare(request)
                await _tell(request, response, listener)
            except (ConnectionError, TimeoutError):
                # Gone, or as good as gone: what waits to be written would wait for ever.
                if request.transport is not None:
                    request.transport.abort()
            finally:
                self._listeners.discard(listener)
                session.events.leave(listener)
        return response

    async def close(self, _: web.Application) -> None:
        """The server is stopping: every stream ends."""
        for listener in self._listeners:
            listener.close(Closing.LEFT)

    @contextmanager
    def _place(self, session_id: str) -> Iterator[None]:
        """A place for as long as the block runs; raises a 429."""
        if self._streams[session_id] >= MAX_STREAMS_PER_SESSION:
            raise _too_many(f"{MAX_STREAMS_PER_SESSION} listen to this session already")
        if self._streams.total() >= MAX_STREAMS:
            raise _too_many(f"{MAX_STREAMS} listen to the sessions of this server already")
        self._streams[session_id] += 1
        try:
            yield
        finally:
            self._streams[session_id] -= 1
            if not self._streams[session_id]:
                del self._streams[session_id]


async def _tell(request: web.Request, response: web.StreamResponse, listener: Listener) -> None:
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
                await _write(response, _encoded(told))
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
    # One line: JSON escapes the line ends of its texts.
    data = json.dumps(event.as_json())
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
