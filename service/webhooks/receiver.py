"""The platform's receiver: one POST at a time and what came of it. It is trusted with nothing.

Its answer's status is all that counts. A body is read only so far that the connection can be used
again, its redirects are not followed, and the whole of a try has one limit in time.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import aiohttp
from yarl import URL

from service import outbound
from service.policy.addresses import Reach

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from service.policy.addresses import Network
    from service.webhooks.message import Message, Signer

GONE: Final = 410
ASK_TO_WAIT: Final = frozenset({429, 503})
"""Statuses whose Retry-After is obeyed (RFC 6585 4, RFC 9110 15.6.4)."""
MAX_RETRY_AFTER_S: Final = 300
MAX_ANSWER_BYTES: Final = 16 * 1024
"""A longer answer costs its connection."""
ANSWER_TIMEOUT_S: Final = 1.0
"""So does a body that is not here by then."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """It has the message (2xx)."""


@dataclass(frozen=True, slots=True)
class Unwanted:
    """It wants the message no more (410)."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It may not have the message."""

    why: str
    "For the log: what went wrong; never the URL, which may hold a secret."
    retry_after_s: int = 0
    "So long it asked to be left alone."


Answer = Delivered | Unwanted | Failed


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """Where messages go."""

    url: str
    timeout_s: float = 10.0
    "For the whole of one try: name, connection, TLS, request and status."
    networks: tuple[Network, ...] = ()
    "May be connected to beside public addresses, and by plain HTTP too."
    connections: int = 8


class Receiver:
    """To be entered and left, as the client that it holds."""

    def __init__(
        self,
        settings: ReceiverSettings,
        signer: Signer,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`now` is in unix seconds."""
        self._url = URL(settings.url)
        self._settings = settings
        self._signer = signer
        self._now = now
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Receiver:
        self._client = outbound.client(
            Reach.of(self._url.scheme, self._settings.networks),
            timeout_s=self._settings.timeout_s,
            connections=self._settings.connections,
        )
        return self

    async def __aexit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        assert self._client is not None, "entered before"
        await self._client.close()

    async def post(self, message: Message) -> Answer:
        """One try. Raises nothing but a cancellation."""
        assert self._client is not None, "entered before"
        body = message.body()
        headers = self._signer.headers(message.id, body, now=self._now())
        try:
            async with self._client.post(
                self._url, data=body, headers=headers, allow_redirects=False
            ) as response:
                answer = _judged(response)
                await _finish(response)
                return answer
        except TimeoutError:
            return Failed(f"no answer in {self._settings.timeout_s:g} s")
        except aiohttp.ClientConnectorError as error:
            return Failed(f"no connection: {error.os_error.strerror or type(error).__name__}")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Failed(type(error).__name__)


def _judged(response: aiohttp.ClientResponse) -> Answer:
    if 200 <= response.status < 300:
        return Delivered()
    if response.status == GONE:
        return Unwanted()
    after = response.headers.get("Retry-After", "")
    asked = response.status in ASK_TO_WAIT and after.isascii() and after.isdecimal()
    # Many digits would be slow to read, and mean nothing else.
    wait_s = min(int(after[:6]), MAX_RETRY_AFTER_S) if asked else 0
    return Failed(f"status {response.status}", wait_s)


async def _finish(response: aiohttp.ClientResponse) -> None:
    """Lets the connection be used again, where that costs little."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            left = MAX_ANSWER_BYTES
            while left > 0 and (chunk := await response.content.read(left)):
                left -= len(chunk)
    except (TimeoutError, aiohttp.ClientError, OSError):
        left = 0
    if left <= 0:
        response.close()
