"""A service behind a 1:1 NAT learns its outer address from a STUN server, and offers it."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, cast

import aiohttp
import pytest
from aioice import stun

from tests.peers import Camera, Client
from tests.rtc.pictures import moving_picture
from tests.running import running

pytestmark = [pytest.mark.peer, pytest.mark.model]

OUTER = "203.0.113.7"
CANDIDATE = re.compile(r"a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ (\w+)(?: raddr (\S+))?")


class BeyondTheNat(asyncio.DatagramProtocol):
    """A STUN server to which all come from OUTER, at the ports that they have inside."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        asked = stun.parse_message(data)
        answer = stun.Message(
            message_method=asked.message_method,
            message_class=stun.Class.RESPONSE,
            transaction_id=asked.transaction_id,
        )
        answer.attributes["XOR-MAPPED-ADDRESS"] = (OUTER, addr[1])
        self.transport.sendto(bytes(answer), addr)


async def test_its_outer_address_is_offered_beside_its_own() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(BeyondTheNat, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    servers = json.dumps([{"urls": f"stun:127.0.0.1:{port}"}])
    try:
        with running(ICE_SERVERS=servers) as service:
            async with aiohttp.ClientSession(service.url) as http:
                async with http.post("/v1/sessions", json={}) as answer:
                    opened = await answer.json()
                client = Client(Camera(moving_picture))
                head = {"Content-Type": "application/sdp"}
                offer = await client.offer()
                async with http.post(opened["rtc_url"], data=offer, headers=head) as answer:
                    assert answer.status == 201, await answer.text()
                    sdp = await answer.text()
                await client.close()
    finally:
        transport.close()
    found = {kind: (host, port, near) for host, port, kind, near in CANDIDATE.findall(sdp)}
    assert set(found) == {"host", "srflx"}
    host, inner_port, _ = found["host"]
    assert host == "127.0.0.1"
    # A 1:1 NAT keeps the port: the range that is open is the same on both sides.
    assert found["srflx"] == (OUTER, inner_port, "127.0.0.1")
