"""Several servers as one fleet: which of them a session began on, and who may ask as one of them.

A session's id ends in the tag of the server that opened it. A tag is a keyed digest and no address:
an id can only choose among the members that are known already, and tells nothing of the network.
What one member sends another carries a signed hop, good for one request, one receiver and a minute;
the secret itself is never sent. web/peers.py does the network's part.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TAG_BYTES: Final = 6
TAG_CHARS: Final = 8
SEPARATOR: Final = "."
"""Between an id's random part and its tag; ids that a platform chose have none."""
HOP_LIFE_S: Final = 60
"""How far two members' clocks, and a request's way, may be apart."""
MIN_SECRET_BYTES: Final = 32
_HOP: Final = re.compile(
    r"([0-9]{1,12})\.([A-Za-z0-9_-]{8})\.([A-Za-z0-9_-]{8})\.([0-9a-f]{64})", re.ASCII
)


def place_of(address: str, port: int) -> str:
    """What tells members apart; `address` is an IP address in its usual form."""
    return f"{address} {port}"


class HopError(Exception):
    """A hop that no member of this fleet signed, or not for this request."""


class HopMisled(HopError):
    """A hop that is good, and meant for another member."""


@dataclass(frozen=True, slots=True)
class Member:
    """A server of the fleet, where its API answers inside."""

    scheme: str
    address: str
    "An IP address in its usual form."
    port: int
    name: str
    "The host name or address that the configuration has, which its certificate must show."

    @property
    def place(self) -> str:
        """What tells members apart."""
        return place_of(self.address, self.port)


@dataclass(frozen=True, slots=True)
class Asked:
    """The request that a hop is good for."""

    method: str
    target: str
    "Path and query as they are sent."
    authorization: str
    "Of the caller, passed on; empty for none."


class Fleet:
    """One member's view: its own place, and the secrets that all share."""

    def __init__(self, secrets: Sequence[bytes], place: str) -> None:
        """The first secret signs, any verifies; raises ValueError for one that is too short."""
        if not secrets or any(len(secret) < MIN_SECRET_BYTES for secret in secrets):
            raise ValueError(f"needs secrets of {MIN_SECRET_BYTES} bytes or more")
        self._secrets = tuple(secrets)
        self.place = place
        self.tag = _tag(secrets[0], place)
        self._own_tags = tuple(_tag(secret, place) for secret in secrets)

    @property
    def id_suffix(self) -> str:
        """What the ids of sessions that are opened here end in."""
        return SEPARATOR + self.tag

    def others(self, members: Iterable[Member]) -> list[Member]:
        """All but this one, by their tags, so that every member has them in the same order."""
        found = {one.place: one for one in members if one.place != self.place}
        return sorted(found.values(), key=self.tag_of)

    def tag_of(self, member: Member) -> str:
        """As this member would write it."""
        return _tag(self._secrets[0], member.place)

    def home(self, session_id: str, members: Iterable[Member]) -> Member | None:
        """The other member on which that session began; None for this one or nobody known."""
        _, separator, tag = session_id.rpartition(SEPARATOR)
        if not separator or len(tag) != TAG_CHARS or tag in self._own_tags:
            return None
        for member in self.others(members):
            if tag in (_tag(secret, member.place) for secret in self._secrets):
                return member
        return None

    def sign(self, receiver: Member, asked: Asked, *, now: float) -> str:
        """A hop for one request to one member; `now` is in unix seconds."""
        stamp = f"{int(now)}.{self.tag}.{self.tag_of(receiver)}"
        return f"{stamp}.{_mac(self._secrets[0], stamp, asked)}"

    def verify(self, hop: str, asked: Asked, *, now: float) -> None:
        """Raises HopError, or HopMisled for one that a member signed for another one."""
        found = _HOP.fullmatch(hop)
        if found is None:
            raise HopError
        given = found[4].encode()
        stamp = f"{found[1]}.{found[2]}.{found[3]}"
        # Each is compared, in constant time.
        good = [
            hmac.compare_digest(given, _mac(secret, stamp, asked).encode())
            for secret in self._secrets
        ]
        if not any(good) or abs(now - int(found[1])) > HOP_LIFE_S:
            raise HopError
        if found[3] not in self._own_tags or found[2] in self._own_tags:
            raise HopMisled


def _tag(secret: bytes, place: str) -> str:
    digest = hmac.digest(secret, b"backcloth member\n" + place.encode(), "sha256")
    return base64.urlsafe_b64encode(digest[:TAG_BYTES]).decode()


def _mac(secret: bytes, stamp: str, asked: Asked) -> str:
    # A digest in place of the credential, and one line each: no part can pass for another.
    credential = hashlib.sha256(asked.authorization.encode(errors="surrogateescape")).hexdigest()
    signed = f"backcloth hop\n{stamp}\n{asked.method}\n{credential}\n{asked.target}"
    return hmac.new(secret, signed.encode(errors="surrogateescape"), "sha256").hexdigest()
