"""No connectivity check goes where peers may not be: sockets there would hear it."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest
from aioice import stun

from service.parts import peer_reach
from service.policy.addresses import PRIVATE, Reach
from service.rtc.ice import IceSettings
from tests.peers import LOOPBACK, Camera, Client
from tests.rtc.pictures import moving_picture
from tests.rtc.stand import Connected, connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from service.frame.look import Look
    from service.frame.pipeline import Pipeline

pytestmark = [pytest.mark.model, pytest.mark.peer]

INSIDE = "127.0.0.9"
"""As good as any internal host: it can be bound here, and is no address that is offered."""


@dataclass
class Door(asyncio.DatagramProtocol):
    """A socket of an internal host."""

    heard: list[stun.Message] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.append(stun.parse_message(data))
        self.came.set()

    @property
    def line(self) -> str:
        """A candidate that leads here."""
        host, port = self.transport.get_extra_info("sockname")
        # Pairs of one foundation wait for each other (RFC 8445 6.1.2.6).
        return f"a=candidate:{port} 1 udp 2130706431 {host} {port} typ host"

    @property
    def checks(self) -> int:
        return sum(one.message_class is stun.Class.REQUEST for one in self.heard)


@asynccontextmanager
async def door(host: str) -> AsyncIterator[Door]:
    _, found = await asyncio.get_running_loop().create_datagram_endpoint(Door, local_addr=(host, 0))
    try:
        yield found
    finally:
        found.transport.close()


class Offering(Client):
    """A client whose offer has these candidates in place of its own."""

    def __init__(self, *lines: str) -> None:
        super().__init__(Camera(moving_picture))
        self.lines = lines

    async def offer(self) -> str:
        own = (await super().offer()).split("\r\n")
        # More will trickle in.
        left_out = ("a=candidate:", "a=end-of-candidates")
        kept = [line for line in own if not line.startswith(left_out)]
        return "\r\n".join(
            one
            for line in kept
            for one in ([*self.lines, line] if line.startswith("a=ice-ufrag") else [line])
        )


async def heard(one: Door) -> None:
    async with asyncio.timeout(10):
        await one.came.wait()


async def test_no_check_goes_to_a_candidate_that_is_not_allowed(
    make_pipeline: Callable[[Look], Pipeline], caplog: pytest.LogCaptureFixture
) -> None:
    async with door(LOOPBACK) as open_, door(INSIDE) as shut, door(LOOPBACK) as later:
        names = [
            shut.line.replace(INSIDE, name)
            for name in ("localhost", "metadata.internal", "0.0.0.0", "::ffff:127.0.0.9")
        ]
        client = Offering(shut.line, *names, open_.line)
        async with connected(client, make_pipeline, accept=False) as both:
            # aioice begins to check when the answer is there.
            await heard(open_)
            ufrag = re.search(r"a=ice-ufrag:(\S+)", client.connection.localDescription.sdp)
            assert ufrag is not None
            fragment = "\r\n".join([f"a=ice-ufrag:{ufrag[1]}", shut.line, *names, later.line, ""])
            await both.peer.trickle(fragment)
            await heard(later)
            assert await forged(both, client, shut)
            assert open_.checks
            assert later.checks
            assert shut.checks == 0
            agent = both.peer._link._connection.getTransceivers()[0].receiver.transport.transport
            assert {one.host for one in agent._connection.remote_candidates} == {LOOPBACK}
    assert INSIDE not in caplog.text


async def forged(both: Connected, client: Client, shut: Door) -> bool:
    """A check with the right password whose sender seems to be an internal host: it is answered,
    and brings no check of the service's own."""
    offer = client.connection.localDescription.sdp
    found = [
        re.search(rf"a={name}:(\S+)", sdp)
        for sdp, name in (
            (both.answer, "ice-ufrag"),
            (offer, "ice-ufrag"),
            (both.answer, "ice-pwd"),
        )
    ]
    ours, theirs, password = (one[1] for one in found if one is not None)
    port = re.search(r"a=candidate:\S+ 1 udp \d+ 127\.0\.0\.1 (\d+) typ host", both.answer)
    assert port is not None
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    request.attributes["USERNAME"] = f"{ours}:{theirs}"
    request.attributes["PRIORITY"] = 1
    request.attributes["ICE-CONTROLLING"] = 1
    request.add_message_integrity(password.encode())
    shut.transport.sendto(bytes(request), (LOOPBACK, int(port[1])))
    await heard(shut)
    # Checks of known pairs go on meanwhile: had there been one for this address, it would be here.
    async with asyncio.timeout(10):
        for one in (LOOPBACK, LOOPBACK):
            async with door(one) as next_:
                await both.peer.trickle(f"{next_.line}\r\n")
                await heard(next_)
    return True


@pytest.mark.parametrize(
    ("address", "taken"),
    [
        ("8.8.8.8", True),
        ("2a00:1450:4001:80b::200e", True),
        ("10.1.2.3", True),
        ("192.168.1.20", True),
        ("fd12::1", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("0.0.0.0", False),
        ("169.254.169.254", False),
        ("fe80::1", False),
        ("fd00:ec2::254", False),
        ("224.0.0.251", False),
        ("255.255.255.255", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::7f00:1", False),
        ("localhost", False),
        ("8a2b3c4d-0000-4000-8000-000000000000.local", False),
        ("", False),
    ],
)
def test_where_peers_may_be_by_default(address: str, taken: bool) -> None:
    assert IceSettings().takes(address) is taken


def test_where_peers_may_be_is_the_operators_to_say() -> None:
    assert peer_reach(("public", "private")) == Reach(networks=PRIVATE)
    public = IceSettings(peers=peer_reach(("public",)))
    assert public.takes("8.8.8.8")
    assert not public.takes("10.1.2.3")
    office = IceSettings(peers=peer_reach(("10.1.0.0/16",)))
    assert office.peers.networks == (ip_network("10.1.0.0/16"),)
    assert office.takes("10.1.2.3")
    assert not office.takes("10.2.2.3")
    assert not office.takes("8.8.8.8")
    # Whoever offers an address may be met there; its neighbours may not.
    assert IceSettings(addresses=("127.0.0.1",)).takes("127.0.0.1")
    assert not IceSettings(addresses=("127.0.0.1",)).takes("127.0.0.2")
    assert IceSettings(include_loopback=True).takes("127.0.0.1")
