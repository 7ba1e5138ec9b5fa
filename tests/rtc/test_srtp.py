"""How many streams one peer may begin in libsrtp."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, cast

import pylibsrtp
import pytest
from pylibsrtp import Policy, Session

from service.rtc.srtp import MAX_STREAMS, BoundedSrtp

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = bytes(range(30))


class Counted:
    """The real session, and how often libsrtp was asked."""

    def __init__(self) -> None:
        self.session = Session(Policy(key=KEY, ssrc_type=Policy.SSRC_ANY_INBOUND))
        self.asked = 0

    def unprotect(self, packet: bytes) -> bytes:
        self.asked += 1
        return self.session.unprotect(packet)

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        self.asked += 1
        return self.session.unprotect_rtcp(packet)


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def bounded(counted: Counted) -> BoundedSrtp:
    return BoundedSrtp(cast("Any", counted))


def peer() -> Session:
    return Session(Policy(key=KEY, ssrc_type=Policy.SSRC_ANY_OUTBOUND))


def rtp(ssrc: int, sequence: int = 1) -> bytes:
    return struct.pack("!BBHII", 0x80, 97, sequence, 0, ssrc) + b"payload"


def rtcp(ssrc: int) -> bytes:
    return struct.pack("!BBHII", 0x81, 206, 2, ssrc, 1)


def accepted(read: Callable[[bytes], bytes], packet: bytes) -> bool:
    try:
        read(packet)
    except pylibsrtp.Error:
        return False
    return True


def test_invented_streams_are_bounded_and_the_first_go_on(
    bounded: BoundedSrtp, counted: Counted
) -> None:
    own = peer()
    assert bounded.unprotect(own.protect(rtp(1))) == rtp(1)
    taken = [
        accepted(bounded.unprotect, peer().protect(rtp(ssrc)))
        if ssrc % 2
        else accepted(bounded.unprotect_rtcp, peer().protect_rtcp(rtcp(ssrc)))
        for ssrc in range(2, 1000)
    ]
    assert sum(taken) == MAX_STREAMS - 1
    assert all(taken[: MAX_STREAMS - 1])
    # Above the bound libsrtp is not even asked: it would keep each, and look through all of them.
    assert counted.asked == MAX_STREAMS
    assert bounded.unprotect(own.protect(rtp(1, 2))) == rtp(1, 2)
    assert bounded.unprotect_rtcp(own.protect_rtcp(rtcp(1))) == rtcp(1)


def test_forged_packets_take_no_place(bounded: BoundedSrtp) -> None:
    for ssrc in range(2 * MAX_STREAMS):
        assert not accepted(bounded.unprotect, rtp(ssrc) + bytes(10))
        assert not accepted(bounded.unprotect_rtcp, rtcp(ssrc) + bytes(14))
    assert accepted(bounded.unprotect, peer().protect(rtp(7)))


@pytest.mark.parametrize("length", range(13))
def test_short_packets_are_no_packets(bounded: BoundedSrtp, length: int) -> None:
    assert not accepted(bounded.unprotect, rtp(1)[:length])
    assert not accepted(bounded.unprotect_rtcp, rtcp(1)[:length])
