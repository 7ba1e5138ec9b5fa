"""Who is calling, and whether they may: platform keys, session tokens, development mode.

Handlers ask at their first line, before a body is read. In development mode (no keys) there is no
credential to ask for, so a page of any other site could call through the user's browser: there
``guard`` checks Host and Origin (DNS rebinding).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import web

from service.errors import TokenError
from service.web.problems import (
    FORBIDDEN,
    FOREIGN_HOST,
    FOREIGN_ORIGIN,
    Problem,
    unauthorized,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp.typedefs import Handler, Middleware

    from service.policy.tokens import Grant, Tokens

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Platform:
    """Whoever has a platform key, or anybody in development mode."""

    name: str
    "Tells platforms apart without being their key."


@dataclass(frozen=True, slots=True)
class Holder:
    """Whoever has the token of one session."""

    grant: Grant


Caller = Platform | Holder


class Access:
    """Tells callers apart by their bearer (RFC 6750)."""

    def __init__(
        self, *, api_keys: Sequence[str], tokens: Tokens, now: Callable[[], float]
    ) -> None:
        """``now`` is in unix seconds. No keys: development mode."""
        self._keys = tuple(key.encode() for key in api_keys)
        self._tokens = tokens
        self._now = now

    @property
    def development(self) -> bool:
        """No platform key is set, and none is asked for."""
        return not self._keys

    def caller(self, request: web.Request) -> Caller:
        """Whoever calls, with a credential that is good; raises a 401."""
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            if self.development:
                return Platform("development")
            raise unauthorized("send a platform key or a session token as a bearer")
        if scheme.lower() != "bearer":
            raise unauthorized("the credential must be a bearer")
        # Every key is compared, in constant time: the answer's time tells nothing of any key.
        # aiohttp reads bytes that are not UTF-8 as surrogates.
        given = bearer.strip().encode(errors="surrogateescape")
        same = [hmac.compare_digest(given, key) for key in self._keys]
        if any(same):
            return Platform(hashlib.sha256(given).hexdigest())
        try:
            return Holder(self._tokens.verify(bearer.strip(), now=self._now()))
        except TokenError as error:
            raise unauthorized(str(error), error="invalid_token") from None

    def platform(self, request: web.Request) -> Platform:
        """A platform; a session token gets a 403."""
        caller = self.caller(request)
        if isinstance(caller, Holder):
            raise Problem(FORBIDDEN, "a session token reaches its own session alone")
        return caller

    def session(self, request: web.Request) -> Caller:
        """A platform, or the holder of the token of the session in the path. Any other session
        is a 403, whether it exists or not: a token finds out nothing."""
        caller = self.caller(request)
        own = not isinstance(caller, Holder) or hmac.compare_digest(
            caller.grant.session_id.encode(errors="replace"),
            request.match_info["session_id"].encode(errors="replace"),
        )
        if not own:
            raise Problem(FORBIDDEN, "a session token reaches its own session alone")
        return caller


def guard(allowed_origins: Sequence[str]) -> Middleware:
    """Middleware of development mode: this machine's names, and pages of this service, only."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        if _host_name(host) not in LOOPBACK_NAMES:
            raise Problem(FOREIGN_HOST, "the Host must be localhost, 127.0.0.1 or [::1]")
        origin = request.headers.get("Origin")
        if origin is not None and not _may_call(origin, host, allowed_origins):
            raise Problem(FOREIGN_ORIGIN, "the Origin is neither this service nor an allowed one")
        return await handler(request)

    return check


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return ""


def _may_call(origin: str, host: str, allowed_origins: Sequence[str]) -> bool:
    # An opaque origin ("null") has no host, and is never this service.
    own = origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower())
    return own or origin in allowed_origins or "*" in allowed_origins
