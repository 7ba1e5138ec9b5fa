"""Who is calling, and whether they may: platform keys, tokens, development mode.

Handlers ask at their first line, before a body is read. The keys that verify a platform's tokens
may have to be fetched first: ``renewing``, a middleware, waits for them, so that asking is at once.
In development mode (no keys) there is no credential to ask for, so a page of any other site could
call through the user's browser: there ``guard`` checks Host and Origin (DNS rebinding).
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from aiohttp import web

from service.errors import TokenError
from service.policy.keys import ALGORITHMS
from service.policy.logins import FailedLogins
from service.policy.platform_tokens import fitting, peek
from service.web.problems import (
    FAILED_LOGINS,
    FORBIDDEN,
    FOREIGN_HOST,
    FOREIGN_ORIGIN,
    KEYS_UNAVAILABLE,
    Problem,
    unauthorized,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp.typedefs import Handler, Middleware

    from service.policy.keys import Key
    from service.policy.platform_tokens import PlatformTokens
    from service.policy.tokens import Grant, Tokens

KEYS_RETRY_S: Final = 15
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

_CALLER: Final = web.RequestKey("caller", object)
"""Where a request keeps who sent it: a credential is judged once."""


class LoginCounters(Protocol):
    """Where failed logins are counted."""

    def failed_login(self, answer: str) -> None:
        """`refused` or `delayed`."""
        ...


class KeySource(Protocol):
    """Where the keys of a platform's tokens come from."""

    def keys(self) -> Sequence[Key]:
        """Those that are here now."""
        ...

    async def renew(self) -> None:
        """Fetches them anew, unless that was just done."""
        ...


class FixedKeys:
    """Keys of a setting: there is nothing to fetch."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = tuple(keys)

    def keys(self) -> Sequence[Key]:
        return self._keys

    async def renew(self) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class PlatformSigned:
    """How tokens that a platform signed itself are verified."""

    tokens: PlatformTokens
    source: KeySource


class Access:
    """Tells callers apart by their bearer (RFC 6750)."""

    def __init__(
        self,
        *,
        api_keys: Sequence[str],
        tokens: Tokens,
        now: Callable[[], float],
        counters: LoginCounters,
        platform_signed: PlatformSigned | None = None,
        tenant_of: Callable[[str], str | None] = lambda _: None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """``now`` is in unix seconds, ``now_s`` in those of a clock that is never set. No keys:
        development mode. ``tenant_of`` a session's id is None where it is not here."""
        self._keys = tuple(key.encode() for key in api_keys)
        self._tokens = tokens
        self._now = now
        self._platform_signed = platform_signed
        self._tenant_of = tenant_of
        self._now_s = now_s
        self._counters = counters
        self._logins = FailedLogins()

    @property
    def development(self) -> bool:
        """No platform key is set, and none is asked for."""
        return not self._keys

    def caller(self, request: web.Request) -> Caller:
        """Whoever calls, with a credential that is good; raises a 401, or a 429."""
        known = request.get(_CALLER)
        if isinstance(known, Platform | Holder):
            return known
        caller = request[_CALLER] = self._caller(request)
        return caller

    def _caller(self, request: web.Request) -> Caller:
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            if self.development:
                return Platform("development")
            raise unauthorized("send a platform key or a session token as a bearer")
        address = request.remote or ""
        if scheme.lower() != "bearer":
            raise self._failed(address, "the credential must be a bearer", error="")
        bearer = bearer.strip()
        # Every key is compared, in constant time: the answer's time tells nothing of any key.
        # aiohttp reads bytes that are not UTF-8 as surrogates.
        given = bearer.encode(errors="surrogateescape")
        same = [hmac.compare_digest(given, key) for key in self._keys]
        name = hashlib.sha256(given).hexdigest()
        now_s = self._now_s()
        if any(same) and (
            not self._logins.wait_s(address, now_s=now_s)
            or self._logins.trusts(address, name, now_s=now_s)
        ):
            self._logins.good(address, name, now_s=now_s)
            return Platform(name)
        try:
            return Holder(self._verified(bearer))
        except TokenError as error:
            raise self._failed(address, str(error), error="invalid_token") from None

    async def renew_keys_for(self, request: web.Request) -> None:
        """Waits for the key that a platform's token names where it is not here yet.

        Raises a 503 where no key at all could be had: that is not the token's fault.
        """
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        if self._platform_signed is None or scheme.lower() != "bearer":
            return
        try:
            asked = peek(bearer.strip())
        except TokenError:
            return
        source = self._platform_signed.source
        if asked.algorithm not in ALGORITHMS or fitting(source.keys(), asked):
            return
        await source.renew()
        if not source.keys():
            retry = {"Retry-After": str(KEYS_RETRY_S)}
            raise Problem(KEYS_UNAVAILABLE, "try again, or use another server", headers=retry)

    def _verified(self, token: str) -> Grant:
        """What a token grants; raises TokenError. Which keys a token may be signed with follows
        from its algorithm, and no key is good for two."""
        asked = peek(token)
        if asked.algorithm in ALGORITHMS and self._platform_signed is not None:
            return self._platform_signed.tokens.verify(token, now=self._now())
        return self._tokens.verify(token, now=self._now())

    def _failed(self, address: str, detail: str, *, error: str) -> Problem:
        """A 401, or a 429 for an address that failed too often; the same for any credential."""
        now_s = self._now_s()
        if wait_s := self._logins.wait_s(address, now_s=now_s):
            self._counters.failed_login("delayed")
            return Problem(
                FAILED_LOGINS,
                f"too many credentials of your address were wrong; wait {wait_s} s",
                headers={"Retry-After": str(wait_s)},
            )
        self._logins.failed(address, now_s=now_s)
        self._counters.failed_login("refused")
        return unauthorized(detail, error=error)

    def platform(self, request: web.Request) -> Platform:
        """A platform; a session token gets a 403."""
        caller = self.caller(request)
        if isinstance(caller, Holder):
            raise Problem(FORBIDDEN, "a session token reaches its own session alone")
        return caller

    def session(self, request: web.Request) -> Caller:
        """A platform, or the holder of the token of the session in the path. Any other session
        is a 403, whether it exists or not: a token finds out nothing."""
        caller = self.viewer(request)
        if isinstance(caller, Holder):
            _require_more_than_viewing(caller)
        return caller

    def viewer(self, request: web.Request) -> Caller:
        """As `session`; a token that is good for watching alone will do."""
        caller = self.caller(request)
        own = not isinstance(caller, Holder) or hmac.compare_digest(
            caller.grant.session_id.encode(errors="replace"),
            request.match_info["session_id"].encode(errors="replace"),
        )
        if not own:
            raise Problem(FORBIDDEN, "a session token reaches its own session alone")
        if isinstance(caller, Holder):
            self._require_own_tenant(caller)
        return caller

    def publisher(self, request: web.Request) -> Caller:
        """A platform, or the holder of a token for the session that the token names."""
        caller = self.caller(request)
        if isinstance(caller, Holder):
            _require_more_than_viewing(caller)
            self._require_own_tenant(caller)
        return caller

    def _require_own_tenant(self, holder: Holder) -> None:
        tenant = self._tenant_of(holder.grant.session_id)
        if tenant is not None and tenant != holder.grant.tenant:
            raise Problem(FORBIDDEN, "a session token reaches its own session alone")

    def opener(self, request: web.Request) -> Caller:
        """Whoever may open a session: a platform, or the holder of a token that a platform signed
        for one. Any other token gets a 403."""
        caller = self.caller(request)
        if isinstance(caller, Holder) and not caller.grant.opens:
            raise Problem(FORBIDDEN, "a session token reaches its own session alone")
        return caller


def _require_more_than_viewing(holder: Holder) -> None:
    if holder.grant.views:
        raise Problem(FORBIDDEN, "a viewer's token is good for watching alone")


def renewing(access: Access) -> Middleware:
    """Middleware: the key that a platform's token names is fetched before a handler asks."""

    @web.middleware
    async def renew(request: web.Request, handler: Handler) -> web.StreamResponse:
        await access.renew_keys_for(request)
        return await handler(request)

    return renew


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
