"""Every server of a fleet answers for every session: which of them has it, and the request sent on.

A middleware, after the guards and before the handlers. A session that is here is served here. For
another one its home, which its id names, is asked first, then all others: a session that was
opened again is somewhere else. Where nobody has it the handlers decide, as on a server alone: an
offer with the session's token opens it here.

A session that moves is on two servers for a moment: its client makes the next connection before
it leaves the one that is about to stop. Whatever names one of its two connections goes to where
that is, other requests are answered where it will be, and its end ends it on both.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from aiohttp import web

from service.errors import UnknownSession
from service.web.access import Holder
from service.web.peers import RETRY_S, Unanswered
from service.web.problems import FORBIDDEN, PEER_UNREACHABLE, Problem
from service.web.whip import nothing

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
END_TIMEOUT_S: Final = 10.0
"""Of another server, which answers when nothing of the session is left."""
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


@dataclass(frozen=True, slots=True)
class Said:
    """What a member knows of a session; None of one that did not answer."""

    member: Member
    known: Known | None


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
        if not any(one.known in (Known.HERE, Known.DELETED) for one in answers):
            answers += await self._ask([one for one in others if one != home], session_id)
        return _best(answers)

    async def _ask(self, members: Sequence[Member], session_id: str) -> list[Said]:
        """What each of these knows, None of one that does not answer; all are asked at once."""
        path = SEEK.replace("{sought}", session_id)

        async def ask(member: Member) -> Said:
            try:
                answer = await self._peers.ask(member, "GET", path)
                return Said(member, Known(answer.body.get("session")))
            except (Unanswered, ValueError):
                return Said(member, None)

        return await asyncio.gather(*(ask(member) for member in members))

    def middleware(self) -> Middleware:
        """Sends requests for sessions on to where these are."""

        @web.middleware
        async def route(request: web.Request, handler: Handler) -> web.StreamResponse:
            # A hop is judged wherever one comes, and sent on no more: so no request goes round.
            if self._peers.came_from_peer(request) or request.method == "OPTIONS":
                return await handler(request)
            session_id = self._session_of(request)
            if session_id is None:
                return await handler(request)
            if request.method == "DELETE" and request.path == f"{CREATE}/{session_id}":
                return await self._end(request, handler, session_id)
            known = self.known(session_id)
            if known in (Known.HERE, Known.DELETED) or self._is_of_here(request, session_id):
                return await handler(request)
            place = await self.find(session_id)
            if known is Known.LEAVING and not _is_here(place):
                return await handler(request)
            may_open = self._may_open(request)
            if isinstance(place, Found):
                if place.known is Known.LEAVING and may_open:
                    return await handler(request)
                return await self._peers.forward(request, place.member)
            if place.silent and not may_open:
                raise _silent(place)
            return await handler(request)

        return route

    async def _end(
        self, request: web.Request, handler: Handler, session_id: str
    ) -> web.StreamResponse:
        """DELETE of a session: it ends on every server that has it. The one that it moves to
        answers, or else the one that has it."""
        known = self.known(session_id)
        alone = known is Known.HERE and not self._registry.get(session_id).reopened
        if alone or known is Known.DELETED or SESSION_ID.fullmatch(session_id) is None:
            return await handler(request)
        answers = await self._ask(await self._peers.others(), session_id)
        holders: list[tuple[Known, Member | None]] = [(known, None)]
        holders += [(one.known, one.member) for one in answers if one.known is not None]
        order = [
            member
            for wanted in (Known.HERE, Known.LEAVING)
            for has, member in holders
            if has is wanted
        ]
        if not order:
            place = _best(answers)
            if isinstance(place, Found):
                return await self._peers.forward(request, place.member)
            if place.silent:
                raise _silent(place)
            return await handler(request)

        async def elsewhere() -> None:
            await asyncio.gather(*(self._end_at(one, request, session_id) for one in order[1:]))

        # A version that is asked for is of the first one, which may refuse.
        conditional = "If-Match" in request.headers
        if not conditional:
            await elsewhere()
        first = order[0]
        answer = await (handler(request) if first is None else self._peers.forward(request, first))
        if conditional and answer.status == 204:
            await elsewhere()
        return answer

    async def _end_at(self, member: Member | None, request: web.Request, session_id: str) -> None:
        """On a server that is being left; None is this one."""
        if member is None:
            with suppress(UnknownSession):
                await self._registry.end(session_id)
            return
        authorization = request.headers.get("Authorization", "")
        with suppress(Unanswered):
            path = request.rel_url.raw_path
            await self._peers.ask(
                member, "DELETE", path, authorization=authorization, timeout_s=END_TIMEOUT_S
            )

    def _is_of_here(self, request: web.Request, session_id: str) -> bool:
        """Whether a request is for a connection that this server has, or for one to be made with
        it: that is refused while it stops, and goes on elsewhere."""
        try:
            session = self._registry.get(session_id)
        except UnknownSession:
            return False
        if request.method == "POST" and not request.path.startswith(WATCHED):
            return True
        peer_id, viewer_id = (request.match_info.get(name) for name in ("peer_id", "viewer_id"))
        if viewer_id is not None:
            return session.audience.has(viewer_id)
        return peer_id is not None and session.has_peer(peer_id)

    def _session_of(self, request: web.Request) -> str | None:
        """The session that a request is for. Callers are judged before anybody is asked."""
        if request.match_info.handler is nothing:
            # The same everywhere, for everybody, whether there is such a session or not.
            return None
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


def _best(answers: Sequence[Said]) -> Found | Nowhere:
    for wanted in (Known.HERE, Known.DELETED, Known.LEAVING):
        for one in answers:
            if one.known is wanted:
                return Found(one.member, wanted)
    return Nowhere(sum(one.known is None for one in answers))


def _is_here(place: Found | Nowhere) -> bool:
    return isinstance(place, Found) and place.known is Known.HERE


def _silent(place: Nowhere) -> Problem:
    return Problem(
        PEER_UNREACHABLE,
        f"the session is not here, and {place.silent} of the fleet do not answer",
        headers={"Retry-After": str(RETRY_S)},
    )
