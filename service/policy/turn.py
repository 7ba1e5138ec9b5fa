"""Credentials for a TURN server that are good for a while: the server's shared secret signs them.

The scheme of draft-uberti-behave-turn-rest-00, which coturn calls `use-auth-secret`: the username
is the time at which it expires, in unix seconds, and a name; the password is made of that by the
secret that this service and the TURN server share. Whoever gets hold of one can use it until then.
"""

from __future__ import annotations

import base64
import hmac
import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TurnCredential:
    """What a browser sends to the TURN server."""

    username: str
    password: str


@dataclass(frozen=True, slots=True)
class TurnLender:
    """Makes credentials for one TURN server's secret."""

    secret: str
    longest_s: float
    "The longest that one is good for."

    def lend(self, name: str, *, now: float, until: float = math.inf) -> TurnCredential:
        """One that is good until then, in unix seconds, and for `longest_s` at most.

        `name` (without ":") is only for the TURN server's log and its quotas.
        """
        username = f"{math.ceil(min(until, now + self.longest_s))}:{name}"
        # SHA-1 is the scheme's; for a MAC it is not broken.
        digest = hmac.digest(self.secret.encode(), username.encode(), "sha1")
        return TurnCredential(username, base64.b64encode(digest).decode())
