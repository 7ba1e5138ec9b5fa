"""SPINE of a viewer's connection: offer -> answer -> connected -> closed.

A viewer is sent a session's pictures and its sound, and sends nothing (WHEP). The
session's audience (service/session/audience.py) makes one for each offer and runs it as a task; and
one that makes an offer itself, where they are pushed to another server (WHIP).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from service.rtc.audio import AudioRelay
from service.rtc.link import Link, PeerSettings, PeerState, Step
from service.rtc.offer import Use
from service.rtc.receiver import AudioReceiver, RtpCounters
from service.rtc.screen import Screen, ViewerCounters
from service.rtc.sender import Sender

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiortc import RTCRtpTransceiver

    from service.rtc.packet import IncomingPacket
    from service.rtc.showing import AnyShown
    from service.setting_text import IceServer
    from service.workers import Workers


class Counters(RtpCounters, ViewerCounters, Protocol):
    """Everything a viewer counts."""


class Viewer:
    """One who watches a session, from its offer to its end."""

    def __init__(
        self,
        *,
        settings: PeerSettings,
        audio: bool,
        workers: Workers,
        counters: Counters,
        use: Use = Use.PLAYBACK,
        on_state: Callable[[PeerState], None] = lambda _: None,
    ) -> None:
        self.on_step: Callable[[Step], None] = lambda _: None
        "Told of each step of its set-up; of one that is over again, it may be."
        self._audio = audio
        self._workers = workers
        self._counters = counters
        self._screen: Screen | None = None
        self._sound: AudioRelay | None = None
        self._link = Link(
            settings=settings,
            use=use,
            counters=counters,
            on_state=on_state,
            on_channel=lambda channel: channel.close(),
            on_step=lambda step: self.on_step(step),
        )

    @property
    def state(self) -> PeerState:
        return self._link.state

    @property
    def cpu_seconds(self) -> float:
        """That its encoding has used."""
        return 0.0 if self._screen is None else self._screen.cpu_seconds

    async def answer(self, offer: str) -> str:
        """The SDP answer, with all of the server's candidates in it.

        Raises BadOffer for what is no SDP offer, UnsupportedOffer for one that can't be served.
        """
        return await self._link.answer(offer, self._take)

    async def offer(self, servers: Sequence[IceServer] = ()) -> str:
        """The SDP offer of one that is pushed to, with all of the server's candidates in it;
        `accept` is next. Raises NoMediaPort."""
        return await self._link.offer(self._take, audio=self._audio, servers=servers)

    async def accept(self, answer: str) -> None:
        """Raises BadOffer or UnsupportedOffer."""
        await self._link.accept(answer)

    def _take(self, transceiver: RTCRtpTransceiver) -> None:
        """The first section of each kind; there is one of video (offer.py)."""
        sender = transceiver.sender
        assert isinstance(sender, Sender)
        if isinstance(transceiver.receiver, AudioReceiver):
            if self._audio and self._sound is None:
                self._sound = AudioRelay(sender)
            else:
                transceiver.direction = "inactive"
            return
        self._screen = Screen(
            sender=sender,
            workers=self._workers,
            counters=self._counters,
            paused=lambda: self.state is not PeerState.LIVE,
            on_first_frame=lambda: self.on_step(Step.FRAME),
        )

    def show(self, shown: AnyShown) -> None:
        """A picture; never waits."""
        if self._screen is not None:
            self._screen.show(shown)

    def hear(self, packet: IncomingPacket, mime_type: str) -> None:
        """A packet of sound; never waits."""
        if self._sound is not None and self.state is PeerState.LIVE:
            self._sound.pass_on(packet, mime_type)

    async def run(self) -> str:
        """Live until the end; the cause of it, as of Link.run."""
        works = [] if self._screen is None else [self._screen.run()]
        return await self._link.run(works, release=self._release)

    async def abandon(self) -> None:
        """Release a viewer whose offer could not be answered."""
        await self._link.disconnect(self._release)

    def close(self, cause: str) -> None:
        """Let `run` end; the first cause stays."""
        self._link.close(cause)

    async def trickle(self, fragment: str) -> None:
        """Candidates by RFC 8840; raises UnsupportedOffer for an ICE restart."""
        await self._link.trickle(fragment)

    def describe(self) -> dict[str, object]:
        """JSON of one viewer, as docs/api.md lists it."""
        screen = {} if self._screen is None else self._screen.describe()
        return {"state": self.state.value, **screen}

    def _release(self) -> None:
        if self._screen is not None:
            self._workers.submit(self._screen.release)
