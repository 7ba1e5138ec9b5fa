"""Those who watch a session: viewers come, are shown what the cameras' tracks send, and leave.

session.py owns one and hands it to its peers, one after the other: viewers stay while the camera's
page is reloaded. It bounds them, has each admitted before its offer is looked at, and hands on
without waiting, so that a viewer that is slow or dies costs the session and the others nothing.

One viewer more may be another server that the session is pushed to (sfu.py): the offer is made here
then, and its seat is the session's from beginning to end.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from service.errors import Refused, StaleETag, UnknownPeer, UnknownSession
from service.logs import about_session
from service.rtc.link import PeerState
from service.rtc.offer import Use
from service.rtc.viewer import Counters, Viewer
from service.session.traces import UNTRACED, SetUp

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.rtc.link import PeerSettings
    from service.rtc.packet import IncomingPacket
    from service.rtc.showing import AnyShown
    from service.session.sfu import Exchange
    from service.session.traces import Traces
    from service.workers import Workers


logger = logging.getLogger(__name__)

MAX_VIEWERS: Final = 8
"""Of one session. A platform's SFU, a recorder and a monitor are three; each costs an encoder, so a
crowd is for the SFU to serve, which packets cost and no pictures."""
RETRY_S: Final = 5
"""When a viewer that leaves makes room cannot be foreseen."""
VIEWER_ID_BYTES: Final = 12


class AudienceCounters(Counters, Protocol):
    """Everything that viewers count."""

    def viewer_refused(self, reason: str) -> None: ...


class Seats(Protocol):
    """Where there is CPU for a viewer's encoding."""

    def take(self) -> int:
        """Reserves one and names it. Raises Refused."""
        ...

    def give_back(self, seat: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Seated:
    """What a viewer's offer led to."""

    sdp: str
    viewer_id: str
    etag: str
    "A quoted entity tag of the ICE session."


@dataclass(slots=True)
class _Watching:
    viewer: Viewer
    etag: str
    set_up: SetUp
    task: asyncio.Task[None] | None = None


class Audience:
    """The viewers of one session."""

    def __init__(
        self,
        session_id: str,
        *,
        settings: PeerSettings,
        audio: bool,
        workers: Workers,
        counters: AudienceCounters,
        seats: Seats,
        traces: Traces = UNTRACED,
    ) -> None:
        self._session_id = session_id
        self._short = about_session(session_id)
        self._settings = settings
        self._audio = audio
        self._workers = workers
        self._counters = counters
        self._seats = seats
        self._traces = traces
        self._watching: dict[str, _Watching] = {}
        self._pushed: Viewer | None = None
        "The server that the session is pushed to."
        self._coming = 0
        "Offers that are being answered."
        self._spent_s = 0.0
        "CPU seconds of those who have left."
        self._over = False

    def __len__(self) -> int:
        return len(self._watching)

    @property
    def cpu_seconds(self) -> float:
        """That its viewers' encoding has used, of those who left too."""
        return self._spent_s + sum(viewer.cpu_seconds for viewer in self._viewers)

    @property
    def _viewers(self) -> list[Viewer]:
        pushed = [] if self._pushed is None else [self._pushed]
        return [*(one.viewer for one in self._watching.values()), *pushed]

    # What tracks and peers call (rtc/showing.py).

    @property
    def watched(self) -> bool:
        """Whether anybody would see a picture. From any thread."""
        return bool(self._watching) or self._pushed is not None

    def show(self, shown: AnyShown) -> None:
        """A picture, to everybody."""
        for viewer in self._viewers:
            viewer.show(shown)

    def hear(self, packet: IncomingPacket, mime_type: str) -> None:
        """A packet of sound, to everybody."""
        for viewer in self._viewers:
            viewer.hear(packet, mime_type)

    # What viewers ask for.

    async def offer(self, sdp: str) -> Seated:
        """Answer a viewer's offer. Raises Refused, BadOffer or UnsupportedOffer, and UnknownSession
        where the session ended meanwhile."""
        seat = self._take_seat()
        self._coming += 1
        try:
            viewer = Viewer(
                settings=self._settings,
                audio=self._audio,
                workers=self._workers,
                counters=self._counters,
            )
            try:
                answer = await viewer.answer(sdp)
                if self._over:
                    raise UnknownSession
            except BaseException:
                await viewer.abandon()
                raise
        except BaseException:
            self._seats.give_back(seat)
            raise
        finally:
            self._coming -= 1
        # From here on the audience has the viewer; nothing is awaited in between.
        seated = Seated(answer, secrets.token_urlsafe(VIEWER_ID_BYTES), f'"{secrets.token_hex(8)}"')
        set_up = self._traces.answered(self._session_id)
        viewer.on_step = set_up.reached
        watching = self._watching[seated.viewer_id] = _Watching(viewer, seated.etag, set_up)
        watching.task = asyncio.create_task(self._run(seated.viewer_id, watching, seat))
        return seated

    def has(self, viewer_id: str) -> bool:
        """Whether this viewer is here."""
        return viewer_id in self._watching

    async def trickle(self, viewer_id: str, fragment: str, if_match: str) -> None:
        """Candidates; raises UnknownPeer, StaleETag, or what Viewer raises."""
        watching = self._present(viewer_id)
        # `*` is for a restart, which the viewer tells by its ufrag.
        if not {tag.strip() for tag in if_match.split(",")} & {watching.etag, "*", '"*"'}:
            raise StaleETag
        await watching.viewer.trickle(fragment)

    async def leave(self, viewer_id: str) -> None:
        """End one viewer, and wait until nothing of it is left. Raises UnknownPeer."""
        watching = self._present(viewer_id)
        watching.viewer.close("hung_up")
        if watching.task is not None:
            await asyncio.wait({watching.task})

    async def push(
        self,
        exchange: Exchange,
        on_live: Callable[[], None],
        settings: PeerSettings,
    ) -> str:
        """Send to the server that `exchange` is with, until that ends: the cause, as
        of Viewer.run. Raises NotOpened, NoMediaPort, BadOffer or UnsupportedOffer."""

        def on_state(state: PeerState) -> None:
            if state is PeerState.LIVE:
                on_live()

        viewer = Viewer(
            settings=settings,
            audio=self._audio,
            workers=self._workers,
            counters=self._counters,
            use=Use.PUSH,
            on_state=on_state,
        )
        await exchange.connect(viewer)
        self._pushed = viewer
        try:
            return await viewer.run()
        finally:
            self._spent_s += viewer.cpu_seconds
            self._pushed = None

    def end_push(self, cause: str) -> None:
        """Let `push` end, where it has an answer."""
        if self._pushed is not None:
            self._pushed.close(cause)

    async def end(self, cause: str) -> None:
        """The session is over: so are its viewers, when this returns."""
        self._over = True
        tasks = [one.task for one in self._watching.values() if one.task is not None]
        for one in self._watching.values():
            one.viewer.close(cause)
        if tasks:
            await asyncio.wait(tasks)

    def describe(self) -> list[dict[str, object]]:
        """JSON of each, as docs/api.md lists it; no ids, which are for their viewers alone."""
        return [one.viewer.describe() for one in self._watching.values()]

    def describe_pushed(self) -> dict[str, object] | None:
        """The same of the server that it is pushed to; None: of none now."""
        return None if self._pushed is None else self._pushed.describe()

    def _take_seat(self) -> int:
        try:
            if len(self._watching) + self._coming >= MAX_VIEWERS:
                raise Refused("viewer_cap", RETRY_S, whom="viewer")
            return self._seats.take()
        except Refused as refused:
            self._counters.viewer_refused(refused.reason)
            raise

    def _present(self, viewer_id: str) -> _Watching:
        try:
            return self._watching[viewer_id]
        except KeyError:
            raise UnknownPeer from None

    async def _run(self, viewer_id: str, watching: _Watching, seat: int) -> None:
        viewer, cause = watching.viewer, "fault"
        try:
            cause = await viewer.run()
            logger.info("session %s: a viewer ended: %s", self._short, cause)
        except Exception:
            logger.exception("session %s: a fault ended a viewer", self._short)
        finally:
            watching.set_up.ended(cause)
            self._spent_s += viewer.cpu_seconds
            del self._watching[viewer_id]
            self._seats.give_back(seat)
