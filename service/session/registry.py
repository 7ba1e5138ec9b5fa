"""All sessions of this process: id -> Session. Admits, finds, ends, moves and drains them.

web/ calls it, and `run` is a task of the application: it owns the task of every session.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
import time
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from service.errors import Refused, UnknownSession
from service.logs import about_session
from service.policy.admission import Rejected
from service.policy.cost import Demand
from service.session.events import Feed, Kind
from service.session.session import Far, Session, State
from service.session.traces import UNTRACED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from service.frame.look import Look
    from service.frame.pipeline import Pipeline
    from service.policy.admission import Admission
    from service.session.scene import Models, Pictures, Scene
    from service.session.session import PeerCounters
    from service.session.sfu import Endpoint, Exchanges
    from service.session.spec import SessionSettings, SessionSpec
    from service.session.traces import Traces
    from service.workers import Workers


logger = logging.getLogger(__name__)

DRAIN_TIMEOUT_S = 10.0
"""The end of all that is left may take so long."""
LEFT_INTERVAL_S = 0.25
"""How often a server that waits for its clients to move looks who has left."""
SESSION_ID_BYTES = 16


class SessionCounters(Protocol):
    """Where sessions are counted."""

    def session_ended(self, outcome: str, duration_s: float) -> None: ...
    def admission(self, decision: str, reason: str) -> None: ...


class Registry:
    """The sessions of this process."""

    def __init__(
        self,
        *,
        settings: SessionSettings,
        admission: Admission,
        pictures: Pictures,
        models: Models,
        make_pipeline: Callable[[Look, SessionSpec], Pipeline],
        workers: Workers,
        peer_counters: PeerCounters,
        counters: SessionCounters,
        feed: Feed | None = None,
        id_suffix: str = "",
        traces: Traces = UNTRACED,
        move_to: str = "",
        refusals_are_final: bool = True,
        exchanges: Exchanges | None = None,
    ) -> None:
        """`id_suffix` is what ids that are made here end in; `move_to` the address that clients are
        sent to when this server stops, "": the same. `refusals_are_final`: nobody else is asked for
        a session that is refused here; else who asks counts what becomes of it. `exchanges` speaks
        to other servers, for sessions that are pulled or pushed."""
        self.draining = False
        self.move_to = move_to
        self.feed = feed or Feed()
        "What happens in all sessions."
        self._settings = settings
        self._admission = admission
        self._pictures = pictures
        self._models = models
        self._make_pipeline = make_pipeline
        self._workers = workers
        self._peer_counters = peer_counters
        self._counters = counters
        self._exchanges = exchanges
        self._id_suffix = id_suffix
        self._traces = traces
        self._refusals_are_final = refusals_are_final
        self._serials = itertools.count()
        self._sessions: dict[str, Session] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._viewers_spent_s = 0.0
        "CPU seconds of the viewers of sessions that have ended."
        self._places: dict[str, int] = {}
        "What each session holds of the CPU budget."

    def create(
        self,
        spec: SessionSpec,
        *,
        session_id: str | None = None,
        pull: Endpoint | None = None,
        push: Endpoint | None = None,
    ) -> Session:
        """A new session, admitted and reserved at once, with the encoding of its push. Raises
        Refused. `session_id`: of a session that was opened before, somewhere, and is opened again;
        `pull`, `push`: other servers, of one that this server keeps to itself."""
        demand = Demand(spec.max_width * spec.max_height, spec.max_fps)
        decision = self._admission.reserve(demand, time.monotonic())
        if isinstance(decision, Rejected):
            reason, wait_s = decision.reason.value, decision.retry_after_s
            raise self._refused(reason, wait_s, demand, pushed=push is not None)
        seats = _Seats(self._admission, demand)
        try:
            seat = None if push is None else seats.take()
        except Refused as refused:
            self._admission.release(decision.place)
            raise self._refused(
                refused.reason, refused.retry_after_s, demand, pushed=True
            ) from None
        self._counters.admission("admitted", "")
        name = session_id or secrets.token_urlsafe(SESSION_ID_BYTES) + self._id_suffix
        session = Session(
            name,
            spec,
            seats=seats,
            serial=next(self._serials),
            events=self.feed.session(name, spec.metadata),
            settings=self._settings,
            pictures=self._pictures,
            models=self._models,
            make_pipeline=self._make_pipeline,
            workers=self._workers,
            counters=self._peer_counters,
            traces=self._traces,
            reopened=session_id is not None,
            far=None if self._exchanges is None else Far(self._exchanges, pull, push),
        )
        self._traces.opened(session.id)
        self._sessions[session.id] = session
        self._tasks[session.id] = asyncio.create_task(self._live(session, decision.place, seat))
        self._places[session.id] = decision.place
        session.events.publish(
            Kind.CREATED,
            expires_at=round(session.expires_at, 3),
            reopened=session.reopened,
        )
        return session

    def _refused(
        self, reason: str, retry_after_s: int, demand: Demand, *, pushed: bool = False
    ) -> Refused:
        """Counts it, if nobody else is asked."""
        if self._refusals_are_final:
            self._counters.admission("rejected", reason)
        elsewhere = self.move_to if self.draining else ""
        cores = self._admission.expected_cores(demand, encoded_again=pushed)
        return Refused(reason, retry_after_s, elsewhere, cores=cores)

    @property
    def free_cores(self) -> float:
        """What new sessions may still reserve."""
        return self._admission.free_cores

    def get(self, session_id: str) -> Session:
        """Raises UnknownSession."""
        try:
            return self._sessions[session_id]
        except KeyError:
            raise UnknownSession from None

    def sessions(self) -> list[Session]:
        """All of them, in the order in which they were opened."""
        return list(self._sessions.values())

    def scenes(self) -> list[Scene]:
        """What each of them shows."""
        return [session.scene for session in self._sessions.values()]

    def placed(self) -> list[tuple[int, Session]]:
        """All sessions, each with the place that it holds in the admission."""
        return [(self._places[session_id], one) for session_id, one in self._sessions.items()]

    def states(self) -> Mapping[str, int]:
        """How many sessions are in each state that a living session can have. From any thread."""
        counted = Counter(session.state for session in list(self._sessions.values()))
        return {state.value: counted[state] for state in State if state is not State.ENDED}

    def lines(self) -> Mapping[tuple[str, str], int]:
        """How many pulls and pushes there are, by way and state. From any thread."""
        return Counter(line for one in list(self._sessions.values()) for line in one.line_states())

    @property
    def viewers(self) -> int:
        """How many watch a session. From any thread."""
        return sum(len(session.audience) for session in list(self._sessions.values()))

    @property
    def viewers_cpu_s(self) -> float:
        """CPU seconds that encoding for viewers has used so far."""
        present = sum(session.audience.cpu_seconds for session in self._sessions.values())
        return self._viewers_spent_s + present

    async def end(self, session_id: str, cause: str = "deleted") -> None:
        """End a session and wait until nothing of it is left. Raises UnknownSession."""
        session = self.get(session_id)
        task = self._tasks[session_id]
        session.end(cause)
        await asyncio.wait({task})

    async def let_move(self, limit_s: float, hurry: asyncio.Event) -> None:
        """Refuse new sessions, tell the clients of the others to move, and wait until they have:
        `limit_s` at most, or until `hurry`. A session that nobody is at ends at once: its token
        opens it elsewhere, and no picture is lost by that."""
        self._refuse()
        for session in self.sessions():
            if session.attended:
                session.events.publish(Kind.MOVE, to=self.move_to or None, within_s=limit_s)
        hurried = asyncio.create_task(hurry.wait())
        try:
            async with asyncio.timeout(limit_s):
                while self._tasks and not hurried.done():
                    for session in self.sessions():
                        if not session.attended:
                            session.end("drained")
                    await asyncio.wait(
                        {hurried, *self._tasks.values()},
                        timeout=LEFT_INTERVAL_S,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
        except TimeoutError:
            logger.info("%d sessions did not move in time", len(self._tasks))
        finally:
            hurried.cancel()

    def _refuse(self) -> None:
        self.draining = True
        self._admission.drain()

    async def drain(self) -> None:
        """Refuse new sessions, end all, wait for a bounded time."""
        self._refuse()
        tasks = set(self._tasks.values())
        for session in self.sessions():
            session.end("drained")
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=DRAIN_TIMEOUT_S)
        for task in late:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*late, return_exceptions=True)

    async def _live(self, session: Session, place: int, seat: int | None) -> None:
        short = about_session(session.id)
        try:
            cause = await session.run()
            logger.info("session %s: ended: %s", short, cause)
        finally:
            self._viewers_spent_s += session.audience.cpu_seconds
            self._sessions.pop(session.id, None)
            self._tasks.pop(session.id, None)
            self._places.pop(session.id, None)
            self._admission.release(place)
            if seat is not None:
                self._admission.release(seat)
            self._counters.session_ended(session.cause or "fault", time.time() - session.created_at)


class _Seats:
    """Reserves CPU for the viewers of one session: by its limits, for they may be reached."""

    def __init__(self, admission: Admission, demand: Demand) -> None:
        self._admission = admission
        self._demand = demand

    def take(self) -> int:
        decision = self._admission.reserve_viewer(self._demand, time.monotonic())
        if isinstance(decision, Rejected):
            raise Refused(decision.reason.value, decision.retry_after_s, whom="viewer")
        return decision.place

    def give_back(self, seat: int) -> None:
        self._admission.release(seat)
