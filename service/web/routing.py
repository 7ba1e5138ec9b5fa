"""Every server of a fleet answers for every session: which of them has it, and the request sent on.

A middleware, after the guards and before the handlers. A session that is here is served here. For
another one its home, which its id names, is asked first, then all others: a session that was
opened again is somewhere else. Where nobody has it the handlers decide, as on a server alone: an
offer with the session's token opens it here.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from aiohttp import web

from service.errors import UnknownSession
from service.web.access import Holder
from service.web.peers import RETRY_S, Unanswered
from service.web.problems import FORBIDDEN, PEER_UNREACHABLE, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp.typedefs import Handler, Middleware

    from service.policy.fleet import Member
    from service.session.registry import Registry
    from service.web.access import Access
    from service.web.peers import Peers
    from service.web.reopening import Reopening

SEEK: Final = "/v1/fleet/sessions/{sought}"
"""One member asks another whether a session is there."""
CREATE: Final = "/v1/sessions"
PUBLISH: Final = "/v1/whip"
WATCHED: Final = "/v1/whep/"
SESSION_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
"""Whatever is none is nowhere, and nobody is asked for it."""


class Known(Enum):
    """What a server knows of a session."""

    HERE = "here"
    DELETED = "deleted"
    "Ended on purpose: nobody opens it again."
    LEAVING = "leaving"
    "Still there, on a server that is stopping: an offer opens it elsewhere."
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Found:
    """Who has a session, or had it until it was deleted."""

    member: Member
    known: Known


@dataclass(frozen=True, slots=True)
class Nowhere:
    """No member that answered has the session."""

    silent: int
    "Members that did not answer: they may have it."


class Routing:
    """Finds sessions in the fleet."""

    def __init__(
        self, *, peers: Peers, registry: Registry, reopening: Reopening, access: Access
    ) -> None:
        self._peers = peers
        self._registry = registry
        self._reopening = reopening
        self._access = access

    def known(self, session_id: str) -> Known:
        """What this server knows."""
        try:
            self._registry.get(session_id)
        except UnknownSession:
            deleted = self._reopening.is_deleted(session_id)
            return Known.DELETED if deleted else Known.UNKNOWN
        return Known.LEAVING if self._registry.draining else Known.HERE

    async def seek(self, request: web.Request) -> web.Response:
        """GET of SEEK, of members alone."""
        if not self._peers.came_from_peer(request):
            raise Problem(FORBIDDEN, "members of the fleet ask each other this, and nobody else")
        known = self.known(request.match_info["sought"])
        return web.json_response({"session": known.value})

    async def find(self, session_id: str) -> Found | Nowhere:
        """Where among the other members a session is."""
        if SESSION_ID.fullmatch(session_id) is None:
            return Nowhere(0)
        others = await self._peers.others()
        home = self._peers.fleet.home(session_id, others)
        answers = await self._ask([home] if home else [], session_id)
        if not any(known in (Known.HERE, Known.DELETED) for _, known in answers):
            answers += await self._ask([one for one in others if one != home], session_id)
        for wanted in (Known.HERE, Known.DELETED, Known.LEAVING):
            for member, known in answers:
                if known is wanted:
                    return Found(member, known)
        return Nowhere(sum(known is None for _, known in answers))

    async def _ask(
        self, members: Sequence[Member], session_id: str
    ) -> list[tuple[Member, Known | None]]:
        """What each of these knows, None of one that does not answer; all are asked at once."""
        path = SEEK.replace("{sought}", session_id)

        async def ask(member: Member) -> Known | None:
            try:
                answer = await self._peers.ask(member, "GET", path)
                return Known(answer.body.get("session"))
            except (Unanswered, ValueError):
                return None

        answers = await asyncio.gather(*(ask(member) for member in members))
        return list(zip(members, answers, strict=True))

    def middleware(self) -> Middleware:
        """Sends requests for sessions on to where these are."""

        @web.middleware
        async def route(request: web.Request, handler: Handler) -> web.StreamResponse:
            # A hop is judged wherever one comes, and sent on no more: so no request goes round.
            if self._peers.came_from_peer(request) or request.method == "OPTIONS":
                return await handler(request)
            session_id = self._session_of(request)
            if session_id is None or self.known(session_id) is not Known.UNKNOWN:
                return await handler(request)
            place = await self.find(session_id)
            may_open = self._may_open(request)
            if isinstance(place, Found):
                if place.known is Known.LEAVING and may_open:
                    return await handler(request)
                return await self._peers.forward(request, place.member)
            if place.silent and not may_open:
                raise Problem(
                    PEER_UNREACHABLE,
                    f"the session is not here, and {place.silent} of the fleet do not answer",
                    headers={"Retry-After": str(RETRY_S)},
                )
            return await handler(request)

        return route

    def _session_of(self, request: web.Request) -> str | None:
        """The session that a request is for. Callers are judged before anybody is asked."""
        session_id = request.match_info.get("session_id")
        if session_id is not None:
            if request.path.startswith(WATCHED):
                self._access.viewer(request)
            else:
                self._access.session(request)
            return session_id
        if request.method == "POST" and request.path == PUBLISH:
            publisher = self._access.publisher(request)
            return publisher.grant.session_id if isinstance(publisher, Holder) else None
        if request.method == "POST" and request.path == CREATE:
            # A token that the platform signed opens the one session that it names, or finds it.
            caller = self._access.opener(request)
            return caller.grant.session_id if isinstance(caller, Holder) else None
        return None

    def _may_open(self, request: web.Request) -> bool:
        """Whether the handler opens the session where nobody has it: then its client is not made
        to wait for a server that may be gone."""
        if request.path.startswith(WATCHED):
            return False
        return request.method == "POST" and isinstance(self._access.caller(request), Holder)
