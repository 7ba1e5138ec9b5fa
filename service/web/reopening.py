"""Finds the session that a request is for, and opens it again where it is not here.

Sessions live in memory: when a server is gone, its clients come to another one with their signed
tokens, and a token holds what its session was opened with.
"""

from __future__ import annotations

import dataclasses
import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from service.errors import TokenError, UnknownSession
from service.web.access import Holder
from service.web.spec import MAX_TTL_S, NO_RULES, parse_spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.policy.rules import Tenants
    from service.policy.tokens import Grant
    from service.session.registry import Registry
    from service.session.session import Session
    from service.session.spec import SessionSpec
    from service.web.access import Caller

MAX_REMEMBERED: Final = 4096
MAX_LEEWAY_S: Final = 300
"""The most that BACKCLOTH_JWT_LEEWAY_S may be."""
LONGEST_TOKEN_S: Final = MAX_TTL_S + MAX_LEEWAY_S
"""No token is good for longer: neither one that was minted here nor one that a platform signed."""


class Reopening:
    """Reopens sessions by their tokens, except those that were deleted here."""

    def __init__(
        self, registry: Registry, *, now: Callable[[], float], tenants: Tenants = NO_RULES
    ) -> None:
        """``now`` is in unix seconds, as in tokens."""
        self._registry = registry
        self._tenants = tenants
        self._now = now
        # Deleted sessions, until their tokens have expired. One that falls out of the bound could
        # be opened again by whoever still holds its token.
        self._deleted: OrderedDict[str, float] = OrderedDict()

    def find_or_reopen(self, caller: Caller, session_id: str) -> Session:
        """The session; raises UnknownSession, Refused, TokenError, InvalidField or NotAllowed.
        Nothing is awaited in between, so two requests at once cannot open it twice."""
        try:
            return self._registry.get(session_id)
        except UnknownSession:
            if not isinstance(caller, Holder) or self.is_deleted(session_id):
                raise
        spec = self.rest(parse_spec(caller.grant.spec, self._tenants), caller.grant)
        return self._registry.create(spec, session_id=session_id)

    def rest(self, spec: SessionSpec, grant: Grant) -> SessionSpec:
        """The session with what is left of its time: a token's time is not begun anew, neither
        when a session is opened again nor when its token is sent late. Raises TokenError."""
        ends_at = float(grant.expires_at)
        if grant.opens:
            lives_until = grant.issued_at + spec.ttl_s
            ends_at = min(ends_at, lives_until) if grant.ends_session else lives_until
        remaining_s = math.floor(ends_at - self._now())
        if grant.opens and remaining_s < 1:
            raise TokenError("the token's session has had its time")
        return dataclasses.replace(spec, ttl_s=min(spec.ttl_s, max(1, remaining_s)))

    def require_open(self, session_id: str) -> None:
        """Raises UnknownSession for a session that was deleted here."""
        if self.is_deleted(session_id):
            raise UnknownSession

    def deleted(self, session_id: str, *, until: float) -> None:
        """Somebody ended this session on purpose: its token opens nothing any more."""
        self._deleted[session_id] = max(until, self._deleted.get(session_id, 0.0))
        self._deleted.move_to_end(session_id)
        if len(self._deleted) > MAX_REMEMBERED:
            self._deleted.popitem(last=False)

    def is_deleted(self, session_id: str) -> bool:
        """Whether it was ended on purpose here."""
        return self._now() < self._deleted.get(session_id, 0.0)
