"""Another server, as a platform's SFU is one: WHEP and WHIP by aiohttp and stock aiortc peers.

Nothing of the service is in it. It plays a moving picture to whoever watches, keeps what is sent to
it, and remembers what it was asked.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError

from tests.peers import Camera, Returned
from tests.rtc.pictures import moving_picture

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiortc import MediaStreamTrack

TOKEN = "bearer-of-another-server"


@dataclass
class FarServer:
    """`whep` and `whip` are its addresses; it wants `token` as a bearer."""

    plays: bool = True
    "Whether it has a picture for those who watch."
    speaks: bool = False
    port: int = 0
    token: str = TOKEN
    link: str = ""
    "What it answers to OPTIONS."
    rewrite: Callable[[str], str] = str
    "What it makes of its answers."
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    "Cleared: offers wait for their answers."
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    "Method, path and bearer of each request."
    made: dict[str, RTCPeerConnection] = field(default_factory=dict)
    "Peers by the path of what was made for them."
    video: Returned = field(default_factory=lambda: Returned(keep=2000))
    audio: Returned = field(default_factory=Returned)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _readers: list[asyncio.Task[None]] = field(default_factory=list)
    _count: int = 0
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def whep(self) -> str:
        return f"{self.url}/whep/camera?key=secret-of-the-address"

    @property
    def whip(self) -> str:
        return f"{self.url}/whip/camera?key=secret-of-the-address"

    def count(self, method: str) -> int:
        return sum(asked == method for asked, _, _ in self.asked)

    async def until(self, condition: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
        """Until a condition holds, looked at after each request and each picture."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def frames(self, count: int, *, timeout_s: float = 30.0) -> None:
        """Until this many more pictures have been sent to it."""
        goal = self.video.total + count
        await self.until(lambda: self.video.total >= goal, timeout_s=timeout_s)

    async def start(self) -> None:
        self.answers.set()
        app = web.Application()
        app.router.add_route("*", "/{kind:whep|whip}/{name}", self._offer)
        app.router.add_delete("/made/{number}", self._delete)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """It forgets all that it had made."""
        self.answers.set()
        for peer in self.made.values():
            await peer.close()
        self.made.clear()
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    async def _offer(self, request: web.Request) -> web.Response:
        self._note(request)
        if request.method == "OPTIONS":
            return web.Response(status=204, headers={"Link": self.link})
        sdp = await request.text()
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401)
        assert request.content_type == "application/sdp"
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peer.on("track", self._on_track)
        await peer.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        if request.match_info["kind"] == "whep" and self.plays:
            peer.addTrack(Camera(moving_picture))
            if self.speaks:
                peer.addTrack(AudioStreamTrack())
        elif request.match_info["kind"] == "whep":
            peer.getTransceivers()[0].direction = "sendonly"
        await peer.setLocalDescription(await peer.createAnswer())
        self._count += 1
        path = f"/made/{self._count}"
        self.made[path] = peer
        self.changed.set()
        await self.answers.wait()
        return web.Response(
            status=201,
            text=self.rewrite(peer.localDescription.sdp),
            content_type="application/sdp",
            headers={"Location": f"..{path}"},
        )

    async def _delete(self, request: web.Request) -> web.Response:
        peer = self.made.pop(request.path, None)
        self._note(request)
        if peer is not None:
            await peer.close()
        return web.Response(status=404 if peer is None else 200)

    def _note(self, request: web.Request) -> None:
        bearer = request.headers.get("Authorization")
        self.asked.append((request.method, request.path, bearer))
        self.changed.set()

    def _on_track(self, track: MediaStreamTrack) -> None:
        into = self.video if track.kind == "video" else self.audio
        self._readers.append(asyncio.create_task(self._read(track, into)))

    async def _read(self, track: MediaStreamTrack, into: Returned) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            into.frames = [*into.frames[-(into.keep - 1) :], frame]  # type: ignore[list-item]
            into.total += 1
            self.changed.set()


@asynccontextmanager
async def far_server(*, plays: bool = True) -> AsyncIterator[FarServer]:
    """One that runs, on a port of its own."""
    server = FarServer(plays=plays)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
