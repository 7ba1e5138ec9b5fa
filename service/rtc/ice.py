"""Where media sockets are bound and which addresses are offered: aioice with a port range.

aioice binds any free port on every address but 127.0.0.1; an operator opens a range in a firewall
and names the addresses. connection.py puts this class in the place of aioice's own.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import random
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aioice import stun
from aioice.candidate import Candidate, candidate_foundation, candidate_priority
from aioice.ice import (
    Connection,
    StunProtocol,
    get_host_addresses,
    relayed_candidate,
    server_reflexive_candidate,
)
from aioice.mdns import is_mdns_hostname

from service.policy.addresses import PRIVATE, Reach

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

CONSENT_INTERVAL_S = 2.0
"""RFC 7675 5.1 says 5 s at most; more often finds a silent peer within `silence_suspend_s`."""
GATHER_TIMEOUT_S = 5.0
RECEIVE_BUFFER_BYTES = 1 << 18
MAX_QUEUED_DATAGRAMS = 2000
MAX_REMOTE_CANDIDATES = 32
SRTP_FIRST_BYTE = 128
SRTP_LAST_BYTE = 191
"""RFC 7983: what a datagram is by its first byte."""


class NoFreePort(OSError):
    """Every port of the range is taken on an address."""


@dataclass(frozen=True, slots=True)
class IceSettings:
    """Where media may come from and go to."""

    first_port: int = 40000
    last_port: int = 40999
    "The range, both ends included, that media sockets are bound from."
    addresses: tuple[str, ...] = ()
    "Addresses to bind and offer; empty means all of the machine's."
    include_loopback: bool = False
    "Offer 127.0.0.1 beside the machine's addresses (development mode)."
    advertised_address: str | None = None
    "What a NAT in front shows in place of the bound address; None offers the bound one."

    relay_only: bool = False
    "Offer what a TURN server relays and nothing else: no media socket of our own is offered."

    peers: Reach = field(default_factory=lambda: Reach(networks=PRIVATE))
    "Where peers may be: no check is sent anywhere else, whatever candidates say."

    def takes(self, address: str) -> bool:
        """Whether a peer may be there. Also at the very addresses that are offered: a peer on this
        machine, where development offers 127.0.0.1. No host name is an address."""
        if self.peers.allows(address):
            return True
        return address in (self.host_addresses() if self.include_loopback else self.addresses)

    def host_addresses(self) -> list[str]:
        found = list(self.addresses)
        if not found:
            loopback = ["127.0.0.1"] if self.include_loopback else []
            found = loopback + get_host_addresses(use_ipv4=True, use_ipv6=True)
        if self.advertised_address is None:
            return found
        # A NAT forwards to one address of its family; another behind it can't be reached.
        version = ipaddress.ip_address(self.advertised_address).version
        return [a for a in found if ipaddress.ip_address(a).version == version][:1]


def bind_in_range(address: str, first_port: int, last_port: int) -> socket.socket:
    """A UDP socket on a free port of the range, searched from a random place in it."""
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    count = last_port - first_port + 1
    start = random.randrange(count)  # noqa: S311 (spreads the search, guards nothing)
    for step in range(count):
        candidate = socket.socket(family, socket.SOCK_DGRAM)
        candidate.setblocking(False)
        try:
            candidate.bind((address, first_port + (start + step) % count))
        except OSError as exc:
            candidate.close()
            if exc.errno != errno.EADDRINUSE:
                raise
        else:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            return candidate
    raise NoFreePort(f"no free UDP port from {first_port} to {last_port} on {address}")


class _MediaProtocol(StunProtocol):
    """aioice's socket, with RTP told from STUN by its first byte (RFC 7983)."""

    receiver: IceConnection

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        # aioice tries to parse every datagram as STUN and catches the exception: at thousands
        # of RTP packets a second that is a cost of its own.
        if isinstance(data, bytes) and data and data[0] > 3:
            self.receiver.media_received(data, addr, self.local_candidate.component)
            return
        super().datagram_received(data, addr)


class IceConnection(Connection):
    """One peer's ICE agent.

    `alive` is called for every authenticated sign of life. Consent is checked here but never ended
    here: the peer decides by everything it hears (RFC 7675 allows ending on silence only).
    """

    def __init__(
        self,
        *,
        ice: IceSettings,
        alive: Callable[[], None],
        **kwargs: Any,  # noqa: ANN401 (aioice's own arguments)
    ) -> None:
        super().__init__(**kwargs)
        self._ice = ice
        self._alive = alive
        self.datagrams_dropped = 0
        self.on_srtp: Callable[[bytes], None] | None = None
        "Takes SRTP and SRTCP where they arrive; before it is set they wait in the queue like DTLS."
        self._last_known: tuple[Any, ...] | None = None

    def media_received(self, data: bytes, addr: tuple[Any, ...], component: int) -> None:
        """A datagram that is not STUN. Only who is in the ICE exchange is listened to."""
        if addr != self._last_known:
            if not self.knows((addr[0], addr[1])):
                return
            # Candidates are added and never taken back: who is known stays known.
            self._last_known = addr
        is_srtp = SRTP_FIRST_BYTE <= data[0] <= SRTP_LAST_BYTE
        # Nothing overtakes what came in while the handshake ended: it may be the first keyframe.
        if is_srtp and self.on_srtp is not None and self._queue.empty():
            self.on_srtp(data)
        else:
            self.data_received(data, component)

    def send_now(self, data: bytes) -> bool:
        """Put a datagram into the nominated pair's socket; False when there is no such pair."""
        pair = self._nominated.get(1)
        if pair is None:
            return False
        pair.protocol.transport.sendto(data, pair.remote_addr)
        return True

    def knows(self, address: tuple[str, int]) -> bool:
        """Whether a peer of this exchange has this address."""
        if any(pair.remote_addr == address for pair in self._nominated.values()):
            return True
        return any(
            candidate._network_host == address[0] and candidate.port == address[1]
            for candidate in self._remote_candidates
        )

    async def add_remote_candidate(self, remote_candidate: Candidate | None) -> None:
        # Browsers hide their address behind mDNS names. Resolving one would multicast on the
        # server's network; the browser's own checks show its address anyway (RFC 8445 7.3.1.3).
        # End-of-candidates would make aioice fail before those checks arrive: the connect
        # timeout of peer.py ends what never connects.
        if remote_candidate is None or is_mdns_hostname(remote_candidate.host):
            return
        if not self._ice.takes(remote_candidate.host):
            # Else an offer would have this server try doors inside its own network.
            logger.info("a remote candidate is left out: peers may not be there")
            return
        if len(self._remote_candidates) < MAX_REMOTE_CANDIDATES:
            await super().add_remote_candidate(remote_candidate)

    async def get_component_candidates(
        self,
        component: int,
        addresses: list[str],
        timeout: int = 5,  # noqa: ASYNC109 (aioice's signature)
    ) -> list[Candidate]:
        """Host candidates from the port range; the rest as aioice does it."""
        hosts = [
            protocol
            for address in (self._ice.host_addresses() if addresses else [])
            if (protocol := await self._host(component, address)) is not None
        ]
        self._protocols += hosts
        candidates = [self._offered(protocol.local_candidate) for protocol in hosts]
        return candidates + await self._server_candidates(component, hosts)

    async def _host(self, component: int, address: str) -> StunProtocol | None:
        try:
            bound = bind_in_range(address, self._ice.first_port, self._ice.last_port)
        except OSError as exc:
            logger.warning("no media socket on %s: %s", address, exc)
            return None
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_datagram_endpoint(lambda: _MediaProtocol(self), sock=bound)
        host, port = bound.getsockname()[:2]
        protocol.local_candidate = Candidate(
            foundation=candidate_foundation("host", "udp", host),
            component=component,
            transport="udp",
            priority=candidate_priority(component, "host"),
            host=host,
            port=port,
            type="host",
        )
        return protocol

    def _offered(self, candidate: Candidate) -> Candidate:
        if self._ice.advertised_address is None:
            return candidate
        return Candidate(
            foundation=candidate.foundation,
            component=candidate.component,
            transport=candidate.transport,
            priority=candidate.priority,
            host=self._ice.advertised_address,
            port=candidate.port,
            type="host",
        )

    async def _server_candidates(
        self, component: int, hosts: list[StunProtocol]
    ) -> list[Candidate]:
        """Server-reflexive and relayed candidates from the configured STUN and TURN servers."""
        tasks: list[asyncio.Task[tuple[Candidate, StunProtocol | None]]] = []
        if self.stun_server:
            tasks += [
                asyncio.create_task(_reflexive(protocol, self.stun_server)) for protocol in hosts
            ]
        if self.turn_server:
            tasks.append(asyncio.create_task(self._relayed(component, self.turn_server)))
        if not tasks:
            return []
        done, pending = await asyncio.wait(tasks, timeout=GATHER_TIMEOUT_S)
        for task in pending:
            task.cancel()
        candidates = []
        for task in done:
            if (failure := task.exception()) is not None:
                logger.warning("no candidate from a STUN or TURN server: %s", failure)
                continue
            candidate, protocol = task.result()
            candidates.append(candidate)
            if protocol is not None:
                self._protocols.append(protocol)
        return candidates

    async def _relayed(
        self, component: int, server: tuple[str, int]
    ) -> tuple[Candidate, StunProtocol | None]:
        return await relayed_candidate(
            component=component,
            hide_related_address=False,
            protocol_factory=lambda: _MediaProtocol(self),
            turn_server=server,
            turn_username=self.turn_username,
            turn_password=self.turn_password,
            turn_ssl=self.turn_ssl,
            turn_transport=self.turn_transport,
        )

    def data_received(self, data: bytes, component: int) -> None:
        # Unauthenticated until SRTP has looked at it: bounded, and no sign of life yet.
        if self._queue.qsize() >= MAX_QUEUED_DATAGRAMS:
            self.datagrams_dropped += 1
            return
        super().data_received(data, component)

    def check_incoming(
        self, message: stun.Message, addr: tuple[str, int], protocol: StunProtocol
    ) -> None:
        # aioice has checked the message's integrity before it calls this; the sender's address may
        # be forged all the same, and a check would go there.
        if not self._ice.takes(addr[0]):
            return
        self._alive()
        if len(self._remote_candidates) >= 2 * MAX_REMOTE_CANDIDATES and not self.knows(addr):
            return
        super().check_incoming(message, addr, protocol)

    async def query_consent(self) -> None:
        assert self.remote_password is not None
        key = self.remote_password.encode()
        while True:
            await asyncio.sleep(CONSENT_INTERVAL_S * (0.8 + 0.4 * random.random()))  # noqa: S311
            for pair in list(self._nominated.values()):
                request = self.build_request(pair, nominate=False)
                try:
                    await pair.protocol.request(
                        request, pair.remote_addr, integrity_key=key, retransmissions=0
                    )
                except stun.TransactionError:
                    continue
                self._alive()


async def _reflexive(
    protocol: StunProtocol, server: tuple[str, int]
) -> tuple[Candidate, StunProtocol | None]:
    return await server_reflexive_candidate(protocol, server)
