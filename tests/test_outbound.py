"""HTTP from here to elsewhere: where it leads, whatever a name means, and what comes back.

More of it in tests/webhooks/test_receiver.py and tests/web/test_jwks.py, which are its users.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver
from aiohttp.test_utils import BaseTestServer, TestServer

from service import outbound
from service.policy.addresses import Reach

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp.abc import ResolveResult

ONE = Reach(public=False, networks=(ipaddress.ip_network("127.0.0.1"),))


class Names(AbstractResolver):
    """Any name has these addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": 0,
                "flags": 0,
            }
            for address in self.addresses
        ]

    async def close(self) -> None:
        """Nothing is kept."""


@pytest.fixture
async def server() -> AsyncIterator[BaseTestServer]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * int(request.query["bytes"]))

    app = web.Application()
    app.router.add_get("/", answer)
    async with TestServer(app, host="127.0.0.1") as running:
        yield running


async def get(server: BaseTestServer, resolver: AbstractResolver, bytes_: int = 10) -> bytes:
    async with outbound.client(ONE, timeout_s=5, resolver=resolver) as http:
        url = f"http://there.example:{server.port}/?bytes={bytes_}"
        async with http.get(url, allow_redirects=False) as response:
            return await outbound.body(response, most_bytes=100)


async def test_of_a_names_addresses_those_within_reach_are_taken(server: BaseTestServer) -> None:
    assert await get(server, Names("127.0.0.2", "::1", "10.0.0.1", "127.0.0.1")) == b"x" * 10


async def test_a_name_that_leads_elsewhere_alone(server: BaseTestServer) -> None:
    for elsewhere in ("127.0.0.2", "::ffff:127.0.0.2", "169.254.169.254"):
        with pytest.raises(aiohttp.ClientConnectorError, match="range that is not allowed"):
            await get(server, Names(elsewhere))


async def test_a_body_is_read_to_its_limit(server: BaseTestServer) -> None:
    names = Names("127.0.0.1")
    assert await get(server, names, 100) == b"x" * 100
    with pytest.raises(outbound.TooLong, match="more than 100 bytes"):
        await get(server, names, 101)
