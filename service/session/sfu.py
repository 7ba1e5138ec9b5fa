"""SPINE of a pull from, or a push to, another server: waiting -> connecting -> live -> retrying.

A session may have one of each (session.py): a `Line` that is connected by WHEP (pull) or WHIP
(push), with this service as the client, and connected again after a while when it is lost. What is
said over HTTP is the business of an `Exchange` (service/web/sfu.py), what is done with the media
that of the session; when and how often is decided here. A platform may name another address or
bearer meanwhile (`Line.replace`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from service.errors import BadOffer, NoMediaPort, UnsupportedOffer
from service.logs import about_session
from service.policy.deliveries import Retrying
from service.session.events import Kind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from service.setting_text import IceServer

logger = logging.getLogger(__name__)

LATE_ANSWER_S: Final = 2.0
"""For the answer to an offer whose session ends, so that what is made for it can be left."""


class Way(StrEnum):
    """Which way the media goes; the value is API, and a metric label."""

    PULL = "pull"
    PUSH = "push"


class LineState(Enum):
    WAITING = "waiting"
    "A push whose session has no live source yet."
    CONNECTING = "connecting"
    LIVE = "live"
    RETRYING = "retrying"
    FAILED = "failed"
    "For good: nothing more is tried."


class Cause(StrEnum):
    """Why a try failed, or what was live was lost; the values are API, and metric labels."""

    ADDRESS_REFUSED = "address_refused"
    "This server may not connect to that address."
    UNREACHABLE = "unreachable"
    "No connection, or no answer in time."
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    "Nothing is there, or nothing yet (404, 409, 410)."
    COUNTER_OFFER = "counter_offer"
    "The server wants to offer itself (406), which is not served."
    REJECTED = "rejected"
    "The offer, by another 4xx."
    REDIRECTED = "redirected"
    "Too often, to no address, or from https to http."
    SERVER_ERROR = "server_error"
    "5xx, or 429."
    BAD_ANSWER = "bad_answer"
    "What came is no usable answer to the offer."
    CONNECT_TIMEOUT = "connect_timeout"
    ICE_FAILED = "ice_failed"
    LEFT = "left"
    "The server closed the connection."
    SILENT = "silent"
    "Nothing came for a while."
    NO_MEDIA_PORT = "no_media_port"
    FAULT = "fault"
    "Of this service's own."


FINAL: Final = frozenset(
    {
        Cause.ADDRESS_REFUSED,
        Cause.UNAUTHORIZED,
        Cause.COUNTER_OFFER,
        Cause.REJECTED,
        Cause.REDIRECTED,
    }
)
"""Trying again would have the same answer, or guess at a credential."""
LINK_CAUSES: Final[Mapping[str, Cause]] = {
    "connect_timeout": Cause.CONNECT_TIMEOUT,
    "failed": Cause.ICE_FAILED,
    "left": Cause.LEFT,
    "silent": Cause.SILENT,
}
"""What Link.run says of an end that is nobody's wish here."""
LIVE_KINDS: Final = {Way.PULL: Kind.PULL_LIVE, Way.PUSH: Kind.PUSH_LIVE}
LOST_KINDS: Final = {Way.PULL: Kind.PULL_LOST, Way.PUSH: Kind.PUSH_LOST}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a platform says that media comes from, or goes to. Both are secrets."""

    url: str = field(repr=False)
    token: str = field(default="", repr=False)
    "The bearer; empty for none."


@dataclass(frozen=True, slots=True)
class Opened:
    """What an offer to another server led to."""

    answer: str
    resource: str = field(repr=False)
    "The URL to DELETE."


class NotOpened(Exception):
    """An offer to another server led to nothing."""

    def __init__(self, cause: Cause, *, retry_after_s: int = 0) -> None:
        """`retry_after_s`: so long the server asked to be left alone."""
        super().__init__(cause.value)
        self.cause = cause
        self.retry_after_s = retry_after_s


class Exchanges(Protocol):
    """WHIP and WHEP over HTTP, as a client."""

    async def ice_servers(self, endpoint: Endpoint) -> Sequence[IceServer]:
        """STUN and TURN servers that it names and that may be asked; raises nothing but a
        cancellation."""
        ...

    async def open(self, endpoint: Endpoint, offer: str) -> Opened:
        """Raises NotOpened."""
        ...

    async def leave(self, endpoint: Endpoint, resource: str) -> None:
        """DELETE what was opened, in bounded time; raises nothing but a cancellation."""
        ...


class Offering(Protocol):
    """A peer or a viewer that makes the offer itself."""

    async def offer(self, servers: Sequence[IceServer]) -> str: ...
    async def accept(self, answer: str) -> None: ...
    async def abandon(self) -> None: ...


class Exchange:
    """One offer of ours to another server."""

    def __init__(self, exchanges: Exchanges, endpoint: Endpoint) -> None:
        self.resource: str | None = None
        "What the server made for it."
        self._exchanges = exchanges
        self._endpoint = endpoint

    async def connect(self, one: Offering) -> None:
        """Its offer, and the server's answer to it. Raises NotOpened, NoMediaPort, BadOffer or
        UnsupportedOffer; then nothing is left of it here."""
        try:
            offer = await one.offer(await self._exchanges.ice_servers(self._endpoint))
            await one.accept(await self.answer(offer))
        except BaseException:
            await one.abandon()
            raise

    async def answer(self, offer: str) -> str:
        """The server's answer; raises NotOpened."""
        opening = asyncio.ensure_future(self._exchanges.open(self._endpoint, offer))
        try:
            opened = await asyncio.shield(opening)
        except asyncio.CancelledError:
            # The server may be making something at this moment, and would keep it.
            self.resource = await _late(opening)
            raise
        self.resource = opened.resource
        return opened.answer


async def _late(opening: asyncio.Future[Opened]) -> str | None:
    """What came of an offer that nobody wants answered any more; None: nothing that is known."""
    try:
        await asyncio.wait({opening}, timeout=LATE_ANSWER_S)
    finally:
        opening.cancel()
    # A server that answers just now is left by whoever asked it.
    await asyncio.wait({opening})
    failed = opening.cancelled() or opening.exception() is not None
    return None if failed else opening.result().resource


class LineCounters(Protocol):
    """Where tries and losses are counted; every word is one of a bounded set."""

    def sfu_attempt(self, way: str, outcome: str) -> None: ...
    def sfu_lost(self, way: str, cause: str) -> None: ...


@dataclass(frozen=True, slots=True)
class SfuSettings:
    """What every pull and push of this process shares."""

    silence_s: float = 10.0
    "So long nothing must have come for the server to be gone."
    retrying: Retrying = field(default_factory=lambda: Retrying(1.0, 15.0, 300.0))
    "Given up is what has not been live for so long."


class Line:
    """One pull or push of a session, for as long as the session lives."""

    def __init__(
        self,
        way: Way,
        endpoint: Endpoint,
        *,
        session_id: str,
        exchanges: Exchanges,
        settings: SfuSettings,
        counters: LineCounters,
        connect: Callable[[Exchange], Awaitable[str]],
        hang_up: Callable[[], None],
        ready: Callable[[], Awaitable[object]] | None,
        tell: Callable[..., None],
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`connect` makes one connection by the exchange that it is given, calls `is_live` when
        media can flow, and returns the cause of the connection's end as Link.run does; `hang_up`
        ends it, if it has come so far that it is one. `ready` waits until there is something to
        connect for; None: there always is. `tell(kind, **details)` publishes an event."""
        self.state = LineState.CONNECTING if ready is None else LineState.WAITING
        self.attempts = 0
        self.cause: Cause | None = None
        "Of the last failure; None: there was none yet."
        self._way = way
        self._endpoint = self._tried = endpoint
        self._replaced = asyncio.Event()
        "Since the present try began, or the last one did."
        self._short = about_session(session_id)
        self._exchanges = exchanges
        self._retrying = settings.retrying
        self._counters = counters
        self._connect = connect
        self._hang_up = hang_up
        self._ready = ready
        self._tell = tell
        self._clock = clock
        self._chance = chance
        self._changed_at = time.time()
        self._failures = 0
        "In a row."
        self._live_at_s: float | None = None
        "When the present connection became live."
        self._down_since_s = clock()
        self._told_lost = False

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it, unless its endpoint is replaced."""
        return self.state is LineState.FAILED

    @property
    def endpoint(self) -> Endpoint:
        """Where the next try goes to."""
        return self._endpoint

    async def run(self) -> None:
        """Until it fails for good, or is cancelled; what was open is left (DELETE) then."""
        try:
            await self._try_on()
        except Exception:
            # Or its session would wait for it until its time is up.
            self._become(LineState.FAILED)
            raise

    async def _try_on(self) -> None:
        while True:
            await self._until_ready()
            self._become(LineState.CONNECTING)
            self.attempts += 1
            self._tried = self._endpoint
            self._replaced.clear()
            failed = await self._attempt()
            if self._moved:  # as was asked for: nothing failed
                self._live_at_s, self._down_since_s = None, self._clock()
                continue
            wait_s = self._failed(failed)
            if wait_s is None:
                return
            await self._pause(wait_s)

    def replace(self, endpoint: Endpoint) -> None:
        """From the next try on it is this one, and where nothing is live that is now, also where
        nothing was tried any more. Another bearer leaves alone what is live, another address ends
        it."""
        self._endpoint = endpoint
        self._replaced.set()
        if self._live_at_s is None:
            self._failures, self._down_since_s = 0, self._clock()
        if self.over:
            self._told_lost = False
            waits = self._ready is not None
            self._become(LineState.WAITING if waits else LineState.CONNECTING)
        if self._moved:
            self._hang_up()

    async def replaced(self) -> None:
        """Of one that failed for good: until its endpoint is replaced."""
        await self._replaced.wait()

    @property
    def _moved(self) -> bool:
        """Whether the present try, or the last one, is with another address than is wanted."""
        return self._tried.url != self._endpoint.url

    async def _pause(self, wait_s: float) -> None:
        """So long, or until the endpoint is replaced."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._replaced.wait()

    def is_live(self) -> None:
        """Media can flow."""
        if self._live_at_s is not None:
            return
        if self._moved:
            self._hang_up()
            return
        self._live_at_s = self._clock()
        self._told_lost = False
        self._counters.sfu_attempt(self._way, "live")
        self._become(LineState.LIVE)
        self._tell(LIVE_KINDS[self._way])

    def describe(self) -> dict[str, object]:
        """JSON, as docs/api.md lists it: neither the address nor the token, which are secrets."""
        return {
            "state": self.state.value,
            "attempts": self.attempts,
            "last_cause": None if self.cause is None else self.cause.value,
            "changed_at": round(self._changed_at, 3),
        }

    async def _until_ready(self) -> None:
        if self._ready is None:
            return
        self._become(LineState.WAITING)
        waited_from_s = self._clock()
        await self._ready()
        # Nothing was tried meanwhile, so nothing counts against it.
        self._down_since_s += self._clock() - waited_from_s

    async def _attempt(self) -> NotOpened:
        """One connection from its beginning to its end."""
        exchange = Exchange(self._exchanges, self._tried)
        try:
            return NotOpened(LINK_CAUSES.get(await self._connect(exchange), Cause.FAULT))
        except NotOpened as failed:
            return failed
        except (BadOffer, UnsupportedOffer):
            return NotOpened(Cause.BAD_ANSWER)
        except NoMediaPort:
            return NotOpened(Cause.NO_MEDIA_PORT)
        except Exception:
            logger.exception("session %s: a fault in its %s", self._short, self._way)
            return NotOpened(Cause.FAULT)
        finally:
            if exchange.resource is not None:
                # The bearer that it was made with may be good no more.
                endpoint = self._tried if self._moved else self._endpoint
                await self._exchanges.leave(endpoint, exchange.resource)

    def _failed(self, failed: NotOpened) -> float | None:
        """What a failure leads to: the wait until the next try; None: there is none."""
        now_s, cause = self._clock(), failed.cause
        self.cause = cause
        if self._live_at_s is None:
            self._counters.sfu_attempt(self._way, cause)
        else:
            self._counters.sfu_lost(self._way, cause)
            # One that breaks again and again is not tried again and again at once.
            if now_s - self._live_at_s >= self._retrying.longest_s:
                self._failures = 0
            self._live_at_s, self._down_since_s = None, now_s
        self._failures += 1
        # Of what was replaced meanwhile a refusal says nothing about what is there now.
        final = cause in FINAL and not self._replaced.is_set()
        given_up = final or now_s - self._down_since_s >= self._retrying.give_up_s
        logger.info(
            "session %s: %s %s: %s", self._short, self._way, "failed" if given_up else "lost", cause
        )
        self._become(LineState.FAILED if given_up else LineState.RETRYING)
        if given_up or not self._told_lost:
            self._told_lost = True
            self._tell(LOST_KINDS[self._way], cause=cause.value, retrying=not given_up)
        if given_up:
            return None
        wait_s = self._retrying.wait_s(self._failures, self._chance())
        return max(wait_s, float(failed.retry_after_s))

    def _become(self, state: LineState) -> None:
        if state is not self.state:
            self.state = state
            self._changed_at = time.time()
