"""Which IP addresses the service may connect to on its own, for an address that a setting names.

Against server-side request forgery: a name that leads into the machine's own network, today or
after DNS has been changed, gets no connection. Judged is the address that a socket is about to be
connected to, so that nothing can change in between.
"""

from __future__ import annotations

import ipaddress
from typing import Final

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# Besides link-local ones these answer to any workload of a cloud with its credentials or its
# configuration: AWS by IPv6, and Azure by an address that looks public.
METADATA: Final[frozenset[IPAddress]] = frozenset(
    {ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("168.63.129.16")}
)
GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")
"""All that IANA gives out of IPv6 (RFC 4291 2.4)."""
SIX_TO_FOUR: Final = ipaddress.ip_network("2002::/16")
"""Holds an IPv4 address, which need not be a public one; deprecated by RFC 7526."""
MAPPED: Final = ipaddress.ip_network("::ffff:0:0/96")
"""IPv4 in the words of IPv6 (RFC 4291 2.5.5.2)."""
NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
"""IPv4 behind a translator, where a network has IPv6 alone (RFC 6052 2.1)."""
SHARED: Final = ipaddress.ip_network("100.64.0.0/10")
"""Carriers' and some clusters' own addresses (RFC 6598)."""


def is_public(address: str) -> bool:
    """Whether that is somewhere on the Internet; raises ValueError for what is no IP address."""
    return _is_public(_meant(address))


def is_private(address: str) -> bool:
    """Whether that is this machine or a network of its operator, and an address that a receiver
    may have there: no link-local one and no cloud's metadata. Raises ValueError for what is no IP
    address."""
    ip = _meant(address)
    if ip in METADATA or ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        return False
    if ip.is_loopback:
        return True
    if isinstance(ip, ipaddress.IPv6Address):
        return ip in _UNIQUE_LOCAL
    return ip in SHARED or any(ip in network for network in _RFC1918)


def _is_public(ip: IPAddress) -> bool:
    if ip in METADATA or ip.is_multicast or not ip.is_global:
        return False
    return ip.version == 4 or (ip in GLOBAL_UNICAST and ip not in SIX_TO_FOUR)


def _meant(address: str) -> IPAddress:
    """The address that a packet ends up at; a zone ("%eth0") is of no matter."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and (ip in MAPPED or ip in NAT64):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


_RFC1918: Final = tuple(
    ipaddress.ip_network(network) for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)
_UNIQUE_LOCAL: Final = ipaddress.ip_network("fc00::/7")
