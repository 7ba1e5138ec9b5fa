"""WHIP (RFC 9725): a camera, or whatever sends video, without a browser page of ours.

One address for everybody: the bearer says which session is meant. What is made of the video is
not sent back; it is watched by WHEP (whep.py). The peer's own address is that of rtc.py, which
takes its PATCH and DELETE.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from aiohttp import web

from service.errors import InvalidField, Refused, UnknownBackground
from service.rtc.offer import Use
from service.web.access import Holder
from service.web.bodies import read_sdp, require_acceptable, require_type
from service.web.rtc import SDP, answered, ice_links, require_staying
from service.web.spec import NO_RULES, parse_spec

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from service.policy.rules import Tenants
    from service.session.registry import Registry
    from service.session.session import Answer, Session
    from service.web.access import Access
    from service.web.overflow import Overflow
    from service.web.reopening import Reopening
    from service.web.rtc import IceServersFor


ENDPOINTS: Final = re.compile(r"/v1/(whip|whep/[^/]+)")
"""Where offers are posted."""


class Whip:
    """The handlers of /v1/whip."""

    def __init__(
        self,
        *,
        registry: Registry,
        reopening: Reopening,
        access: Access,
        ice_servers: IceServersFor,
        overflow: Overflow,
        tenants: Tenants = NO_RULES,
    ) -> None:
        self._registry = registry
        self._reopening = reopening
        self._access = access
        self._tenants = tenants
        self._ice_servers = ice_servers
        self._overflow = overflow

    async def publish(self, request: web.Request) -> web.Response:
        """POST: an offer to send. A platform key opens a session of its own, with the defaults; a
        token is for the session that it names, which it may open."""
        caller = self._access.publisher(request)
        require_type(request, SDP, accept_header="Accept-Post")
        require_acceptable(request, SDP)
        sdp = await read_sdp(request)
        require_staying(self._registry)
        try:
            if isinstance(caller, Holder):
                session = self._reopening.find_or_reopen(caller, caller.grant.session_id)
            else:
                session = self._registry.create(parse_spec({}, self._tenants))
        except Refused as refusal:
            return await self._overflow.elsewhere(request, sdp.encode(), refusal)
        if isinstance(caller, Holder):
            answer = await self._offer(session, sdp)
        else:
            try:
                answer = await self._offer(session, sdp)
            except BaseException:
                # Nobody knows of it, and nobody will come for it.
                session.end("never_connected")
                raise
        servers = self._ice_servers(session.id, session.expires_at)
        return answered(
            answer.sdp,
            location=f"/v1/sessions/{session.id}/rtc/{answer.peer_id}",
            etag=answer.etag,
            links=[*ice_links(servers), f'<{whep_path(session.id)}>; rel="related"; title="whep"'],
        )

    async def _offer(self, session: Session, sdp: str) -> Answer:
        try:
            return await session.offer(sdp, use=Use.INGEST)
        except UnknownBackground as error:
            raise InvalidField("effect.background", f"names no picture: {error.name!r}") from None


async def nothing(_: web.Request) -> web.Response:
    """GET of an endpoint, or of what it made: neither has a representation (RFC 9725 4.1)."""
    return web.Response(status=204)


@web.middleware
async def options_of_endpoints(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Middleware: OPTIONS of an endpoint says what may be posted there, preflights of browsers
    included (RFC 9725 4.2, Linked Data Platform 7.1)."""
    is_endpoint = ENDPOINTS.fullmatch(request.path) is not None
    if request.method != "OPTIONS" or not is_endpoint:
        return await handler(request)
    if "Access-Control-Request-Method" in request.headers:
        response = await handler(request)
    else:
        response = web.Response(status=204, headers={"Allow": "GET, HEAD, OPTIONS, POST"})
    response.headers["Accept-Post"] = SDP
    return response


def whep_path(session_id: str) -> str:
    """Where a session is watched."""
    return f"/v1/whep/{session_id}"
