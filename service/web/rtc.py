"""SDP over HTTP: a WHIP-shaped exchange (RFC 9725), but sendrecv.

POST an offer, get the answer and the Location of the peer; PATCH candidates there; DELETE it to
hang up. The session lives on for another POST.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from aiohttp import web

from service.errors import InvalidField, Refused, UnknownBackground
from service.web.access import Holder
from service.web.bodies import read_sdp, require_type
from service.web.problems import IF_MATCH_REQUIRED, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from service.session.registry import Registry
    from service.web.access import Access
    from service.web.control import Control
    from service.web.overflow import Overflow
    from service.web.reopening import Reopening

DRAINING_RETRY_S: Final = 1
SDP: Final = "application/sdp"
SDP_FRAGMENT: Final = "application/trickle-ice-sdpfrag"


IceServersFor = Callable[[str, float], Sequence[Mapping[str, object]]]
"""Makes the ICE servers, in the words of RTCIceServer, of a session with that id that ends then (in
unix seconds): a credential may be made for it."""


def no_ice_servers(_session_id: str, _expires_at: float) -> Sequence[Mapping[str, object]]:
    """None is configured."""
    return ()


class Rtc:
    """The handlers of /v1/sessions/{session_id}/rtc."""

    def __init__(
        self,
        *,
        registry: Registry,
        reopening: Reopening,
        access: Access,
        control: Control,
        ice_servers: IceServersFor,
        overflow: Overflow,
    ) -> None:
        self._registry = registry
        self._reopening = reopening
        self._access = access
        self._control = control
        self._ice_servers = ice_servers
        self._overflow = overflow

    async def offer(self, request: web.Request) -> web.Response:
        """POST: an offer; the peer before it, if any, is replaced."""
        caller = self._access.session(request)
        require_type(request, SDP, accept_header="Accept-Post")
        sdp = await read_sdp(request)
        require_staying(self._registry)
        try:
            session = self._reopening.find_or_reopen(caller, request.match_info["session_id"])
        except Refused as refusal:
            return await self._overflow.elsewhere(request, sdp.encode(), refusal)
        try:
            answer = await session.offer(
                sdp,
                lambda channel: self._control.serve(
                    session, channel, bound=isinstance(caller, Holder)
                ),
            )
        except UnknownBackground as error:
            raise InvalidField("effect.background", f"names no picture: {error.name!r}") from None
        location = f"/v1/sessions/{session.id}/rtc/{answer.peer_id}"
        links = ice_links(self._ice_servers(session.id, session.expires_at))
        return answered(answer.sdp, location=location, etag=answer.etag, links=links)

    async def trickle(self, request: web.Request) -> web.Response:
        """PATCH of the Location: candidates of the peer (RFC 8840, RFC 9725 4.3.1)."""
        self._access.session(request)
        require_type(request, SDP_FRAGMENT, accept_header="Accept-Patch")
        if_match = required_if_match(request)
        fragment = await read_sdp(request)
        session = self._registry.get(request.match_info["session_id"])
        await session.trickle(request.match_info["peer_id"], fragment, if_match)
        return web.Response(status=204)

    async def hang_up(self, request: web.Request) -> web.Response:
        """DELETE of the Location: the peer ends, the session waits for another offer."""
        self._access.session(request)
        session = self._registry.get(request.match_info["session_id"])
        await session.hang_up(request.match_info["peer_id"])
        return web.Response(status=200)


def require_staying(registry: Registry) -> None:
    """Raises Refused while this server drains, also for a session that is here: its client makes
    the next peer where it is to go."""
    if registry.draining:
        raise Refused("draining", DRAINING_RETRY_S, registry.move_to)


def answered(sdp: str, *, location: str, etag: str, links: Iterable[str]) -> web.Response:
    """The 201 that an offer leads to (RFC 9725 4.2)."""
    response = web.Response(
        status=201,
        body=sdp.encode(),
        headers={"Location": location, "ETag": etag, "Content-Type": SDP},
    )
    for link in links:
        response.headers.add("Link", link)
    return response


def required_if_match(request: web.Request) -> str:
    """The entity tags that a PATCH is for; raises a 428 where it has none (RFC 9725 4.3.1)."""
    # A list may come in several lines, which are one value (RFC 9110 5.3).
    given = request.headers.getall("If-Match", [])
    if not given:
        raise Problem(IF_MATCH_REQUIRED, "If-Match must be the ETag that the answer came with")
    return ", ".join(given)


def ice_links(servers: Iterable[Mapping[str, object]]) -> list[str]:
    """The Link headers of all of these ICE servers."""
    return [link for server in servers for link in ice_server_links(server)]


def ice_server_links(server: Mapping[str, object]) -> list[str]:
    """The Link headers of one ICE server in the words of RTCIceServer (RFC 9725 4.6)."""
    urls = server["urls"]
    parameters = '; rel="ice-server"'
    if "username" in server:
        username, credential = _quoted(server["username"]), _quoted(server["credential"])
        parameters += f"; username={username}; credential={credential}"
        parameters += '; credential-type="password"'
    return [f"<{url}>{parameters}" for url in urls] if isinstance(urls, list) else []


def _quoted(value: object) -> str:
    """A quoted-string (RFC 9110 5.6.4)."""
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
