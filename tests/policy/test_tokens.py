"""Session tokens: what is minted is verified, and nothing else is."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import TokenError
from service.policy.tokens import AUDIENCE, ISSUER, MAX_TOKEN_CHARS, Grant, Tokens

OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32
NOW = 1_800_000_000.5
SPEC: dict[str, object] = {"effect": {"type": "blur"}, "ttl_s": 60}


def signed(secret: bytes = NEW, algorithm: str = "HS256", **changes: Any) -> str:
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "session-1",
        "iat": int(NOW),
        "exp": int(NOW) + 60,
        "spec": SPEC,
        **changes,
    }
    return jwt.encode(
        {name: value for name, value in claims.items() if value is not None},
        secret,
        algorithm=algorithm,
    )


@given(
    st.text(min_size=1, max_size=40).filter(str.isprintable),
    st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=20), max_size=4),
    st.integers(1, 10**6),
)
def test_round_trip(session_id: str, spec: dict[str, object], ttl_s: int) -> None:
    tokens = Tokens([NEW])
    token = tokens.mint(session_id, spec, now=NOW, expires_at=NOW + ttl_s)
    grant = tokens.verify(token, now=NOW)
    assert grant == Grant(session_id, spec, int(NOW), int(NOW + ttl_s))


def test_a_viewers_token_says_so() -> None:
    tokens = Tokens([NEW])
    token = tokens.mint("session-1", {}, now=NOW, expires_at=NOW + 60, views=True)
    assert tokens.verify(token, now=NOW).views
    token = tokens.mint("session-1", {}, now=NOW, expires_at=NOW + 60)
    assert not tokens.verify(token, now=NOW).views


def test_expires_at_the_second() -> None:
    tokens = Tokens([NEW])
    token = tokens.mint("session-1", SPEC, now=NOW, expires_at=NOW + 60)
    assert tokens.verify(token, now=int(NOW) + 59.9).session_id == "session-1"
    with pytest.raises(TokenError, match="has expired"):
        tokens.verify(token, now=int(NOW) + 60)


def test_a_secret_is_rotated_without_a_gap() -> None:
    before, during, after = Tokens([OLD]), Tokens([NEW, OLD]), Tokens([NEW])
    old = before.mint("session-1", SPEC, now=NOW, expires_at=NOW + 60)
    new = during.mint("session-1", SPEC, now=NOW, expires_at=NOW + 60)
    assert during.verify(old, now=NOW) == during.verify(new, now=NOW) == after.verify(new, now=NOW)
    for tokens, token in ((after, old), (before, new)):
        with pytest.raises(TokenError, match="not valid"):
            tokens.verify(token, now=NOW)


def unsigned() -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = jwt.decode(signed(), options={"verify_signature": False})
    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}."


@pytest.mark.parametrize(
    "token",
    [
        "",
        "not a token",
        "a.b.c",
        "....",
        "\u2603.\u2603.\u2603",
        signed()[:-2],
        signed(OTHER),
        signed(NEW * 2, "HS512"),
        unsigned(),
        signed(aud="another"),
        signed(aud=None),
        signed(aud=["backcloth-viewer", "backcloth"]),
        signed(iss="another"),
        signed(sub=None),
        signed(exp=None),
        signed(exp="soon"),
        signed(iat=None),
        signed(spec=None),
        signed(spec="blur"),
        signed(spec={"pad": "x" * MAX_TOKEN_CHARS}),
    ],
)
def test_what_is_not_a_token_of_this_service(token: str) -> None:
    with pytest.raises(TokenError, match="not valid"):
        Tokens([NEW, OLD]).verify(token, now=NOW)


@pytest.mark.parametrize("secrets", [[], [b"short"], [NEW, b"n" * 31]])
def test_weak_secrets_are_no_secrets(secrets: list[bytes]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Tokens(secrets)
