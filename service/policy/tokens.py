"""Mint and verify session tokens: signed JWTs, each good for one session.

A token carries what is needed to open its session again on another server, because sessions live
in memory alone. What that is belongs to the caller (``service.web.spec``): here it is a mapping
of JSON values. The signature is PyJWT's work: a signature check is no place for code of our own.
The tokens that a platform signs with its own keys are in platform_tokens.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import jwt

from service.errors import TokenError

ALGORITHM: Final = "HS256"
ISSUER: Final = "backcloth"
AUDIENCE: Final = "backcloth"
VIEWER_AUDIENCE: Final = "backcloth-viewer"
"""Of tokens that are good for watching a session and nothing else: a server that knows none of
these takes them for tokens of somebody else."""
# RFC 7518 3.2: an HS256 key has at least as many bits as the hash.
MIN_SECRET_BYTES: Final = 32
# With "Authorization: Bearer " before it, a token of that length still fits a header line of 8190
# bytes, which is where aiohttp (as most servers) stops reading.
MAX_TOKEN_CHARS: Final = 8000
_REQUIRED: Final = ("iss", "aud", "sub", "iat", "exp", "spec")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a verified token says."""

    session_id: str
    spec: Mapping[str, object]
    "The session as it was first asked for, in JSON values."
    issued_at: int
    "Unix seconds."
    expires_at: int
    "Unix seconds: from then on the token is good for nothing."
    opens: bool = False
    "Whether it opens its session by POST /v1/sessions: a token that the platform signed."
    ends_session: bool = True
    "Whether its session ends when it expires; else the session has the life that `spec` says."
    views: bool = False
    "Whether it is good for watching the session, and for nothing else."

    @property
    def tenant(self) -> str:
        """Whose session it is; empty for none."""
        tenant = self.spec.get("tenant", "")
        return tenant if isinstance(tenant, str) else ""


class Tokens:
    """Signs by the first secret, verifies by any: a secret is rotated without a gap by putting
    the new one in front and dropping the old one when its last token has expired."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        if not secrets or any(len(secret) < MIN_SECRET_BYTES for secret in secrets):
            raise ValueError(f"needs secrets of {MIN_SECRET_BYTES} bytes or more")
        self._secrets = tuple(secrets)

    def mint(
        self,
        session_id: str,
        spec: Mapping[str, object],
        *,
        now: float,
        expires_at: float,
        views: bool = False,
    ) -> str:
        """A token for this session; times are unix seconds. `views`: for watching it alone."""
        claims = {
            "iss": ISSUER,
            "aud": VIEWER_AUDIENCE if views else AUDIENCE,
            "sub": session_id,
            "iat": int(now),
            "exp": int(expires_at),
            "spec": dict(spec),
        }
        return jwt.encode(claims, self._secrets[0], algorithm=ALGORITHM)

    def verify(self, token: str, *, now: float) -> Grant:
        """What the token grants; raises TokenError, and says no more than the caller may know."""
        if len(token) > MAX_TOKEN_CHARS:
            raise TokenError("the token is not valid")
        claims = self._signed_claims(token)
        session_id, spec, audience = claims["sub"], claims["spec"], claims["aud"]
        if not isinstance(session_id, str) or not isinstance(spec, Mapping):
            raise TokenError("the token is not valid")
        issued_at, expires_at = _whole(claims["iat"]), _whole(claims["exp"])
        not_before = _whole(claims.get("nbf", 0))
        if now >= expires_at:
            raise TokenError("the token has expired")
        if now < not_before:
            raise TokenError("the token is not valid yet")
        # One audience, as mint() writes it: it says what the token is good for.
        if not isinstance(audience, str):
            raise TokenError("the token is not valid")
        views = audience == VIEWER_AUDIENCE
        return Grant(session_id, spec, issued_at, expires_at, views=views)

    def _signed_claims(self, token: str) -> Mapping[str, object]:
        for secret in self._secrets:
            try:
                # PyJWT reads the wall clock for times; verify() checks them by its own now.
                return jwt.decode(
                    token,
                    secret,
                    algorithms=[ALGORITHM],
                    audience=[AUDIENCE, VIEWER_AUDIENCE],
                    issuer=ISSUER,
                    options={
                        "require": list(_REQUIRED),
                        "verify_exp": False,
                        "verify_nbf": False,
                        "verify_iat": False,
                    },
                )
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError, RecursionError) as exc:
                raise TokenError("the token is not valid") from exc
        raise TokenError("the token is not valid")


def _whole(value: object) -> int:
    """A time as mint() writes it, in unix seconds."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TokenError("the token is not valid")
    return value
