"""SRTP in, for a bounded number of streams.

libsrtp begins a stream for every SSRC that an authenticated packet names, keeps it for good, and
looks all of them through for each packet: a peer that invents SSRCs would make each packet dearer
than the one before, on the event loop of everybody. transport.py puts this around aiortc's session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pylibsrtp

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_STREAMS: Final = 64
"""That one peer may name. Four cameras with retransmission, and sound, are nine."""
RTP_SSRC: Final = slice(8, 12)
RTCP_SSRC: Final = slice(4, 8)
"""Where a packet says whose it is (RFC 3550 5.1 and 6.4.1); SRTP leaves that readable."""


class BoundedSrtp:
    """A `pylibsrtp.Session` for incoming packets that passes over streams above the bound."""

    def __init__(self, session: pylibsrtp.Session) -> None:
        self._session = session
        self._known: set[bytes] = set()

    def unprotect(self, packet: bytes) -> bytes:
        """The RTP packet; raises pylibsrtp.Error for one that is not authentic or not followed."""
        return self._of(packet[RTP_SSRC], packet, self._session.unprotect)

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        """The same for RTCP."""
        return self._of(packet[RTCP_SSRC], packet, self._session.unprotect_rtcp)

    def _of(self, ssrc: bytes, packet: bytes, unprotect: Callable[[bytes], bytes]) -> bytes:
        if ssrc in self._known:
            return unprotect(packet)
        if len(self._known) >= MAX_STREAMS:
            raise pylibsrtp.Error("too many streams")
        plain = unprotect(packet)
        # Only what was authentic began a stream in libsrtp.
        self._known.add(ssrc)
        return plain
