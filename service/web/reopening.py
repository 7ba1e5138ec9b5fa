"""Finds the session that a request is for, and opens it again where it is not here.

Sessions live in memory: when a server is gone, its clients come to another one with their signed
tokens, and a token holds what its session was opened with. Where a session ended by itself, and is
opened again on the same server, the effect that a platform gave it meanwhile holds on.
"""

from __future__ import annotations

import dataclasses
import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from service.errors import InvalidField, NotAllowed, TokenError, UnknownSession
from service.policy.effects import SESSION_BACKGROUND, Effect, Image, effect_type
from service.policy.rules import require_background
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
"""Sessions that were deleted, and effects that platforms set, each."""
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
        # The effects that platforms gave to sessions after they were opened, and when.
        self._set: OrderedDict[str, tuple[Effect, float]] = OrderedDict()

    def find_or_reopen(self, caller: Caller, session_id: str) -> Session:
        """The session; raises UnknownSession, Refused, TokenError, InvalidField or NotAllowed.
        Nothing is awaited in between, so two requests at once cannot open it twice."""
        try:
            return self._registry.get(session_id)
        except UnknownSession:
            if not isinstance(caller, Holder) or self.is_deleted(session_id):
                raise
        spec = self.rest(parse_spec(caller.grant.spec, self._tenants), caller.grant)
        return self._registry.create(self.as_set(spec, caller.grant), session_id=session_id)

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

    def set_by_platform(self, session_id: str, effect: Effect) -> None:
        """A platform gave the session this effect: it holds against tokens from before. A picture
        of the session's own ends with the session, and leaves the token's effect."""
        self._set.pop(session_id, None)
        if not isinstance(effect, Image) or effect.background != SESSION_BACKGROUND:
            self._set[session_id] = effect, self._now()
        if len(self._set) > MAX_REMEMBERED:
            self._set.popitem(last=False)

    def as_set(self, spec: SessionSpec, grant: Grant, *, chosen: bool = False) -> SessionSpec:
        """The session that a token opens, with the effect that a platform set after the token was
        issued, if any. `chosen`: the token's holder asks for an effect, which stays where the lock
        would let the holder change to it."""
        effect, set_at = self._set.get(grant.session_id, (spec.effect, 0.0))
        if grant.issued_at > set_at or (chosen and spec.lock.keeps(effect, spec.effect)):
            return spec
        try:
            # Of the session that was opened with another token this one may have been allowed.
            self._tenants.rules(spec.tenant).require(effect)
            require_background(effect, spec.backgrounds)
        except (InvalidField, NotAllowed):
            return spec
        allowed = effect_type(effect) in spec.allowed_effects
        return dataclasses.replace(spec, effect=effect) if allowed else spec

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
