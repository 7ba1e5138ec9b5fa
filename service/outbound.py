"""HTTP from here to elsewhere: a connector that refuses addresses, and names looked up beside.

For whatever the service calls by an address that a setting names: webhooks, key sets. aiohttp asks
a resolver for names only, and for none that is an address already; so the address is judged where a
socket is made for it: that is the one that it connects to, whatever a second look-up would have
said. ``service.policy.addresses`` judges.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult

    from service.policy.addresses import Reach

MAX_HEADER_BYTES: Final = 8190
MAX_HEADERS: Final = 64
CHUNK_BYTES: Final = 8192


def client(
    reach: Reach,
    *,
    timeout_s: float,
    connections: int = 1,
    resolver: AbstractResolver | None = None,
) -> aiohttp.ClientSession:
    """A client that connects to addresses within reach alone, keeps no cookies, takes no proxy from
    the environment and inflates nothing. `timeout_s` is for all of one call, from the name to the
    last byte. To be closed; calls must say `allow_redirects=False`."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=connections,
            resolver=resolver or Resolver(),
            socket_factory=lambda info: _socket(info, reach),
        ),
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        max_headers=MAX_HEADERS,
    )


async def body(response: aiohttp.ClientResponse, *, most_bytes: int) -> bytes:
    """All of an answer's body, as it was sent. Raises TooLong, and closes the connection, where
    there is more of it than that: it is never in memory."""
    data = bytearray()
    while chunk := await response.content.read(CHUNK_BYTES):
        data += chunk
        if len(data) > most_bytes:
            response.close()
            raise TooLong(most_bytes)
    return bytes(data)


class TooLong(Exception):
    """An answer has more bytes than it may have."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(f"the answer has more than {most_bytes} bytes")


class Refused(OSError):
    """An address that the service may not connect to."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "the address is in a range that is not allowed")


def _socket(info: tuple[Any, ...], reach: Reach) -> socket.socket:
    family, kind, protocol, _, address = info
    if not reach.allows(str(address[0])):
        raise Refused
    return socket.socket(family, kind, protocol)


class Resolver(AbstractResolver):
    """The machine's own resolver, in a thread of its own for each look-up.

    aiohttp's would take a thread of the loop's executor, where pictures are decoded, for as long as
    a name server does not answer. aiohttp looks a name up once at a time, so the threads are as
    many as names; they are daemons, so that none holds up the end of the process.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses; raises OSError."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[Any]] = loop.create_future()

        def answer(infos: list[Any], error: OSError | None) -> None:
            if found.done():
                return
            if error is None:
                found.set_result(infos)
            else:
                found.set_exception(error)

        def look() -> None:
            infos: list[Any] = []
            problem: OSError | None = None
            try:
                infos = socket.getaddrinfo(
                    host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
                )
            except OSError as error:
                problem = error
            except UnicodeError:  # no name of a host
                problem = OSError(errno.EINVAL, "not a host name")
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(answer, infos, problem)

        threading.Thread(target=look, name="names", daemon=True).start()
        return [
            {
                "hostname": host,
                "host": str(address[0]),
                "port": port,
                "family": family,
                "proto": protocol,
                "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            }
            for family, _, protocol, _, address in await found
        ]

    async def close(self) -> None:
        """Nothing is kept."""
