"""Which addresses are whose, in all the ways of writing that lead past a careless check."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.policy.addresses import is_private, is_public

if TYPE_CHECKING:
    import ipaddress

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
NEVER = [
    "0.0.0.0",
    "169.254.169.254",
    "169.254.0.1",
    "168.63.129.16",
    "192.0.2.1",
    "198.18.0.1",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::127.0.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
    "2001:0:1::1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::",
    "64:ff9b:1::a00:1",
    "64:ff9b::a9fe:a9fe",
    "100::1",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert is_public(address)
    assert not is_private(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_private(address: str) -> None:
    assert is_private(address)
    assert not is_public(address)


@pytest.mark.parametrize("address", NEVER)
def test_neither(address: str) -> None:
    assert not is_public(address)
    assert not is_private(address)


@pytest.mark.parametrize("address", ["", "localhost", "127.1", "2130706433", "0x7f.0.0.1", "::g"])
def test_what_is_no_address(address: str) -> None:
    for judge in (is_public, is_private):
        with pytest.raises(ValueError, match="does not appear to be"):
            judge(address)


@given(st.ip_addresses())
def test_no_address_is_both(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert not (is_public(str(ip)) and is_private(str(ip)))


@given(st.ip_addresses(v=4))
def test_ipv4_is_the_same_in_the_words_of_ipv6(ip: ipaddress.IPv4Address) -> None:
    for prefix in ("::ffff:", "64:ff9b::"):
        assert is_public(f"{prefix}{ip}") == is_public(str(ip))
        assert is_private(f"{prefix}{ip}") == is_private(str(ip))
