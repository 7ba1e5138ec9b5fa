"""A platform's public keys from its JWKS address: fetched beside the requests, kept, renewed.

Requests read what is in memory. `run`, a task of the application, renews it every REFRESH_S. A
token that names a key which is not here yet, as right after a rotation, has the set fetched at
once, at most every MIN_INTERVAL_S whatever is asked for, by one fetch for all who wait. While the
address answers nothing usable the keys of before stay good, for MAX_STALE_S: `age_s` is exported
(backcloth_jwks_age_seconds), so that somebody hears of it before they are over.

What is fetched is bounded in time and bytes; redirects and encodings are not followed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Final

import aiohttp
from yarl import URL

from service import outbound
from service.policy.addresses import Reach
from service.policy.keys import parse_jwks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp.abc import AbstractResolver

    from service.policy.addresses import Network
    from service.policy.keys import Key

logger = logging.getLogger(__name__)

MAX_BYTES: Final = 64 * 1024
TIMEOUT_S: Final = 5.0
"""From the lookup of the name to the last byte."""
REFRESH_S: Final = 300.0
RETRY_S: Final = 15.0
MIN_INTERVAL_S: Final = 10.0
MAX_STALE_S: Final = 86_400.0


class Unusable(Exception):
    """What came back is no key set that may be used; the text says why."""


class Jwks:
    """The keys of one address."""

    def __init__(
        self,
        url: str,
        *,
        networks: Sequence[Network] = (),
        resolver: AbstractResolver | None = None,
        now: Callable[[], float] = time.monotonic,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`networks` may be connected to beside public addresses, and by http too."""
        self._url = URL(url)
        self._reach = Reach.of(self._url.scheme, networks)
        self._resolver = resolver
        self._now = now
        self._timeout_s = timeout_s
        self._keys: tuple[Key, ...] = ()
        self._made_s = now()
        self._fetched_s: float | None = None
        self._tried_s: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    def keys(self) -> tuple[Key, ...]:
        """The present keys; none where none were fetched yet, or not for MAX_STALE_S."""
        if self._fetched_s is None or self._now() - self._fetched_s > MAX_STALE_S:
            return ()
        return self._keys

    @property
    def age_s(self) -> float:
        """Since the present keys were asked for; where none ever came, since this was made. Over
        REFRESH_S and what a fetch takes: the address has answered nothing usable since."""
        return self._now() - (self._made_s if self._fetched_s is None else self._fetched_s)

    async def run(self) -> None:
        """Until cancelled: keep the keys fresh."""
        try:
            while True:
                await self._fetch_once()
                fresh = self._fetched_s is not None and self._fetched_s == self._tried_s
                await asyncio.sleep(REFRESH_S if fresh else RETRY_S)
        finally:
            if self._fetching is not None:
                self._fetching.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._fetching

    async def renew(self) -> None:
        """Fetch now, for somebody who needs a key that is not here; returns when it was tried.
        Does nothing where that was within MIN_INTERVAL_S."""
        recently = self._tried_s is not None and self._now() - self._tried_s < MIN_INTERVAL_S
        if self._fetching is None and recently:
            return
        await self._fetch_once()

    async def _fetch_once(self) -> None:
        """One fetch at a time, whoever asks; who goes away meanwhile does not end it."""
        if self._fetching is None:
            self._tried_s = self._now()
            self._fetching = asyncio.create_task(self._fetch())
            self._fetching.add_done_callback(self._fetch_ended)
        await asyncio.wait({self._fetching})

    def _fetch_ended(self, _: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _fetch(self) -> None:
        """Never raises: what went wrong is logged, and the keys of before stay."""
        tried_s = self._tried_s
        try:
            async with asyncio.timeout(self._timeout_s):
                data = await self._get()
            # Parsing keys is a millisecond or more of CPU.
            keys, others = await asyncio.to_thread(parse_jwks, data)
        except TimeoutError:
            logger.warning("JWKS: no whole answer within %g s", self._timeout_s)
        except ValueError as exc:
            logger.warning("JWKS: the answer %s", exc)
        except (Unusable, outbound.TooLong) as exc:
            logger.warning("JWKS: %s", exc)
        except (aiohttp.ClientError, OSError) as exc:
            cause = exc.os_error if isinstance(exc, aiohttp.ClientConnectorError) else exc
            logger.warning("JWKS: %s: %s", type(exc).__name__, cause)
        except Exception:
            logger.exception("JWKS: a fault while fetching")
        else:
            if keys != self._keys:
                logger.info("JWKS: %d keys, %d passed over", len(keys), others)
            self._keys, self._fetched_s = keys, tried_s

    async def _get(self) -> bytes:
        async with (
            outbound.client(
                self._reach, timeout_s=self._timeout_s, resolver=self._resolver
            ) as http,
            http.get(
                self._url,
                allow_redirects=False,
                headers={
                    "Accept": "application/jwk-set+json, application/json",
                    "Accept-Encoding": "identity",
                },
            ) as response,
        ):
            if response.status != 200:
                raise Unusable(f"the answer is a {response.status}; redirects are not followed")
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise Unusable("the answer has a Content-Encoding")
            return await outbound.body(response, most_bytes=MAX_BYTES)
