"""Requests from one member of the fleet to another: signed, streamed, bounded in bytes and time.

`Peers` knows who is asked and how; routing.py and fleet.py decide what for. A caller's request goes
on with its own credential, which the other member judges anew: a hop alone opens nothing but the
question of who has a session.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import ssl
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from service import outbound
from service.policy.addresses import Reach
from service.policy.fleet import Asked, Fleet, HopError, HopMisled
from service.web.problems import (
    BODY_TOO_LARGE,
    FORBIDDEN,
    MISDIRECTED,
    PEER_UNREACHABLE,
    Problem,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from service.policy.fleet import Member
    from service.web.members import Members

logger = logging.getLogger(__name__)

HOP: Final = "Backcloth-Hop"
CONNECT_TIMEOUT_S: Final = 2.0
ASK_TIMEOUT_S: Final = 2.0
"""For a question; a member that is alive answers it within milliseconds."""
SILENCE_TIMEOUT_S: Final = 45.0
"""Between two reads of an answer: three heartbeats of a stream of events."""
LOOK_S: Final = 1.0
"""How often a stream that is silent looks whether its own client is still there."""
ANYWHERE: Final = Reach(networks=(ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")))
CONNECTIONS: Final = 1024
"""Streams of events hold one each."""
MAX_ANSWER_BYTES: Final = 4 << 20
RETRY_S: Final = 1
LOOK_UP_FOR_SCRAPE_S: Final = 0.5
"""A name server that is slower does not hold a scrape up: then the last number stands."""

# RFC 9110 7.6.1, and what is between the caller and this server alone: its cookies and origin.
_NOT_PASSED_ON: Final = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
        "te", "trailer", "transfer-encoding", "upgrade", "host", "content-length", "expect",
        "origin", "cookie", "set-cookie", "accept-encoding", "server", "date", HOP.lower(),
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What a member said to a question."""

    status: int
    body: Mapping[str, Any]


class HopCounters(Protocol):
    """Where requests between members are counted."""

    def fleet_request(self, kind: str, outcome: str) -> None: ...
    def fleet_answered(self, seconds: float) -> None: ...


class Unanswered(Exception):
    """A member that is gone, too slow, or no member of this fleet."""


class Peers:
    """The other members, as clients see a server."""

    def __init__(
        self,
        fleet: Fleet,
        members: Members,
        *,
        counters: HopCounters,
        trusted: Path | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`trusted` is a certificate that members may show beside those of the system's
        authorities: this server's own. `now` is in unix seconds."""
        self.fleet = fleet
        self.known = 0
        "Other members, when they were last looked up."
        self._members = members
        self._counters = counters
        self._now = now
        self._client: aiohttp.ClientSession | None = None
        self._tls = ssl.create_default_context()
        if trusted is not None:
            self._tls.load_verify_locations(trusted)

    async def others(self) -> list[Member]:
        """Every other member, in the order of their tags."""
        others = self.fleet.others(await self._members.now())
        self.known = len(others)
        return others

    async def look_up(self) -> None:
        """Makes `known` new, if that can be done at once."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_UP_FOR_SCRAPE_S):
                await self.others()

    def came_from_peer(self, request: web.Request) -> bool:
        """Whether another member sent this request on; raises a 403 for a hop that is not good,
        and a 421 for one that is meant for another member: such a request goes no further."""
        hop = request.headers.get(HOP)
        if hop is None:
            return False
        try:
            self.fleet.verify(hop, _asked(request), now=self._now())
        except HopMisled:
            raise Problem(MISDIRECTED, "the request is for another member of the fleet") from None
        except HopError:
            raise Problem(FORBIDDEN, f"{HOP} is not good for this request") from None
        return True

    async def ask(
        self,
        member: Member,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | list[tuple[str, str]] | None = None,
        body: object = None,
        authorization: str = "",
        timeout_s: float = ASK_TIMEOUT_S,
    ) -> Answer:
        """A small request and its JSON answer; raises Unanswered."""
        url = _url(member, path).with_query(query or {})
        headers = {"Content-Type": "application/json"} if body is not None else {}
        data = None if body is None else json.dumps(body).encode()
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._sent(member, method, url, authorization, headers, data) as response,
            ):
                text = await _bounded(response)
                found = json.loads(text) if text else {}
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            logger.debug("a member of the fleet did not answer: %s", type(error).__name__)
            self._counters.fleet_request("question", "unanswered")
            raise Unanswered from None
        # Neither is the caller's fault: who asks a member was judged here before.
        if response.status in (MISDIRECTED.status, FORBIDDEN.status):
            self._counters.fleet_request("question", "refused")
        else:
            self._counters.fleet_request("question", "answered")
        if response.status == MISDIRECTED.status or not isinstance(found, dict):
            raise Unanswered
        return Answer(response.status, found)

    async def send(
        self, member: Member, request: web.Request, body: bytes, *, timeout_s: float
    ) -> web.Response:
        """A caller's request that was read already, and the member's whole answer to it; raises
        Unanswered."""
        url = _url(member, request.rel_url.raw_path, request.rel_url.raw_query_string)
        authorization = request.headers.get("Authorization", "")
        headers = _passed_on(request.headers)
        began_s = time.monotonic()
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._sent(member, request.method, url, authorization, headers, body) as answer,
            ):
                self._counters.fleet_answered(time.monotonic() - began_s)
                read = await _bounded(answer)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            self._counters.fleet_request("forward", "unanswered")
            raise Unanswered from None
        if answer.status == MISDIRECTED.status:
            self._counters.fleet_request("forward", "refused")
            raise Unanswered
        self._counters.fleet_request("forward", "answered")
        kept = [(name, value) for name, value in answer.headers.items() if _may_pass(name)]
        return web.Response(status=answer.status, body=read, headers=CIMultiDict(kept))

    async def forward(self, request: web.Request, member: Member) -> web.StreamResponse:
        """The member's answer to a caller's request, passed on as it comes.

        Raises a 503 where the member does not answer, a 413 for a body that no handler takes.
        """
        limit = request.client_max_size
        if request.content_length is not None and request.content_length > limit:
            raise _too_large(limit)
        url = _url(member, request.rel_url.raw_path, request.rel_url.raw_query_string)
        headers = _passed_on(request.headers)
        body = _Body(request, limit) if request.can_read_body else None
        if body is not None and request.content_length is not None:
            headers["Content-Length"] = str(request.content_length)
        authorization = request.headers.get("Authorization", "")
        response: web.StreamResponse | None = None
        began_s = time.monotonic()
        try:
            async with self._sent(
                member,
                request.method,
                url,
                authorization,
                headers,
                None if body is None else body.chunks(),
            ) as answer:
                self._counters.fleet_answered(time.monotonic() - began_s)
                if answer.status == MISDIRECTED.status:
                    self._counters.fleet_request("forward", "refused")
                    raise _unreachable()
                response = web.StreamResponse(status=answer.status, reason=answer.reason)
                for name, value in answer.headers.items():
                    if _may_pass(name):
                        response.headers.add(name, value)
                response.content_length = answer.content_length
                await response.prepare(request)
                await _pass_on(request, response, answer)
                await response.write_eof()
            self._counters.fleet_request("forward", "answered")
        except Problem:
            raise
        except (aiohttp.ClientError, OSError, TimeoutError):
            if body is not None and body.too_large:
                raise _too_large(limit) from None
            if response is None or not response.prepared:
                self._counters.fleet_request("forward", "unanswered")
                raise _unreachable() from None
            self._counters.fleet_request("forward", "broken")
            # Half an answer can only be broken off.
            if request.transport is not None:
                request.transport.abort()
        return response

    @asynccontextmanager
    async def _sent(
        self,
        member: Member,
        method: str,
        url: URL,
        authorization: str,
        headers: Mapping[str, str],
        data: bytes | AsyncIterator[bytes] | None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        asked = Asked(method, url.raw_path_qs, authorization)
        signed = {**headers, HOP: self.fleet.sign(member, asked, now=self._now())}
        if authorization:
            signed["Authorization"] = authorization
        async with self._http.request(
            method,
            url,
            headers=signed,
            data=data,
            allow_redirects=False,
            ssl=self._tls,
            # The certificate is for the fleet's name; the address was found by it.
            server_hostname=member.name if member.scheme == "https" else None,
            timeout=aiohttp.ClientTimeout(
                total=None,
                connect=CONNECT_TIMEOUT_S,
                sock_connect=CONNECT_TIMEOUT_S,
                sock_read=SILENCE_TIMEOUT_S,
            ),
        ) as response:
            yield response

    @property
    def _http(self) -> aiohttp.ClientSession:
        if self._client is None:
            self._client = outbound.client(
                # Whatever a name server says: no link-local address, no cloud's metadata.
                ANYWHERE,
                timeout_s=ASK_TIMEOUT_S,
                connections=CONNECTIONS,
            )
        return self._client

    async def close(self, _: web.Application | None = None) -> None:
        """Lets go of every connection."""
        if self._client is not None:
            await self._client.close()
            self._client = None


class _Body:
    """A caller's body on its way, counted."""

    def __init__(self, request: web.Request, limit_bytes: int) -> None:
        self.too_large = False
        self._request = request
        self._limit_bytes = limit_bytes

    async def chunks(self) -> AsyncIterator[bytes]:
        passed = 0
        async for chunk in self._request.content.iter_any():
            passed += len(chunk)
            if passed > self._limit_bytes:
                self.too_large = True
                raise aiohttp.ClientPayloadError("too large")
            yield chunk


async def _pass_on(
    request: web.Request, response: web.StreamResponse, answer: aiohttp.ClientResponse
) -> None:
    """Until the answer ends, or nobody is there to take it."""
    while request.transport is not None and not request.transport.is_closing():
        try:
            async with asyncio.timeout(LOOK_S):
                chunk = await answer.content.readany()
        except TimeoutError:
            # aiohttp's own, after SILENCE_TIMEOUT_S, is left in the stream and raised each time.
            if answer.content.exception() is not None:
                raise
            continue
        if not chunk:
            return
        async with asyncio.timeout(SILENCE_TIMEOUT_S):
            await response.write(chunk)


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise ValueError("too large")
    return bytes(body)


def _asked(request: web.Request) -> Asked:
    return Asked(
        request.method, request.rel_url.raw_path_qs, request.headers.get("Authorization", "")
    )


def _url(member: Member, raw_path: str, raw_query: str = "") -> URL:
    return URL.build(
        scheme=member.scheme,
        host=member.address,
        port=member.port,
        path=raw_path,
        query_string=raw_query,
        encoded=True,
    )


def _may_pass(name: str) -> bool:
    lower = name.lower()
    # What other origins may read is said by the server that they called.
    return lower not in _NOT_PASSED_ON and not lower.startswith("access-control-")


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    named = {one.strip().lower() for one in headers.get("Connection", "").split(",")}
    merged: dict[str, str] = {}
    for name, value in headers.items():
        if _may_pass(name) and name.lower() not in named and name.lower() != "authorization":
            # Several lines of one header are one list (RFC 9110 5.3).
            merged[name] = f"{merged[name]}, {value}" if name in merged else value
    return merged


def _too_large(limit_bytes: int) -> Problem:
    detail = f"the body may have {limit_bytes} bytes"
    return Problem(BODY_TOO_LARGE, detail, headers={"Connection": "close"})


def _unreachable() -> Problem:
    return Problem(
        PEER_UNREACHABLE,
        "the server that has the session does not answer; try again",
        headers={"Retry-After": str(RETRY_S)},
    )
