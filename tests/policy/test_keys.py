"""Which public keys are taken, and that each is good for one algorithm."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from service.policy.keys import MAX_KEYS, parse_jwks, parse_pem
from tests.web.signing import ALGORITHMS, jwk, pem, private_key


def key_set(*keys: object) -> bytes:
    return json.dumps({"keys": keys}).encode()


def test_several_pem_keys_each_for_its_algorithm() -> None:
    text = "\n".join(pem(private_key(algorithm)) for algorithm in ALGORITHMS)
    assert [(key.kid, key.algorithm) for key in parse_pem(f"# ours\n{text}")] == [
        (None, algorithm) for algorithm in ALGORITHMS
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has 0"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "key 1 cannot be read"),
        (
            private_key("ES256")
            .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            .decode(),
            "key 1 is a PRIVATE KEY",
        ),
        (pem(rsa.generate_private_key(65537, 1024)), "key 1 is of 1024 bits"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "neither RSA"),
        (pem(private_key("ES256")) * (MAX_KEYS + 1), f"has {MAX_KEYS + 1}"),
    ],
)
def test_what_is_no_public_key_of_ours(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_pem(text)


def test_a_key_set_with_keys_of_every_kind() -> None:
    keys, others = parse_jwks(key_set(*(jwk(one, f"kid-{one}") for one in ALGORITHMS)))
    assert [(key.kid, key.algorithm) for key in keys] == [
        (f"kid-{algorithm}", algorithm) for algorithm in ALGORITHMS
    ]
    assert others == 0


def private_jwk() -> dict[str, Any]:
    implementation = jwt.get_algorithm_by_name("ES256")
    return dict(implementation.to_jwk(private_key("ES256"), as_dict=True))


@pytest.mark.parametrize(
    "unusable",
    [
        {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I", "kid": "shared"},
        private_jwk(),
        {**jwk("ES256", "b"), "use": "enc"},
        {**jwk("ES256", "b"), "key_ops": ["sign"]},
        {**jwk("ES256", "b"), "key_ops": 7},
        {**jwk("ES256", "b"), "alg": "ES384"},
        {**jwk("RS256", "b"), "alg": "HS256"},
        {**jwk("RS256", "b"), "alg": "none"},
        {**jwk("RS256", "b"), "alg": 7},
        {**jwk("ES256", "b"), "crv": "P-384"},
        {**jwk("ES256", "b"), "x": "!"},
        {**jwk("ES256", "b"), "kid": 7},
        {**jwk("ES256", "b"), "kid": "k" * 257},
        {"kty": "RSA"},
        {},
        "key",
        None,
    ],
)
def test_a_key_for_something_else_is_passed_over(unusable: object) -> None:
    keys, others = parse_jwks(key_set(unusable, jwk("ES256", "a")))
    assert ([key.kid for key in keys], others) == (["a"], 1)
    with pytest.raises(ValueError, match="has no key for RS256, ES256, EdDSA"):
        parse_jwks(key_set(unusable))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a key set"),
        (b'{"keys": {}}', "is not a key set"),
        (key_set(*[{}] * (MAX_KEYS + 1)), f"at most {MAX_KEYS} keys"),
        (key_set(jwk("ES256", "a"), jwk("ES256", "a", 1)), "names two keys alike"),
    ],
)
def test_what_is_no_key_set(data: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_jwks(data)
