"""Public keys that verify a platform's tokens: from PEM text, or from a key set (RFC 7517).

A key is good for exactly one algorithm, which follows from what it is and never from what a token
says (RFC 8725 3.1): an RSA key is for RS256, one on P-256 for ES256, an Ed25519 key for EdDSA. What
is secret (a symmetric or a private key) has no place here and is not taken. PyJWT and cryptography
do the parsing; parsing is CPU work, so it is for a thread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")
MAX_KEYS: Final = 64
MAX_KID_CHARS: Final = 256
# RFC 7518 3.3 asks for 2048 bits; above 4096 one verification costs more than a request should.
RSA_BITS: Final = (2048, 4096)
_PEM: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Key:
    """One public key."""

    kid: str | None
    "Its name in a key set; None for one without, and for every PEM key."
    algorithm: str
    "The one of ALGORITHMS that it is for."
    key: PublicKey


def parse_pem(text: str) -> tuple[Key, ...]:
    """Every public key of a PEM text; raises ValueError, which says what is wrong with which."""
    blocks = list(_PEM.finditer(text))
    if not 1 <= len(blocks) <= MAX_KEYS:
        raise ValueError(f"must hold 1 to {MAX_KEYS} public keys in PEM, and has {len(blocks)}")
    found = []
    for place, block in enumerate(blocks, 1):
        if block[1] != "PUBLIC KEY":
            raise ValueError(f"key {place} is a {block[1]}; a PUBLIC KEY is asked for")
        try:
            key = load_pem_public_key(block[0].encode())
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError(f"key {place} cannot be read") from None
        try:
            found.append(_key(None, key))
        except ValueError as exc:
            raise ValueError(f"key {place} {exc}") from None
    return tuple(found)


def parse_jwks(data: bytes) -> tuple[tuple[Key, ...], int]:
    """The usable keys of a key set, and how many others it has.

    Raises ValueError for what is no key set, has more than MAX_KEYS keys, or none that is usable.
    A set may hold keys for other purposes (RFC 7517 5): they are passed over.
    """
    try:
        members = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    listed = members.get("keys") if isinstance(members, dict) else None
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise ValueError(f"is not a key set of at most {MAX_KEYS} keys")
    found: list[Key] = []
    for one in listed:
        try:
            found.append(_of_jwk(one))
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
            continue
    named = [key.kid for key in found if key.kid is not None]
    if len(set(named)) != len(named):
        raise ValueError("names two keys alike")
    if not found:
        raise ValueError(f"has no key for {', '.join(ALGORITHMS)}")
    return tuple(found), len(listed) - len(found)


def _of_jwk(jwk: object) -> Key:
    if not isinstance(jwk, Mapping) or jwk.get("kty") not in ("RSA", "EC", "OKP"):
        raise ValueError("is no public key")  # "oct" is a shared secret, which HS256 would take
    if "d" in jwk:
        raise ValueError("is a private key")
    if jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ["verify"]):
        raise ValueError("is not for signatures")
    if jwk.get("alg", ALGORITHMS[0]) not in ALGORITHMS:
        raise ValueError("is for another algorithm")
    kid = jwk.get("kid")
    if kid is not None and not (isinstance(kid, str) and len(kid) <= MAX_KID_CHARS):
        raise ValueError("has no usable kid")
    key = _key(kid, jwt.PyJWK(dict(jwk)).key)
    if jwk.get("alg", key.algorithm) != key.algorithm:
        raise ValueError("is for another algorithm")
    return key


def _key(kid: str | None, key: object) -> Key:
    match key:
        case RSAPublicKey() if RSA_BITS[0] <= key.key_size <= RSA_BITS[1]:
            return Key(kid, "RS256", key)
        case RSAPublicKey():
            least, most = RSA_BITS
            raise ValueError(f"is of {key.key_size} bits; RSA keys have {least} to {most}")
        case EllipticCurvePublicKey() if isinstance(key.curve, SECP256R1):
            return Key(kid, "ES256", key)
        case Ed25519PublicKey():
            return Key(kid, "EdDSA", key)
    raise ValueError("is neither RSA, nor on P-256, nor Ed25519")
