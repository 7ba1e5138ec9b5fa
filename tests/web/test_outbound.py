"""Where the service connects to by itself: nowhere private, by no notation and no name."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

import pytest
from aiohttp.abc import AbstractResolver

from service.web.outbound import CheckedResolver, Reach, Refused

if TYPE_CHECKING:
    from aiohttp.abc import ResolveResult

PUBLIC = ("8.8.8.8", "2606:4700::1111", "64:ff9b::808:808")
PRIVATE = (
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "[::1]",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::1",
    "2001:db8::1",
    "localhost",
    "127.1",
    "2130706433",
    "",
)


class Names(AbstractResolver):
    """One name with these addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": family,
                "proto": 0,
                "flags": 0,
            }
            for address in self.addresses
        ]

    async def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert Reach([], public=True).allows(address)
    assert not Reach([], public=False).allows(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses(address: str) -> None:
    assert not Reach([], public=True).allows(address)


def test_a_network_that_is_named_is_reached_and_no_other() -> None:
    reach = Reach([ipaddress.ip_network("10.1.0.0/16")], public=False)
    assert reach.allows("10.1.2.3")
    assert not reach.allows("10.2.2.3")
    assert not reach.allows("8.8.8.8")
    assert not reach.allows("::ffff:10.1.2.3")


async def test_a_name_leads_only_where_it_may() -> None:
    names = Names("127.0.0.1", "8.8.8.8", "::1")
    resolver = CheckedResolver(Reach([], public=True), names)
    assert [one["host"] for one in await resolver.resolve("both.example.com", 443)] == ["8.8.8.8"]
    await resolver.close()
    assert names.closed
    with pytest.raises(Refused):
        await CheckedResolver(Reach([], public=True), Names("10.0.0.1")).resolve("inside.example")
