"""Control by data channel: what REST does for one session, as JSON messages beside its media.

A message is one JSON object. A peer asks with a `type` and an `id`; the answer has the id as `re`,
and is `answer` or `problem`, with the same problem objects as over HTTP. Unasked come only what was
asked for before: `event` (the session's events) and `figures` (its JSON, at a chosen period). Who
posted the offer is who talks here, with the same rights. docs/api.md lists the messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from service import errors
from service.rtc.channel import Channel, Dropped
from service.session.events import Closing
from service.web.bodies import parse_object
from service.web.preconditions import LIST, MAX_CHARS, TAG
from service.web.problems import (
    INTERNAL,
    TOO_MANY_MESSAGES,
    UNKNOWN_TRACK,
    Problem,
    from_error,
    problem_json,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.session.events import Event, Listener
    from service.session.session import Session
    from service.web.sessions import Sessions

logger = logging.getLogger(__name__)

MAX_ID_CHARS: Final = 64
LEAST_PERIOD_MS: Final = 250
LARGEST_PERIOD_MS: Final = 60_000
LARGEST_EVENT_ID: Final = 10**16 - 1
MISSED: Final = {"type": "events.missed"}

ServerFigures = Callable[[], Awaitable[dict[str, object]]]


class Control:
    """Talks over the data channels of peers."""

    def __init__(self, *, sessions: Sessions, server_figures: ServerFigures) -> None:
        """``server_figures``: what GET /v1/server answers."""
        self._sessions = sessions
        self._server_figures = server_figures

    async def serve(self, session: Session, channel: Channel, *, bound: bool) -> None:
        """Until the channel is closed. ``bound``: the session's lock holds whoever is there."""
        async with asyncio.TaskGroup() as group:
            talk = _Talk(self._sessions, self._server_figures, session, channel, bound, group)
            try:
                while (message := await channel.receive()) is not None:
                    await talk.take(message)
            finally:
                talk.stop()


class _Talk:
    """One channel's: what it asked for."""

    def __init__(
        self,
        sessions: Sessions,
        server_figures: ServerFigures,
        session: Session,
        channel: Channel,
        bound: bool,
        group: asyncio.TaskGroup,
    ) -> None:
        self._sessions = sessions
        self._server_figures = server_figures
        self._session = session
        self._channel = channel
        self._bound = bound
        self._group = group
        self._figures: asyncio.Task[None] | None = None
        self._events: asyncio.Task[None] | None = None
        self._asks: Mapping[str, Callable[[dict[str, object]], Awaitable[dict[str, object]]]] = {
            "effect.set": self._set_effect,
            "session.get": self._get_session,
            "session.leave": self._leave,
            "token.get": self._get_token,
            "figures.watch": self._watch_figures,
            "events.watch": self._watch_events,
            "ping": self._ping,
        }

    def stop(self) -> None:
        """Nothing more is sent unasked."""
        for task in (self._figures, self._events):
            if task is not None:
                task.cancel()

    async def take(self, message: str | Dropped) -> None:
        """Answer one message; whatever is wrong with it is the answer."""
        if isinstance(message, Dropped):
            self._send(_told(None, Problem(TOO_MANY_MESSAGES, "messages were dropped: wait")))
            return
        re_: str | int | None = None
        try:
            fields = parse_object(message.encode(errors="replace"))
            re_ = _id_of(fields)
            answer = await self._asked(fields)(fields)
        except Problem as problem:
            self._send(_told(re_, problem))
        except errors.BackclothError as error:
            self._send(_told(re_, from_error(error) or self._internal(error)))
        except Exception as error:  # as over HTTP: it costs the caller an answer, nobody else
            self._send(_told(re_, self._internal(error)))
        else:
            self._send({"re": re_, "type": "answer", **answer})

    def _asked(
        self, fields: dict[str, object]
    ) -> Callable[[dict[str, object]], Awaitable[dict[str, object]]]:
        kind = fields.get("type")
        if not isinstance(kind, str) or kind not in self._asks:
            raise errors.InvalidField("type", f"must be one of {', '.join(self._asks)}")
        return self._asks[kind]

    def _internal(self, error: Exception) -> Problem:
        logger.error("a message of a data channel failed", exc_info=error)
        return Problem(INTERNAL, "the fault is in the service's log")

    def _send(self, message: Mapping[str, object]) -> None:
        self._channel.send(json.dumps(message))

    # What may be asked.

    async def _set_effect(self, fields: dict[str, object]) -> dict[str, object]:
        _only(fields, "effect", "mid", "if_match")
        mid = fields.get("mid")
        if mid is not None and not isinstance(mid, str):
            raise errors.InvalidField("mid", "must be a string")
        try:
            await self._sessions.change(
                self._session, fields, _expected(fields), bound=self._bound, mid=mid
            )
        except errors.InvalidField as error:
            if error.field == "mid":
                raise Problem(UNKNOWN_TRACK, "the session has no video track of this mid") from None
            raise
        return {"session": self._sessions.described(self._session)}

    async def _get_session(self, fields: dict[str, object]) -> dict[str, object]:
        _only(fields)
        return {"session": self._sessions.described(self._session)}

    async def _get_token(self, fields: dict[str, object]) -> dict[str, object]:
        _only(fields)
        return {
            "token": self._sessions.token(self._session),
            "expires_at": round(self._session.expires_at, 3),
        }

    async def _leave(self, fields: dict[str, object]) -> dict[str, object]:
        """The client has its session on another server now: here it ends, and its token stays
        good. The answer goes out before the peer does."""
        _only(fields)
        asyncio.get_running_loop().call_soon(self._session.end, "moved")
        return {}

    async def _ping(self, fields: dict[str, object]) -> dict[str, object]:
        _only(fields)
        return {}

    async def _watch_figures(self, fields: dict[str, object]) -> dict[str, object]:
        _only(fields, "every_ms")
        every_ms = fields.get("every_ms")
        allowed = isinstance(every_ms, int) and not isinstance(every_ms, bool)
        if not allowed or (every_ms != 0 and not _in_period(every_ms)):
            raise errors.InvalidField(
                "every_ms", f"must be 0 or {LEAST_PERIOD_MS} to {LARGEST_PERIOD_MS} ms"
            )
        assert isinstance(every_ms, int)
        if self._figures is not None:
            self._figures.cancel()
            self._figures = None
        if every_ms:
            self._figures = self._group.create_task(self._tell_figures(every_ms / 1e3))
        return {}

    async def _watch_events(self, fields: dict[str, object]) -> dict[str, object]:
        _only(fields, "after")
        after = fields.get("after")
        if after is not None and (
            not isinstance(after, int)
            or isinstance(after, bool)
            or not 0 <= after <= LARGEST_EVENT_ID
        ):
            raise errors.InvalidField("after", "must be the id of an event, or 0 for all kept")
        if self._events is None:
            listener = self._session.events.listen(after)
            self._events = self._group.create_task(self._tell_events(listener))
        return {}

    # What comes unasked.

    async def _tell_figures(self, period_s: float) -> None:
        while self._channel.open:
            self._send(
                {
                    "type": "figures",
                    "session": self._sessions.described(self._session),
                    "server": await self._server_figures(),
                }
            )
            await asyncio.sleep(period_s)

    async def _tell_events(self, listener: Listener) -> None:
        with contextlib.closing(_Leaving(self._session, listener)):
            if listener.missed:
                self._send({"type": "event", "event": MISSED})
            while self._channel.open:
                told: Event | Closing = await listener.next()
                if isinstance(told, Closing):
                    if told is Closing.TOO_SLOW:
                        self._send({"type": "event", "event": MISSED})
                    return
                self._send({"type": "event", "event": told.as_json()})


class _Leaving:
    """Gives a listener's place back."""

    def __init__(self, session: Session, listener: Listener) -> None:
        self._session, self._listener = session, listener

    def close(self) -> None:
        self._session.events.leave(self._listener)


def _told(re_: str | int | None, problem: Problem) -> dict[str, object]:
    about = {} if re_ is None else {"re": re_}
    return {**about, "type": "problem", "problem": problem_json(problem)}


def _id_of(fields: Mapping[str, object]) -> str | int:
    given = fields.get("id")
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise errors.InvalidField("id", "must be a string or a whole number")
    if len(str(given)) > MAX_ID_CHARS:
        raise errors.InvalidField("id", f"may have {MAX_ID_CHARS} characters")
    return given


def _only(fields: Mapping[str, object], *names: str) -> None:
    """Raises InvalidField for a field that this message has not."""
    for name in fields:
        if name not in ("id", "type", *names):
            known = ", ".join(names) or "none beside id and type"
            raise errors.InvalidField(name[:64], f"is no field of this message, whose are: {known}")


def _in_period(every_ms: object) -> bool:
    return isinstance(every_ms, int) and LEAST_PERIOD_MS <= every_ms <= LARGEST_PERIOD_MS


def _expected(fields: Mapping[str, object]) -> frozenset[str] | None:
    """As the header If-Match (preconditions.py)."""
    given = fields.get("if_match", "*")
    if not isinstance(given, str) or len(given) > MAX_CHARS:
        raise errors.InvalidField("if_match", f"must be a string of {MAX_CHARS} characters at most")
    if given.strip() == "*":
        return None
    if LIST.fullmatch(given) is None:
        raise errors.InvalidField("if_match", "must be * or a list of entity tags")
    return frozenset(f'"{tag}"' for weak, tag in re.findall(TAG, given) if not weak)
