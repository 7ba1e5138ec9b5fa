"""WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep-03) as a client: an offer to another server.

An address comes from a platform and a redirect from whoever it named, so neither is trusted: every
one is judged where a socket is made for it (service/outbound.py), answers are bounded in bytes and
time, and the bearer goes to the origin that the platform named and to no other. Neither an address
nor a bearer is ever logged.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import aiohttp
from yarl import URL

from service import outbound
from service.policy.addresses import Reach
from service.session.sfu import Cause, NotOpened, Opened
from service.setting_text import MAX_URL_CHARS, IceServer
from service.web.bodies import SDP_LIMIT_BYTES
from service.web.rtc import SDP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from service.policy.addresses import Network
    from service.session.sfu import Endpoint

logger = logging.getLogger(__name__)

MAX_REDIRECTS: Final = 3
KEEPS_METHOD: Final = frozenset({307, 308})
"""RFC 9725 4.5: the others would make a GET of the offer."""
NOT_THERE: Final = frozenset({404, 409, 410})
"""Of a stream that nobody sends yet, too, as many servers answer by WHEP."""
ASK_TO_WAIT: Final = frozenset({404, 409, 429, 503})
MAX_RETRY_AFTER_S: Final = 60
LEAVE_TIMEOUT_S: Final = 4.0
"""For the DELETE of what a server made for us. It may be gone, and somebody waits for our end."""
MAX_ICE_SERVERS: Final = 4
"""One of STUN and one of TURN are asked in the end."""
ICE_PORT: Final = 3478
ICE_URL: Final = re.compile(
    r"(stun|turn):([A-Za-z0-9.-]{1,253})(?::(\d{1,5}))?(\?transport=(?:udp|tcp))?", re.ASCII
)
_VALUE: Final = r'(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))'
PARAMETER: Final = re.compile(rf";\s*([\w-]+)\s*=\s*{_VALUE}", re.ASCII)
LINK: Final = re.compile(
    r'<(?P<url>[^<>]*)>(?P<parameters>(?:\s*;\s*[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s;,"]*))*)',
    re.ASCII,
)
"""RFC 8288 3."""
CONNECTIONS: Final = 4096
"""At once. A pull or a push has one at most, so that sessions are what bounds them: a server that
does not answer must not keep the others' exchanges waiting."""
IN_PLACE: Final = {"Accept-Encoding": "identity"}


class Sfu:
    """Makes and leaves what other servers have for us."""

    def __init__(
        self,
        *,
        networks: Sequence[Network] = (),
        timeout_s: float = 10.0,
        asks_ice_servers: bool = False,
    ) -> None:
        """`networks` are those that are not public and may be gone into, by http too;
        `asks_ice_servers`: whether STUN and TURN servers that another server names are asked."""
        self._networks = tuple(networks)
        self._timeout_s = timeout_s
        self._asks_ice_servers = asks_ice_servers
        self._clients: dict[str, aiohttp.ClientSession] = {}

    async def ice_servers(self, endpoint: Endpoint) -> Sequence[IceServer]:
        """Those of the answer to OPTIONS: in that to the offer they would come too late for an
        agent that has gathered already (RFC 9725 4.6)."""
        if not self._asks_ice_servers:
            return ()
        url = URL(endpoint.url)
        try:
            async with asyncio.timeout(self._timeout_s):
                async with self._client(url).options(
                    url, headers=_bearer(endpoint, url, url), allow_redirects=False
                ) as response:
                    response.close()
                    named = named_servers(response.headers.getall("Link", []))
                return [
                    server
                    for one in named[:MAX_ICE_SERVERS]
                    if (server := await self._reachable(one, url.scheme)) is not None
                ]
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            logger.info("another server told of no ICE servers: %s", type(error).__name__)
            return ()

    async def _reachable(self, named: IceServer, scheme: str) -> IceServer | None:
        """The same by an address that may be sent to, so that nobody looks the name up again."""
        kind, host, port, transport = _parts(named.urls[0]) or ("", "", 0, "")
        reach = Reach.of(scheme, self._networks)
        try:
            found = await outbound.Resolver().resolve(host, port, socket.AF_INET)
        except OSError:  # no such name
            return None
        for one in found:
            if reach.allows(one["host"]):
                return replace(named, urls=(f"{kind}:{one['host']}:{port}{transport}",))
        return None

    async def open(self, endpoint: Endpoint, offer: str) -> Opened:
        """POST the offer; raises NotOpened."""
        url = named = URL(endpoint.url)
        try:
            for _ in range(MAX_REDIRECTS + 1):
                async with self._client(url).post(
                    url,
                    data=offer.encode(),
                    headers={"Content-Type": SDP, "Accept": SDP, **_bearer(endpoint, named, url)},
                    allow_redirects=False,
                ) as response:
                    if response.status not in KEEPS_METHOD:
                        return await self._opened(endpoint, url, response)
                    url = _next(url, response)
        except aiohttp.ClientConnectorError as error:
            refused = error.os_error.errno == errno.EACCES
            raise NotOpened(Cause.ADDRESS_REFUSED if refused else Cause.UNREACHABLE) from None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            raise NotOpened(Cause.UNREACHABLE) from None
        raise NotOpened(Cause.REDIRECTED)

    async def leave(self, endpoint: Endpoint, resource: str) -> None:
        """DELETE; whatever it is answered, the resource is ours no more."""
        url = URL(resource)
        try:
            async with (
                asyncio.timeout(LEAVE_TIMEOUT_S),
                self._client(url).delete(
                    url, headers=_bearer(endpoint, URL(endpoint.url), url), allow_redirects=False
                ) as response,
            ):
                response.close()  # its body is of no interest
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            logger.info("another server was not left: %s", type(error).__name__)

    async def close(self, _: web.Application | None = None) -> None:
        """Lets go of every connection."""
        for client in self._clients.values():
            await client.close()
        self._clients.clear()

    async def _opened(
        self, endpoint: Endpoint, url: URL, response: aiohttp.ClientResponse
    ) -> Opened:
        if response.status != 201:
            response.close()
            raise NotOpened(_cause(response.status), retry_after_s=_retry_after_s(response))
        resource = _resource(url, response)
        if resource is None:
            raise NotOpened(Cause.BAD_ANSWER)
        try:
            if response.content_type != SDP:
                raise NotOpened(Cause.BAD_ANSWER)
            body = await outbound.body(response, most_bytes=SDP_LIMIT_BYTES)
            return Opened(body.decode(), resource)
        except BaseException as error:
            # It made something for us, which nobody will use.
            response.close()
            await self.leave(endpoint, resource)
            if isinstance(error, (outbound.TooLong, UnicodeDecodeError)):
                raise NotOpened(Cause.BAD_ANSWER) from None
            raise

    def _client(self, url: URL) -> aiohttp.ClientSession:
        """By scheme: what is not encrypted stays in the networks that are named."""
        client = self._clients.get(url.scheme)
        if client is None:
            client = self._clients[url.scheme] = outbound.client(
                Reach.of(url.scheme, self._networks),
                timeout_s=self._timeout_s,
                connections=CONNECTIONS,
            )
        return client


def named_servers(links: Sequence[str]) -> list[IceServer]:
    """The ICE servers of Link headers. One by TLS is passed over: its certificate is for a name,
    and it is asked by an address here."""
    servers = []
    for link in LINK.finditer(", ".join(links)):
        parameters = {
            name.lower(): re.sub(r"\\(.)", r"\1", quoted) or token
            for name, quoted, token in PARAMETER.findall(link["parameters"])
        }
        if parameters.get("rel") != "ice-server" or _parts(link["url"]) is None:
            continue
        if parameters.get("credential-type", "password") == "password":
            credentials = parameters.get("username"), parameters.get("credential")
            servers.append(IceServer((link["url"],), *credentials))
    return [one for one in servers if not one.lacks_credential]


def _parts(url: str) -> tuple[str, str, int, str] | None:
    """Kind, host, port and transport of a STUN or TURN URL (RFC 7064, RFC 7065)."""
    found = ICE_URL.fullmatch(url)
    if found is None:
        return None
    kind, host, port, transport = found.groups("")
    number = int(port or ICE_PORT)
    usable = 0 < number < 1 << 16 and not (kind == "stun" and transport)
    return (kind, host, number, transport) if usable else None


def _bearer(endpoint: Endpoint, named: URL, url: URL) -> dict[str, str]:
    """Nothing where a redirect leads to another origin: it may be anybody's."""
    if not endpoint.token or url.origin() != named.origin():
        return dict(IN_PLACE)
    return {"Authorization": f"Bearer {endpoint.token}", **IN_PLACE}


def _next(url: URL, response: aiohttp.ClientResponse) -> URL:
    """Where a redirect leads; raises NotOpened."""
    response.close()
    found = _absolute(url, response)
    if found is None or (url.scheme == "https" and found.scheme != "https"):
        raise NotOpened(Cause.REDIRECTED)
    return found


def _resource(url: URL, response: aiohttp.ClientResponse) -> str | None:
    """What was made (RFC 9725 4.2), if it is at the server that made it."""
    found = _absolute(url, response)
    return str(found) if found is not None and found.origin() == url.origin() else None


def _absolute(url: URL, response: aiohttp.ClientResponse) -> URL | None:
    """The Location, by the address that was asked; None: there is no usable one."""
    given = response.headers.get("Location", "")
    if not given or len(given) > MAX_URL_CHARS:
        return None
    try:
        found = url.join(URL(given))
        usable = found.scheme in ("http", "https") and found.host and found.port
    except ValueError:
        return None
    return found.with_fragment(None) if usable and found.user is None else None


def _cause(status: int) -> Cause:
    if status in (401, 403):
        return Cause.UNAUTHORIZED
    if status in NOT_THERE:
        return Cause.NOT_FOUND
    if status == 406:  # WHEP 4.2: the server would offer itself
        return Cause.COUNTER_OFFER
    if status == 429 or status >= 500:
        return Cause.SERVER_ERROR
    if 400 <= status < 500:
        return Cause.REJECTED
    return Cause.REDIRECTED if 300 <= status < 400 else Cause.BAD_ANSWER


def _retry_after_s(response: aiohttp.ClientResponse) -> int:
    after = response.headers.get("Retry-After", "")
    asked = response.status in ASK_TO_WAIT and after.isascii() and after.isdecimal()
    return min(int(after[:6]), MAX_RETRY_AFTER_S) if asked else 0
