"""How many logins may fail: by client address, in a bounded table.

A session token can't be guessed, so a good one is never refused, whatever its address did. A
platform key is a text that somebody chose: guesses of it are what is limited here. An address that
failed too often is told to wait, even with the right key, unless that very key was good from that
very address lately: a platform's backend is not locked out by others behind its NAT or proxy.

Pure: time and addresses are passed in.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

MAX_ADDRESSES: Final = 4096
BURST: Final = 20
"""Failures at once."""
REFILL_S: Final = 3.0
"""After so long one more may fail: 20 in a minute, without end."""
TRUSTED_S: Final = 3600.0
"""For so long a key that was good is remembered for its address."""
IPV6_SITE_BITS: Final = 64
"""A single customer has a whole /64 to call from."""


@dataclass(slots=True)
class _Bucket:
    failures: float
    at_s: float


class FailedLogins:
    """A leaky bucket for each address. The address that failed longest ago is forgotten first."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._trusted: OrderedDict[tuple[str, str], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, address: str, *, now_s: float) -> int:
        """Whole seconds until another login of this address may fail; 0: it may now."""
        bucket = self._buckets.get(site(address))
        if bucket is None:
            return 0
        left = self._left(bucket, now_s)
        return 0 if left <= BURST - 1 else math.ceil((left - (BURST - 1)) * REFILL_S)

    def failed(self, address: str, *, now_s: float) -> None:
        """A credential from this address was wrong."""
        name = site(address)
        bucket = self._buckets.pop(name, None)
        left = 0.0 if bucket is None else self._left(bucket, now_s)
        self._buckets[name] = _Bucket(min(float(BURST), left + 1.0), now_s)
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)

    def good(self, address: str, key: str, *, now_s: float) -> None:
        """This key, by a name that is not the key itself, came from this address."""
        entry = site(address), key
        self._trusted[entry] = now_s + TRUSTED_S
        self._trusted.move_to_end(entry)
        if len(self._trusted) > MAX_ADDRESSES:
            self._trusted.popitem(last=False)

    def trusts(self, address: str, key: str, *, now_s: float) -> bool:
        """Whether this key was good from this address lately."""
        return now_s < self._trusted.get((site(address), key), -math.inf)

    def _left(self, bucket: _Bucket, now_s: float) -> float:
        return max(0.0, bucket.failures - (now_s - bucket.at_s) / REFILL_S)


def site(address: str) -> str:
    """What counts as one client: an IPv4 address, or an IPv6 /64. Other text is its own site."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, IPV6_SITE_BITS), strict=False))
