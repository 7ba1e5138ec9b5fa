"""Verify the tokens that a platform signs with keys of its own (RS256, ES256, EdDSA).

The standard claims say who signed it, for whom and when (RFC 7519 4.1); one claim, CLAIM, holds
what concerns this service: the session as POST /v1/sessions takes it, and which session it is.
Every token is for one session: the one that it names, or one whose id follows from the token, so
that a token that is sent again finds its session and opens no second one.

Time is passed in, and so are the keys: ``service.web.jwks`` fetches them.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import jwt

from service.errors import TokenError
from service.policy.keys import ALGORITHMS, MAX_KID_CHARS
from service.policy.tokens import MAX_TOKEN_CHARS, Grant

if TYPE_CHECKING:
    from service.policy.keys import Key

CLAIM: Final = "backcloth"
MAX_LIFETIME_S: Final = 86_400
"""From iat to exp: a token that is out cannot be called back."""
SESSION_ID: Final = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)
_REQUIRED: Final = ("iss", "aud", "iat", "exp")
_DERIVED_ID_BYTES: Final = 24


@dataclass(frozen=True, slots=True)
class Unverified:
    """What a token says of its signature, before anything of it is believed."""

    algorithm: str
    kid: str | None


def peek(token: str) -> Unverified:
    """The token's header. Raises TokenError."""
    if len(token) > MAX_TOKEN_CHARS:
        raise TokenError("the token is not valid")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError) as exc:
        raise TokenError("the token is not valid") from exc
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or not (kid is None or isinstance(kid, str)):
        raise TokenError("the token is not valid")
    if kid is not None and len(kid) > MAX_KID_CHARS:
        raise TokenError("the token is not valid")
    return Unverified(algorithm, kid)


def fitting(keys: Sequence[Key], asked: Unverified) -> list[Key]:
    """The keys that may have signed this token: those of its algorithm, and of its kid where the
    keys have names. A token without a kid is tried only where one key alone comes into question."""
    of_kind = [key for key in keys if key.algorithm == asked.algorithm]
    unnamed = [key for key in of_kind if key.kid is None]
    if asked.kid is not None:
        return [key for key in of_kind if key.kid == asked.kid] or unnamed
    return unnamed or (of_kind if len(of_kind) == 1 else [])


class PlatformTokens:
    """Verifies against the keys of the moment."""

    def __init__(
        self,
        *,
        keys: Callable[[], Sequence[Key]],
        issuer: str,
        audience: str,
        leeway_s: float,
        ends_sessions: bool = False,
    ) -> None:
        """`leeway_s` is how far the clocks may be apart; `ends_sessions` is what holds for a token
        that does not say whether its session ends when it expires."""
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._leeway_s = leeway_s
        self._ends_sessions = ends_sessions

    def verify(self, token: str, *, now: float) -> Grant:
        """What the token grants; raises TokenError, and says no more than the caller may know."""
        asked = peek(token)
        if asked.algorithm not in ALGORITHMS:
            raise TokenError("the token is not valid")
        claims = self._signed_claims(token, asked)
        issued_at, expires_at = self._times(claims, now)
        asks = claims.get(CLAIM, {})
        if not isinstance(asks, Mapping):
            raise TokenError(f"the token's claim {CLAIM!r} must be an object")
        spec = {str(name): value for name, value in asks.items()}
        session_id = spec.pop("session", None)
        ends_session = spec.pop("ends_with_token", self._ends_sessions)
        if not isinstance(ends_session, bool):
            raise TokenError(f"the token's {CLAIM}.ends_with_token must be true or false")
        if session_id is None:
            session_id = _derived_id(token)
        elif not isinstance(session_id, str) or SESSION_ID.fullmatch(session_id) is None:
            raise TokenError(
                f"the token's {CLAIM}.session must be 16 to 64 of A-Z, a-z, 0-9, '-' and '_'"
            )
        return Grant(session_id, spec, issued_at, expires_at, opens=True, ends_session=ends_session)

    def _signed_claims(self, token: str, asked: Unverified) -> Mapping[str, object]:
        for key in fitting(self._keys(), asked):
            try:
                # PyJWT reads the wall clock for times; _times() checks them by its own now.
                return jwt.decode(
                    token,
                    key.key,
                    algorithms=[key.algorithm],
                    audience=self._audience,
                    issuer=self._issuer,
                    options={
                        "require": list(_REQUIRED),
                        "verify_exp": False,
                        "verify_nbf": False,
                        "verify_iat": False,
                    },
                )
            except jwt.InvalidSignatureError:
                continue
            except jwt.InvalidAudienceError as exc:
                raise TokenError("the token is for another audience") from exc
            except (jwt.PyJWTError, ValueError, RecursionError) as exc:
                raise TokenError("the token is not valid") from exc
        raise TokenError("the token is not valid")

    def _times(self, claims: Mapping[str, object], now: float) -> tuple[int, int]:
        """iat and exp in unix seconds, checked with nbf (RFC 7519 4.1.4 to 4.1.6)."""
        issued_at, expires_at = _time(claims["iat"]), _time(claims["exp"])
        not_before = _time(claims["nbf"]) if "nbf" in claims else issued_at
        if now >= expires_at + self._leeway_s:
            raise TokenError("the token has expired")
        if now < max(not_before, issued_at) - self._leeway_s:
            raise TokenError("the token is not valid yet")
        if expires_at - issued_at > MAX_LIFETIME_S:
            raise TokenError(f"the token's exp must be at most {MAX_LIFETIME_S} s after its iat")
        return math.floor(issued_at), math.floor(expires_at)


def _time(value: object) -> float:
    """A NumericDate (RFC 7519 2), which may have a fraction."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenError("the token is not valid")
    # A float that is no number, and an int that no float holds, are far out of this range.
    if not 0 <= value <= 1 << 53:
        raise TokenError("the token is not valid")
    return float(value)


def _derived_id(token: str) -> str:
    """From what was signed. The signature is left out: with ES256 anybody can make another good
    one of it (r, n - s), and it would be another session."""
    digest = hashlib.sha256(token.rpartition(".")[0].encode()).digest()
    return base64.urlsafe_b64encode(digest[:_DERIVED_ID_BYTES]).decode()
