"""Who belongs to the fleet now: the addresses that the configured names have.

Nothing that a caller sends is ever part of an address: these are the only ones that peers.py calls.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from service.outbound import Resolver
from service.policy.fleet import Member

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp.abc import AbstractResolver

logger = logging.getLogger(__name__)

FRESH_S: Final = 2.0
"""A pod that came or went is known after this."""
LOOK_UP_TIMEOUT_S: Final = 2.0
STALE_S: Final = 60.0
"""So long the last answer of a name server that fails now is believed."""
MAX_MEMBERS: Final = 256


class Members:
    """Looks the fleet's names up, at most every FRESH_S and once at a time."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        resolver: AbstractResolver | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`urls` are of the form http://HOST:PORT; each address of a host name is a member."""
        self._urls = tuple(urls)
        self._resolver = resolver or Resolver()
        self._now_s = now_s
        self._turn = asyncio.Lock()
        self._found: dict[str, tuple[float, list[Member]]] = {}
        "By URL: when it was looked up, and what it led to."
        self._failed_s: dict[str, float] = {}
        "By URL: when it could not be. Whoever waits for a turn then does not wait for another try."

    async def now(self) -> list[Member]:
        """The members, this one among them where its own address is listed."""
        async with self._turn:
            found: list[Member] = []
            for url in self._urls:
                found += await self._members(url)
        if len(found) > MAX_MEMBERS:
            logger.warning("the fleet has over %d members: the rest are left out", MAX_MEMBERS)
        return found[:MAX_MEMBERS]

    async def _members(self, url: str) -> list[Member]:
        looked_s, known = self._found.get(url, (float("-inf"), []))
        now_s = self._now_s()
        if now_s - looked_s < FRESH_S:
            return known
        believed = known if now_s - looked_s < STALE_S else []
        if now_s - self._failed_s.get(url, float("-inf")) < FRESH_S:
            return believed
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        try:
            addresses = await self._addresses(host, port)
        except (OSError, TimeoutError) as error:
            logger.warning("the fleet's name could not be looked up: %s", type(error).__name__)
            self._failed_s[url] = self._now_s()
            return believed
        members = [Member(parts.scheme, address, port, host) for address in sorted(addresses)]
        self._found[url] = (now_s, members)
        return members

    async def _addresses(self, host: str, port: int) -> set[str]:
        try:
            return {str(ipaddress.ip_address(host))}
        except ValueError:
            pass
        async with asyncio.timeout(LOOK_UP_TIMEOUT_S):
            answers = await self._resolver.resolve(host, port)
        return {str(ipaddress.ip_address(one["host"].partition("%")[0])) for one in answers}
