"""A platform's own tokens: what their claims grant, and every way in which they can be wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from hypothesis import given
from hypothesis import strategies as st

from service.errors import TokenError
from service.policy.keys import parse_jwks, parse_pem
from service.policy.platform_tokens import MAX_LIFETIME_S, PlatformTokens, Unverified, peek
from service.policy.tokens import MAX_TOKEN_CHARS
from tests.web.signing import ALGORITHMS, AUDIENCE, ISSUER, jwk, pem, private_key, signed

NOW = 1_800_000_000.5
LEEWAY_S = 30
PEM_KEYS = parse_pem("".join(pem(private_key(algorithm)) for algorithm in ALGORITHMS))
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def verifier(*, ends_sessions: bool = False, keys: Any = PEM_KEYS) -> PlatformTokens:
    return PlatformTokens(
        keys=lambda: keys,
        issuer=ISSUER,
        audience=AUDIENCE,
        leeway_s=LEEWAY_S,
        ends_sessions=ends_sessions,
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_a_token_grants(algorithm: str) -> None:
    asks = {
        "session": "session-of-sixteen",
        "tenant": "acme",
        "max_width": 640,
        "ends_with_token": True,
    }
    grant = verifier().verify(signed(asks, now=NOW, algorithm=algorithm), now=NOW)
    assert grant.session_id == "session-of-sixteen"
    assert grant.spec == {"tenant": "acme", "max_width": 640}
    assert (grant.issued_at, grant.expires_at) == (int(NOW), int(NOW) + 60)
    assert grant.opens
    assert grant.ends_session
    assert grant.tenant == "acme"


@pytest.mark.parametrize("ends_sessions", [False, True])
def test_whether_the_session_ends_with_it_is_a_setting_where_it_does_not_say(
    ends_sessions: bool,
) -> None:
    tokens = verifier(ends_sessions=ends_sessions)
    assert tokens.verify(signed(now=NOW), now=NOW).ends_session is ends_sessions
    says = signed({"ends_with_token": not ends_sessions}, now=NOW)
    assert tokens.verify(says, now=NOW).ends_session is not ends_sessions


def test_an_unnamed_session_follows_from_the_token() -> None:
    tokens = verifier()
    one, same, other = (
        tokens.verify(signed(now=NOW, jti=jti, algorithm="EdDSA"), now=NOW).session_id
        for jti in ("a", "a", "b")
    )
    assert one == same != other
    assert len(one) == 32


def test_another_signature_of_the_same_claims_is_the_same_session() -> None:
    """ECDSA has two good signatures for each one: anybody can make the other of it."""
    token = signed(now=NOW, algorithm="ES256")
    body, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    assert decode_dss_signature(encode_dss_signature(r, s)) == (r, s)
    twin = r.to_bytes(32, "big") + (P256_ORDER - s).to_bytes(32, "big")
    other = f"{body}.{base64.urlsafe_b64encode(twin).rstrip(b'=').decode()}"
    tokens = verifier()
    assert other != token
    assert tokens.verify(other, now=NOW).session_id == tokens.verify(token, now=NOW).session_id


@pytest.mark.parametrize(
    ("changes", "at", "why"),
    [
        ({}, 60 + LEEWAY_S - 1, None),
        ({}, 60 + LEEWAY_S, "has expired"),
        ({"nbf": int(NOW) + LEEWAY_S}, 0, None),
        ({"nbf": int(NOW) + LEEWAY_S + 1}, 0, "not valid yet"),
        ({"iat": int(NOW) + LEEWAY_S}, 0, None),
        ({"iat": int(NOW) + LEEWAY_S + 1}, 0, "not valid yet"),
        ({"exp": int(NOW) + MAX_LIFETIME_S}, 0, None),
        ({"exp": int(NOW) + MAX_LIFETIME_S + 1}, 0, "at most 86400 s after its iat"),
        ({"exp": NOW + 5}, 0, None),
        ({"exp": float("nan")}, 0, "not valid"),
        ({"exp": float("inf")}, 0, "not valid"),
        ({"exp": 10**400}, 0, "not valid"),
        ({"exp": True}, 0, "not valid"),
        ({"exp": "1900000000"}, 0, "not valid"),
        ({"exp": None}, 0, "not valid"),
        ({"iat": None}, 0, "not valid"),
        ({"nbf": "soon"}, 0, "not valid"),
        ({"iss": "https://evil.example.com"}, 0, "not valid"),
        ({"iss": None}, 0, "not valid"),
        ({"iss": [ISSUER]}, 0, "not valid"),
        ({"aud": "another"}, 0, "another audience"),
        ({"aud": ["another", AUDIENCE]}, 0, None),
        ({"aud": None}, 0, "not valid"),
        ({"backcloth": "all"}, 0, "must be an object"),
        ({"backcloth": {"session": "short"}}, 0, "16 to 64"),
        ({"backcloth": {"session": "../../sixteen-characters"}}, 0, "16 to 64"),
        ({"backcloth": {"session": 7}}, 0, "16 to 64"),
        ({"backcloth": {"ends_with_token": "yes"}}, 0, "true or false"),
    ],
)
def test_every_claim_is_judged(changes: dict[str, Any], at: float, why: str | None) -> None:
    iss = changes.get("iss")
    if isinstance(iss, list):  # PyJWT makes no such token
        token = _raw({"alg": "EdDSA"}, {"iss": iss, "aud": AUDIENCE, "iat": NOW, "exp": NOW + 60})
    else:
        token = signed(now=NOW, algorithm="EdDSA", **changes)
    if why is None:
        assert verifier().verify(token, now=int(NOW) + at)
    else:
        with pytest.raises(TokenError, match=why):
            verifier().verify(token, now=int(NOW) + at)


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _raw(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Signed by the platform's Ed25519 key, whatever the header says."""
    body = f"{_part(header)}.{_part(claims)}"
    key = private_key("EdDSA")
    signature = key.sign(body.encode())  # type: ignore[call-arg]
    return f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "iat": int(NOW), "exp": int(NOW) + 60}


def _confused(algorithm: str) -> str:
    """HS256 with the public key's PEM as the secret: what a naive verifier takes."""
    body = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(CLAIMS)}"
    mac = hmac.new(pem(private_key(algorithm)).encode(), body.encode(), hashlib.sha256).digest()
    return f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b.c",
        f"{_part({'alg': 'none'})}.{_part(CLAIMS)}.",
        f"{_part({'alg': 'None'})}.{_part(CLAIMS)}.",
        f"{_part({})}.{_part(CLAIMS)}.",
        *(_confused(algorithm) for algorithm in ALGORITHMS),
        _raw({"alg": "HS256"}, CLAIMS),
        _raw({"alg": "ES256"}, CLAIMS),
        _raw({"alg": "RS256"}, CLAIMS),
        _raw({"alg": "EdDSA", "crit": ["exp"], "exp": 0}, CLAIMS),
        _raw({"alg": "EdDSA", "b64": False, "crit": ["b64"]}, CLAIMS),
        _raw({"alg": ["EdDSA"]}, CLAIMS),
        _raw({"alg": "EdDSA", "kid": 7}, CLAIMS),
        _raw({"alg": "EdDSA", "kid": "k" * 300}, CLAIMS),
        _raw({"alg": "EdDSA"}, CLAIMS)[:-4] + "AAAA",
        signed(now=NOW, number=1),
        signed({"pad": "x" * MAX_TOKEN_CHARS}, now=NOW),
        jwt.encode(CLAIMS, ec.generate_private_key(ec.SECP384R1()), algorithm="ES384"),
    ],
)
def test_forgeries(token: str) -> None:
    with pytest.raises(TokenError, match="not valid"):
        verifier().verify(token, now=NOW)


def test_a_key_in_the_header_is_never_used() -> None:
    """`jwk` and `jku` in a header would let a token bring its own key (RFC 8725 2.5)."""
    for header in ({"jwk": jwk("ES256", None, 7)}, {"jku": "http://127.0.0.1/evil"}):
        token = jwt.encode(CLAIMS, private_key("ES256", 7), algorithm="ES256", headers=header)
        with pytest.raises(TokenError, match="not valid"):
            verifier().verify(token, now=NOW)


def test_a_named_key_is_the_one_that_is_named() -> None:
    data = json.dumps({"keys": [jwk("ES256", "a", 0), jwk("ES256", "b", 1)]}).encode()
    tokens = verifier(keys=parse_jwks(data)[0])
    assert tokens.verify(signed(now=NOW, kid="b", number=1), now=NOW)
    for wrong in (
        signed(now=NOW, kid="a", number=1),
        signed(now=NOW, kid="c", number=1),
        signed(now=NOW, number=1),  # without a name it could be either
    ):
        with pytest.raises(TokenError, match="not valid"):
            tokens.verify(wrong, now=NOW)


def test_rotation_with_two_keys_at_once() -> None:
    keys = parse_pem(pem(private_key("RS256", 0)) + pem(private_key("RS256", 1)))
    tokens = verifier(keys=keys)
    for number in (0, 1):
        assert tokens.verify(signed(now=NOW, algorithm="RS256", number=number), now=NOW)


def test_peek_believes_nothing() -> None:
    assert peek(signed(now=NOW, kid="k")) == Unverified("ES256", "k")
    with pytest.raises(TokenError):
        peek("x" * (MAX_TOKEN_CHARS + 1))


@given(st.text(max_size=200) | st.lists(st.text(max_size=60), min_size=3, max_size=3).map(".".join))
def test_any_text_is_judged_without_a_fault(token: str) -> None:
    with pytest.raises(TokenError):
        verifier().verify(token, now=NOW)
