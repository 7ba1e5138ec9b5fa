"""A platform that receives webhooks, on 127.0.0.1: it checks each by the published library."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks import Webhook

from service.session.events import Event, Kind
from service.webhooks.message import Signer
from service.webhooks.receiver import Receiver, ReceiverSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from service.policy.addresses import Network

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1"))
SECRET = b"a secret of the platform" + b"!" * 8
OTHER_SECRET = b"the one that comes after it" + b"!" * 5

Behaviour = Callable[[web.Request, "Received"], Awaitable[web.StreamResponse]]


def written(secret: bytes) -> str:
    """As a setting has it."""
    return "whsec_" + base64.b64encode(secret).decode()


@dataclass(frozen=True)
class Received:
    """One message as it came, whose signature is good."""

    id: str
    type: str
    data: dict[str, Any]
    body: bytes


async def accept(_: web.Request, __: Received) -> web.StreamResponse:
    return web.Response(status=204)


@dataclass
class Platform:
    """What came in, in order, and what it is answered with."""

    answer: Behaviour = accept
    secret: bytes = SECRET
    received: list[Received] = field(default_factory=list)
    accepted: list[Received] = field(default_factory=list)
    "Those that were answered with a 2xx."
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.StreamResponse:
        assert request.method == "POST"
        assert request.headers["Content-Type"] == "application/json"
        body = await request.read()
        message = Webhook(self.secret).verify(body, dict(request.headers))
        received = Received(request.headers["webhook-id"], message["type"], message["data"], body)
        self.received.append(received)
        self._changed.set()
        response = await self.answer(request, received)
        if response.status < 300:
            self.accepted.append(received)
            self._changed.set()
        return response

    async def until(self, condition: Callable[[], bool], *, timeout_s: float = 20.0) -> None:
        """Until what came in is as it should be."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def ids(self) -> list[str]:
        """Of what was accepted, each once, in the order of the first time."""
        return list(dict.fromkeys(one.id for one in self.accepted))

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[str]:
        """Its URL while it is there."""
        app = web.Application()
        app.router.add_post("/hooks", self.take)
        async with TestServer(app, host="127.0.0.1", port=port) as server:
            yield str(server.make_url("/hooks"))


@asynccontextmanager
async def raw(*chunks: bytes, pause_s: float = 0.0) -> AsyncIterator[str]:
    """A server that answers whatever comes with these bytes, and then keeps the connection."""
    connections: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        await reader.readuntil(b"\r\n\r\n")
        try:
            for chunk in chunks:
                writer.write(chunk)
                await writer.drain()
                await asyncio.sleep(pause_s)
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/hooks"
    finally:
        server.close()
        for writer in connections:
            writer.close()
        await server.wait_closed()


def receiver(
    url: str, *, networks: tuple[Network, ...] = LOOPBACK, timeout_s: float = 5.0
) -> Receiver:
    """Where the service sends to."""
    return Receiver(
        ReceiverSettings(url, timeout_s=timeout_s, networks=networks),
        Signer([SECRET]),
    )


def event(number: int, *, session: str = "session-1", kind: Kind = Kind.LIVE) -> Event:
    """An event of a session, numbered."""
    return Event(
        number, kind, 1_800_000_000.5, None, {"cause": "x"}, session, {"meeting": "42\r\nX: y"}
    )
