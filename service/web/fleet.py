"""All sessions of a server, or of its fleet: listed page by page, and ended many at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from multidict import MultiDict

from service.errors import InvalidField, UnknownSession
from service.web.bodies import parse_object, read_json_bytes
from service.web.peers import Unanswered
from service.web.reopening import LONGEST_TOKEN_S
from service.web.selection import MAX_LIMIT, Cursors, parse_filter, parse_page
from service.web.walk import walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from multidict import MultiMapping

    from service.policy.fleet import Member
    from service.session.registry import Registry
    from service.session.session import Session
    from service.web.access import Access
    from service.web.peers import Peers
    from service.web.reopening import Reopening

MAX_ENDED: Final = MAX_LIMIT
"""Of one request; more are the next one's."""
MAX_ID_CHARS: Final = 128
FIELDS: Final = ("ids", "filter")
END: Final = "/v1/sessions/end"
END_TIMEOUT_S: Final = 10.0
"""Of another server, which answers when nothing of its sessions is left."""


class Fleet:
    """The handlers of GET /v1/sessions and POST /v1/sessions/end."""

    def __init__(
        self,
        *,
        registry: Registry,
        reopening: Reopening,
        access: Access,
        now: Callable[[], float],
        peers: Peers | None = None,
    ) -> None:
        """`now` is in unix seconds; `peers` are the other servers of a fleet."""
        self._peers = peers
        self._registry = registry
        self._reopening = reopening
        self._access = access
        self._now = now
        self._cursors = Cursors()

    async def list(self, request: web.Request) -> web.Response:
        """GET: the oldest first, so that a walk from page to page meets each session that was
        there from its beginning to its end once, whatever else comes and goes."""
        self._access.platform(request)
        if self._peers is None or self._peers.came_from_peer(request):
            return web.json_response(self._own_page(request.query))
        # The cursor is the walk's; what else is asked for is judged here, whoever has sessions.
        rest = MultiDict((k, v) for k, v in request.query.items() if k != "cursor")
        found = await walk(
            self._peers,
            request.query,
            limit=parse_page(rest, self._cursors).limit,
            own_page=self._own_page,
            authorization=request.headers.get("Authorization", ""),
        )
        return web.json_response(found.as_json())

    def _own_page(self, query: MultiMapping[str]) -> dict[str, Any]:
        page = parse_page(query, self._cursors)
        meant = (
            session
            for session in self._registry.sessions()
            if session.serial > page.after and page.filter.takes(session)
        )
        found = list(islice(meant, page.limit + 1))
        shown = found[: page.limit]
        more = len(found) > page.limit
        return {
            "sessions": [session.describe() for session in shown],
            "next_cursor": self._cursors.write(shown[-1].serial) if more else None,
        }

    async def end(self, request: web.Request) -> web.Response:
        """POST: ends what the body names, and answers when nothing of it is left."""
        self._access.platform(request)
        body = parse_object(await read_json_bytes(request))
        _require_one_of(body)
        sessions = self._registry.sessions()
        here = {session.id for session in sessions}
        # A session that moves is on another server too.
        stays = not self._registry.draining
        alone = {session.id for session in sessions if stays and not session.reopened}
        if "ids" in body:
            ids, more = _ids(body["ids"]), False
        else:
            ids, more = _meant(body["filter"], sessions)
        # All of them before any end is awaited, and those that are not here: as DELETE does.
        until = self._now() + LONGEST_TOKEN_S
        for session_id in ids:
            self._reopening.deleted(session_id, until=until)
        ending = [session_id for session_id in ids if session_id in here]
        await asyncio.gather(*(self._end(session_id) for session_id in ending))
        unknown = [session_id for session_id in ids if session_id not in here]
        answer = {"ended": ending, "unknown": unknown, "more": more}
        if self._peers is not None and not self._peers.came_from_peer(request):
            if "ids" in body:
                body = {"ids": [one for one in ids if one not in alone]}
            answer = await self._end_elsewhere(answer, body, request)
        return web.json_response(answer)

    async def _end_elsewhere(
        self, own: dict[str, Any], body: Mapping[str, object], request: web.Request
    ) -> dict[str, Any]:
        """The same of all other servers at once, and what became of all of it; of `ids`, none if
        there is none."""
        assert self._peers is not None
        peers = self._peers
        if body.get("ids") == []:
            return {**own, "unanswered": []}
        authorization = request.headers.get("Authorization", "")

        async def ask(member: Member) -> Mapping[str, Any] | None:
            try:
                answer = await peers.ask(
                    member,
                    "POST",
                    END,
                    body=body,
                    authorization=authorization,
                    timeout_s=END_TIMEOUT_S,
                )
            except Unanswered:
                return None
            return answer.body if answer.status == 200 else None

        others = await peers.others()
        answers = await asyncio.gather(*(ask(member) for member in others))
        ended = dict.fromkeys(own["ended"])
        ended |= dict.fromkeys(one for found in answers if found for one in found["ended"])
        return {
            "ended": list(ended),
            "unknown": [one for one in own["unknown"] if one not in ended],
            "more": own["more"] or any(found["more"] for found in answers if found),
            "unanswered": [
                peers.fleet.tag_of(member)
                for member, found in zip(others, answers, strict=True)
                if found is None
            ],
        }

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
