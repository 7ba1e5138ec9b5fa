"""Which IP addresses the service may connect to on its own, for an address that a setting names.

Against server-side request forgery: a name that leads into the machine's own network, today or
after DNS has been changed, gets no connection. Judged is the address that a socket is about to be
connected to, so that nothing can change in between. ``service.outbound`` asks, for every client.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

METADATA: Final[frozenset[IPAddress]] = frozenset(
    ipaddress.ip_address(address)
    for address in (
        "fd00:ec2::254",
        "fd20:ce::254",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
    )
)
"""Beside link-local ones these answer to any workload of a cloud with its credentials or its
configuration: AWS and Google by IPv6, Alibaba, Oracle, and Azure by one that looks public."""
GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")
"""All that IANA gives out of IPv6 (RFC 4291 2.4)."""
SIX_TO_FOUR: Final = ipaddress.ip_network("2002::/16")
"""Holds an IPv4 address, which need not be a public one; deprecated by RFC 7526."""
TEREDO: Final = ipaddress.ip_network("2001::/32")
"""So does this (RFC 4380)."""
MAPPED: Final = ipaddress.ip_network("::ffff:0:0/96")
"""IPv4 in the words of IPv6 (RFC 4291 2.5.5.2)."""
NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
"""IPv4 behind a translator, where a network has IPv6 alone (RFC 6052 2.1)."""

PRIVATE: Final[tuple[Network, ...]] = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
        *("100.64.0.0/10", "fc00::/7"),
    )
)
"""Networks of offices, homes, carriers and clusters (RFC 1918, RFC 6598, RFC 4193)."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far one client may go."""

    public: bool = True
    "Whether to the Internet."
    networks: tuple[Network, ...] = ()
    "The operator's own that it may go to besides: this machine's 127.0.0.0/8, a cluster's pods."

    @classmethod
    def of(cls, scheme: str, networks: Iterable[Network] = ()) -> Reach:
        """By a URL's scheme: what is not encrypted stays in the networks that are named."""
        return cls(public=scheme == "https", networks=tuple(networks))

    def allows(self, address: str) -> bool:
        """Whether that may be connected to; not for what is no IP address.

        No network that is named, however wide, opens what `_never` tells.
        """
        try:
            ip = _meant(address)
        except ValueError:
            return False
        if _never(ip):
            return False
        return any(ip in network for network in self.networks) or (self.public and _is_public(ip))


def _never(ip: IPAddress) -> bool:
    """No receiver of anything has such an address."""
    return (
        ip in METADATA
        or ip.is_link_local
        or ip.is_multicast
        or ip.is_unspecified
        or (ip.version == 4 and ip.is_reserved)
        or ip in SIX_TO_FOUR
        or ip in TEREDO
    )


def _is_public(ip: IPAddress) -> bool:
    return ip.is_global and (ip.version == 4 or ip in GLOBAL_UNICAST)


def _meant(address: str) -> IPAddress:
    """The address that a packet ends up at; a zone ("%eth0") is of no matter."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and (ip in MAPPED or ip in NAT64):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip
