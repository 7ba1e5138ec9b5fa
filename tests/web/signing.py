"""A platform that signs its tokens: keys made for the test, and its key set on a real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ISSUER = "https://meet.example.com"
AUDIENCE = "backcloth"
ALGORITHMS = ("RS256", "ES256", "EdDSA")

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def private_key(algorithm: str, number: int = 0) -> Private:
    """The same key for the same arguments: an RSA key takes a tenth of a second."""
    return _made(algorithm, number)


@cache
def _made(algorithm: str, number: int) -> Private:
    match algorithm:
        case "RS256":
            return rsa.generate_private_key(65537, 2048)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def pem(key: Private) -> str:
    """Its public half."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def jwk(algorithm: str, kid: str | None, number: int = 0) -> dict[str, Any]:
    """The public half as a JSON Web Key."""
    implementation = jwt.get_algorithm_by_name(algorithm)
    public: dict[str, Any] = implementation.to_jwk(
        private_key(algorithm, number).public_key(), as_dict=True
    )
    public.pop("key_ops", None)
    return {**public, "use": "sig", **({} if kid is None else {"kid": kid})}


def signed(
    asks: object = None,
    *,
    now: float,
    algorithm: str = "ES256",
    kid: str | None = None,
    number: int = 0,
    **changes: Any,
) -> str:
    """A platform's token; `asks` is its claim for this service, None leaves it out."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": int(now),
        "exp": int(now) + 60,
        "jti": "one",
        **({} if asks is None else {"backcloth": asks}),
        **changes,
    }
    return jwt.encode(
        {name: value for name, value in claims.items() if value is not None},
        private_key(algorithm, number),
        algorithm=algorithm,
        headers=None if kid is None else {"kid": kid},
    )


@dataclass
class KeyServer:
    """Answers with `body`, or by whatever way a test chooses."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    endless: bool = False
    slowly: bool = False
    silent: bool = False
    asked: int = 0
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    def publish(self, *keys: dict[str, Any]) -> None:
        self.body = json.dumps({"keys": list(keys)}).encode()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        self.was_asked.set()
        if self.silent:
            await asyncio.sleep(60)
        if not self.endless:
            return web.Response(body=self.body, status=self.status, headers=self.headers)
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b" " * (1 if self.slowly else 4096))
                await asyncio.sleep(0.02 if self.slowly else 0)
        return response

    @asynccontextmanager
    async def running(self) -> AsyncIterator[KeyServer]:
        app = web.Application()
        app.router.add_get("/jwks.json", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks.json"
        try:
            yield self
        finally:
            await runner.cleanup()


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    s: float = field(default_factory=time.monotonic)

    def __call__(self) -> float:
        return self.s
