"""Where the service may connect to by itself, for addresses that come from a configuration.

An address is checked when it is connected to, not when its name is read: a name may lead somewhere
else by then (DNS rebinding). Without permission nothing private is reached: no loopback, no private
network, no link-local address with a cloud's metadata behind it, by no notation (SSRF).
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final

from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp.abc import ResolveResult

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# RFC 4291 2.4: IANA hands out global addresses of this part only.
UNICAST: Final = ipaddress.ip_network("2000::/3")
# RFC 6052 2.1: an IPv4 address in the last 32 bits, as DNS64 makes one of every public one.
NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class Refused(OSError):
    """The address is not one that may be connected to."""


class Reach:
    """Which addresses may be connected to: public ones where `public`, and these networks."""

    def __init__(self, networks: Sequence[Network], *, public: bool) -> None:
        self._networks = tuple(networks)
        self._public = public

    def allows(self, address: str) -> bool:
        """False also for what is no IP address."""
        try:
            parsed = ipaddress.ip_address(address.strip("[]").partition("%")[0])
        except ValueError:
            return False
        if any(parsed in network for network in self._networks):
            return True
        return self._public and all(_is_public(one) for one in (parsed, *_inside(parsed)))


class CheckedResolver(AbstractResolver):
    """Looks names up, and leaves out every address that is out of reach."""

    def __init__(self, reach: Reach, inner: AbstractResolver | None = None) -> None:
        self._reach = reach
        self._inner = inner or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises Refused where nothing is left."""
        found = await self._inner.resolve(host, port, family)
        allowed = [one for one in found if self._reach.allows(one["host"])]
        if not allowed:
            raise Refused("leads to addresses that may not be connected to")
        return allowed

    async def close(self) -> None:
        await self._inner.close()


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address not in UNICAST:
        return address in NAT64
    return address.is_global and not address.is_multicast


def _inside(address: Address) -> list[Address]:
    """The IPv4 addresses that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    held: list[Address | None] = [address.sixtofour, *(address.teredo or ())]
    if address in NAT64:
        held.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in held if one is not None]
