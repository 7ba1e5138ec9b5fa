"""A new session that this server has no room for, handed to another one of the fleet that has.

A front that knows nothing of sessions sends a new one to a full server while others are empty. A
handler whose admission refused comes here with the body that it has read: the others are asked how
much room they have, once a second at most however many are refused, and the request goes as it is
to the one with the most, or to the next. It goes one hop: who gets it decides alone. Where nobody
takes it the refusal stands.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import web

from service.web.peers import Unanswered
from service.web.problems import FORBIDDEN, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.errors import Refused
    from service.policy.fleet import Member
    from service.session.registry import Registry
    from service.web.peers import Peers

logger = logging.getLogger(__name__)

ROOM: Final = "/v1/fleet/room"
"""One member asks another how much room it has."""
MOST_ASKED: Final = 16
"""Of a larger fleet so many are asked, drawn by chance: the emptiest of 16 is empty enough."""
MOST_TRIED: Final = 2
FRESH_S: Final = 1.0
"""So long an answer is good for; what was sent there meanwhile is taken off."""
ROOM_TIMEOUT_S: Final = 0.5
TRY_TIMEOUT_S: Final = 4.0
"""An offer's answer has every candidate in it, which a TURN server may be asked for."""


class PassedOnCounters(Protocol):
    """Where it is counted what became of sessions that did not fit."""

    def admission(self, decision: str, reason: str) -> None: ...
    def fleet_passed_on(self, outcome: str) -> None: ...


class Overflow:
    """Hands on what this server refuses. Without `peers` every refusal stands."""

    def __init__(
        self,
        *,
        registry: Registry,
        counters: PassedOnCounters,
        peers: Peers | None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`now_s` is of a clock that is never set."""
        self._registry = registry
        self._counters = counters
        self._peers = peers
        self._now_s = now_s
        self._turn = asyncio.Lock()
        self._asked_s = float("-inf")
        self._free: list[tuple[Member, float]] = []
        "Cores that each of those asked had free."

    async def room(self, request: web.Request) -> web.Response:
        """GET of ROOM, of members alone."""
        if self._peers is None or not self._peers.came_from_peer(request):
            raise Problem(FORBIDDEN, "members of the fleet ask each other this, and nobody else")
        return web.json_response({"free_cores": round(self._registry.free_cores, 4)})

    async def elsewhere(self, request: web.Request, body: bytes, refusal: Refused) -> web.Response:
        """The answer of the member that opened what was refused here; raises the refusal where
        there is none. `body` is the request's, which was read already."""
        # A refusal of something else than a new session, and one that came by a hop, go nowhere.
        if self._peers is None or refusal.cores is None or self._peers.came_from_peer(request):
            raise refusal
        answer = await self._passed_on(self._peers, request, body, refusal.cores)
        decision = "rejected" if answer is None else "passed_on"
        self._counters.admission(decision, refusal.reason)
        if answer is None:
            raise refusal
        logger.debug("a session that does not fit here was opened by another server")
        return answer

    async def _passed_on(
        self, peers: Peers, request: web.Request, body: bytes, cores: float
    ) -> web.Response | None:
        tried: set[Member] = set()
        for _ in range(MOST_TRIED):
            member = await self._emptiest(peers, cores, tried)
            if member is None:
                break
            tried.add(member)
            self._take(member, cores)
            try:
                answer = await peers.send(member, request, body, timeout_s=TRY_TIMEOUT_S)
            except Unanswered:
                continue
            if answer.status in (200, 201):
                self._counters.fleet_passed_on("opened")
                return answer
        self._counters.fleet_passed_on("not_taken" if tried else "no_room")
        return None

    async def _emptiest(self, peers: Peers, cores: float, tried: set[Member]) -> Member | None:
        """Of those that have room for it."""
        async with self._turn:
            if self._now_s() - self._asked_s >= FRESH_S:
                self._free = await _ask(peers)
                self._asked_s = self._now_s()
            fitting = [
                (free, member)
                for member, free in self._free
                if free + 1e-9 >= cores and member not in tried
            ]
        return max(fitting, key=lambda one: one[0])[1] if fitting else None

    def _take(self, member: Member, cores: float) -> None:
        self._free = [(one, free - cores if one == member else free) for one, free in self._free]


async def _ask(peers: Peers) -> list[tuple[Member, float]]:
    """What members have free, of those that answer; in an order of chance, so that servers which
    are full at one time do not all choose the same of several that are alike."""
    others = await peers.others()
    chosen = random.sample(others, min(MOST_ASKED, len(others)))

    async def free(member: Member) -> float | None:
        try:
            answer = await peers.ask(member, "GET", ROOM, timeout_s=ROOM_TIMEOUT_S)
            return float(answer.body["free_cores"])
        except (Unanswered, KeyError, TypeError, ValueError):
            return None

    answers = await asyncio.gather(*(free(member) for member in chosen))
    return [
        (member, found) for member, found in zip(chosen, answers, strict=True) if found is not None
    ]
