"""All sessions of a server over HTTP: listed page by page, and ended many at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final

from aiohttp import web

from service.errors import InvalidField, UnknownSession
from service.web.bodies import parse_object, read_json_bytes
from service.web.selection import MAX_LIMIT, Cursors, parse_filter, parse_page
from service.web.spec import MAX_TTL_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from service.session.registry import Registry
    from service.session.session import Session
    from service.web.access import Access
    from service.web.reopening import Reopening

MAX_ENDED: Final = MAX_LIMIT
"""Of one request; more are the next one's."""
MAX_ID_CHARS: Final = 128
FIELDS: Final = ("ids", "filter")


class Fleet:
    """The handlers of GET /v1/sessions and POST /v1/sessions/end."""

    def __init__(
        self,
        *,
        registry: Registry,
        reopening: Reopening,
        access: Access,
        now: Callable[[], float],
    ) -> None:
        """`now` is in unix seconds."""
        self._registry = registry
        self._reopening = reopening
        self._access = access
        self._now = now
        self._cursors = Cursors()

    async def list(self, request: web.Request) -> web.Response:
        """GET: the oldest first, so that a walk from page to page meets each session that was
        there from its beginning to its end once, whatever else comes and goes."""
        self._access.platform(request)
        page = parse_page(request.query, self._cursors)
        meant = (
            session
            for session in self._registry.sessions()
            if session.serial > page.after and page.filter.takes(session)
        )
        found = list(islice(meant, page.limit + 1))
        shown = found[: page.limit]
        more = len(found) > page.limit
        return web.json_response(
            {
                "sessions": [session.describe() for session in shown],
                "next_cursor": self._cursors.write(shown[-1].serial) if more else None,
            }
        )

    async def end(self, request: web.Request) -> web.Response:
        """POST: ends what the body names, and answers when nothing of it is left."""
        self._access.platform(request)
        body = parse_object(await read_json_bytes(request))
        _require_one_of(body)
        sessions = self._registry.sessions()
        here = {session.id for session in sessions}
        if "ids" in body:
            ids, more = _ids(body["ids"]), False
        else:
            ids, more = _meant(body["filter"], sessions)
        # All of them before any end is awaited, and those that are not here: as DELETE does.
        until = self._now() + MAX_TTL_S
        for session_id in ids:
            self._reopening.deleted(session_id, until=until)
        ending = [session_id for session_id in ids if session_id in here]
        await asyncio.gather(*(self._end(session_id) for session_id in ending))
        unknown = [session_id for session_id in ids if session_id not in here]
        return web.json_response({"ended": ending, "unknown": unknown, "more": more})

    async def _end(self, session_id: str) -> None:
        with suppress(UnknownSession):  # it ended by itself a moment ago
            await self._registry.end(session_id)


def _meant(value: object, sessions: Iterable[Session]) -> tuple[list[str], bool]:
    """The oldest that a filter takes, and whether there are more."""
    wanted = parse_filter(value)
    if not wanted:
        raise InvalidField(
            "filter", "must ask for something: to end all, name every state they can have"
        )
    found = list(islice((one.id for one in sessions if wanted.takes(one)), MAX_ENDED + 1))
    return found[:MAX_ENDED], len(found) > MAX_ENDED


def _require_one_of(body: Mapping[str, object]) -> None:
    for name in body:
        if name not in FIELDS:
            raise InvalidField(name[:64], f"is not a field, which are {' and '.join(FIELDS)}")
    if len(body) != 1:
        raise InvalidField("ids", "or filter must be given, and one of the two alone")


def _ids(value: object) -> list[str]:
    usable = isinstance(value, list) and all(
        isinstance(one, str) and 1 <= len(one) <= MAX_ID_CHARS for one in value
    )
    if not isinstance(value, list) or not usable or not 1 <= len(value) <= MAX_ENDED:
        raise InvalidField("ids", f"must be a list of 1 to {MAX_ENDED} ids of sessions")
    return list(dict.fromkeys(value))
