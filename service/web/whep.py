"""WHEP (draft-ietf-wish-whep-03): whoever may watch a session is sent what is made of its video.

POST an offer to receive, get the answer and the Location of the viewer; PATCH candidates there;
DELETE it to leave. Whether the session's camera sends by WHIP or gets its own picture back does not
matter, nor whether it is there already: pictures come when it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from service.web.bodies import read_sdp, require_acceptable, require_type
from service.web.rtc import SDP, SDP_FRAGMENT, answered, ice_links, required_if_match
from service.web.whip import whep_path

if TYPE_CHECKING:
    from service.session.audience import Audience
    from service.session.registry import Registry
    from service.web.access import Access
    from service.web.rtc import IceServersFor


class Whep:
    """The handlers of /v1/whep/{session_id}."""

    def __init__(
        self,
        *,
        registry: Registry,
        access: Access,
        ice_servers: IceServersFor,
    ) -> None:
        self._registry = registry
        self._access = access
        self._ice_servers = ice_servers

    async def play(self, request: web.Request) -> web.Response:
        """POST: an offer to receive."""
        self._access.viewer(request)
        require_type(request, SDP, accept_header="Accept-Post")
        require_acceptable(request, SDP)
        sdp = await read_sdp(request)
        session = self._registry.get(request.match_info["session_id"])
        seated = await session.audience.offer(sdp)
        location = f"{whep_path(session.id)}/{seated.viewer_id}"
        links = ice_links(self._ice_servers(session.id, session.expires_at))
        return answered(seated.sdp, location=location, etag=seated.etag, links=links)

    async def trickle(self, request: web.Request) -> web.Response:
        """PATCH of the Location: candidates of the viewer (RFC 8840)."""
        self._access.viewer(request)
        require_type(request, SDP_FRAGMENT, accept_header="Accept-Patch")
        if_match = required_if_match(request)
        fragment = await read_sdp(request)
        await self._audience(request).trickle(request.match_info["viewer_id"], fragment, if_match)
        return web.Response(status=204)

    async def leave(self, request: web.Request) -> web.Response:
        """DELETE of the Location: the viewer ends, the session goes on."""
        self._access.viewer(request)
        await self._audience(request).leave(request.match_info["viewer_id"])
        return web.Response(status=200)

    def _audience(self, request: web.Request) -> Audience:
        return self._registry.get(request.match_info["session_id"]).audience
