"""Which addresses are whose, in all the ways of writing that lead past a careless check."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.policy.addresses import Reach

PUBLIC = [
    "1.1.1.1",
    "93.184.215.14",
    "192.88.98.1",
    "2606:4700:4700::1111",
    "::ffff:1.1.1.1",
    "64:ff9b::101:101",
]
PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.7",
    "100.64.0.1",
    "::1",
    "fd12:3456::1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "64:ff9b::a00:1",
]
EVERYTHING = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
RESERVED = [
    "192.0.2.1",
    "198.18.0.1",
    "203.0.113.9",
    "::127.0.0.1",
    "fec0::1",
    "2001:db8::1",
    "64:ff9b:1::a00:1",
    "100::1",
]
NO_ADDRESS = [
    "",
    "localhost",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "0x7f000001",
    "0177.0.0.1",
    "[::1]",
    "::g",
]
NEVER = [
    "0.0.0.0",
    "169.254.169.254",
    "169.254.0.1",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "fd20:ce::254",
    "ff02::1",
    "2001:0:1::1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::",
    "64:ff9b::a9fe:a9fe",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert Reach().allows(address)
    assert not Reach(public=False).allows(address)


@pytest.mark.parametrize("address", PRIVATE + RESERVED)
def test_private_until_its_network_is_named(address: str) -> None:
    assert not Reach().allows(address)
    assert Reach(public=False, networks=EVERYTHING).allows(address)


@pytest.mark.parametrize("address", NEVER)
def test_never(address: str) -> None:
    assert not Reach(networks=EVERYTHING).allows(address)


@pytest.mark.parametrize("address", NO_ADDRESS)
def test_what_is_no_address(address: str) -> None:
    assert not Reach(networks=EVERYTHING).allows(address)


def test_a_network_that_is_named_is_reached_and_no_other() -> None:
    reach = Reach(public=False, networks=(ipaddress.ip_network("10.1.0.0/16"),))
    for inside in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203"):
        assert reach.allows(inside)
    for outside in ("10.2.2.3", "::ffff:10.2.2.3", "127.0.0.1", "8.8.8.8"):
        assert not reach.allows(outside)


def test_what_is_not_encrypted_stays_in_the_named_networks() -> None:
    networks = [ipaddress.ip_network("10.0.0.0/8")]
    for scheme, public in (("https", True), ("http", False), ("", False)):
        reach = Reach.of(scheme, networks)
        assert reach.allows("10.0.0.1")
        assert reach.allows("8.8.8.8") is public


@given(st.ip_addresses(v=4))
def test_ipv4_is_the_same_in_the_words_of_ipv6(ip: ipaddress.IPv4Address) -> None:
    for reach in (Reach(), Reach(networks=EVERYTHING)):
        for prefix in ("::ffff:", "64:ff9b::"):
            assert reach.allows(f"{prefix}{ip}") == reach.allows(str(ip))
