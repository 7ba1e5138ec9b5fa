"""libwebrtc's peers in one Node process (client.mjs), each with the interface of client.Client.

Two things are not as with client.py. A frame's latency spans from the raw picture given to the
encoder to the decoded picture given back, so the peer's own encoder, decoder and jitter buffer are
in it. And every frame carries its number, drawn over the person: a bit more moves in the picture.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import av

from loadtest import stamp
from loadtest.client import CLOSE_TIMEOUT_S, CONNECT_TIMEOUT_S, Returned, Sent
from loadtest.clip import Codec
from loadtest.wrtc import install
from loadtest.wrtc.numbers import Numbers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from loadtest.client import Line, Watcher
    from loadtest.clip import EncodedClip

SCRIPT = Path(__file__).parent / "client.mjs"
LONGEST_LINE_BYTES = 1 << 20
"""Of what is told; an offer has a few kilobytes."""
FILM_LIMIT_BYTES = 256 << 20
"""Raw pictures on disk; the film is cut there and loops earlier."""
END_TIMEOUT_S = 5.0
WORDS_OF_NODE = 2000
KEPT_FRAMES = 60


class NodeEnded(ConnectionError):
    """The process of all peers is gone."""


@dataclass(slots=True)
class _Told:
    """What one peer waits for."""

    offer: asyncio.Future[str]
    closed: asyncio.Event


class Peers:
    """The process; `peer` makes one that is not started yet."""

    def __init__(
        self, clip: EncodedClip, process: asyncio.subprocess.Process, errors: IO[bytes]
    ) -> None:
        self._clip = clip
        self._process = process
        self._errors = errors
        self._gone: str | None = None
        "Why there is no process any more."
        self._peers: dict[int, Peer] = {}
        self._count = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    def peer(self, line: Line, watcher: Watcher | None = None, *, keep: Path | None = None) -> Peer:
        """`keep`: where the first frames that come back are written: I420, one after the other."""
        self._count += 1
        one = Peer(self, self._count, self._clip, line, watcher, keep)
        self._peers[self._count] = one
        return one

    async def say(self, **command: object) -> None:
        """Raises NodeEnded."""
        assert self._process.stdin is not None, "it was made with a pipe"
        if self._gone is not None:
            raise NodeEnded(self._gone)
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        try:
            await self._process.stdin.drain()
        except ConnectionError:
            raise NodeEnded("the Node process is gone") from None

    def forget(self, number: int) -> None:
        self._peers.pop(number, None)

    async def listen(self) -> None:
        """Hand on what is told, to the end of the process."""
        assert self._process.stdout is not None, "it was made with a pipe"
        async for line in self._process.stdout:
            told = json.loads(line)
            if (one := self._peers.get(told["id"])) is not None:
                one.told(told)
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - WORDS_OF_NODE))
        said = self._errors.read().decode(errors="replace").strip()
        self._gone = f"the Node process is gone: {said}"
        for one in self._peers.values():
            one.told({"error": self._gone, "connection": "closed"})


@asynccontextmanager
async def peers(clip: EncodedClip) -> AsyncIterator[Peers]:
    """A Node process that plays a clip's loop, encoded anew by each peer, until the block is left.

    Raises install.NotInstalled, and ValueError for another codec than VP8: this build of libwebrtc
    has no H264.
    """
    if clip.codec is not Codec.VP8:
        raise ValueError("the client wrtc sends VP8 alone")
    node, modules = install.found()
    with tempfile.TemporaryDirectory(prefix="loadtest-") as folder, contextlib.ExitStack() as files:
        film = Path(folder) / "film.yuv"
        frames = await asyncio.to_thread(_write_film, clip, film)
        errors = files.enter_context(tempfile.TemporaryFile())
        process = await asyncio.create_subprocess_exec(
            node,
            str(SCRIPT),
            json.dumps(_setup(clip, film, frames, modules)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            limit=LONGEST_LINE_BYTES,
        )
        made = Peers(clip, process, errors)
        listening = asyncio.create_task(made.listen())
        try:
            yield made
        finally:
            await _end(process)
            await asyncio.wait([listening], timeout=END_TIMEOUT_S)
            listening.cancel()


class Peer:
    """One session, as client.Client is one."""

    def __init__(
        self,
        owner: Peers,
        number: int,
        clip: EncodedClip,
        line: Line,
        watcher: Watcher | None,
        keep: Path | None,
    ) -> None:
        self.sent: list[Sent] = []
        self.returned: list[Returned] = []
        self.pairing = Numbers()
        self.sizes: set[tuple[int, int]] = set()
        "Width and height of the frames that came back."
        self.statistics: dict[str, Any] = {}
        "The newest of getStats, by the identifiers of W3C's WebRTC statistics; seconds and bit/s."
        self.ended = asyncio.Event()
        self._owner = owner
        self._number = number
        self._clip = clip
        self._line = line
        self._watcher = watcher
        self._keep = None if keep is None else {"path": str(keep), "frames": KEPT_FRAMES}
        self._sent_count = 0
        self._returned_count = 0
        self._returned_one = asyncio.Event()
        self._connected = asyncio.Event()
        self._state = "new"
        self._error = ""
        self._told = _Told(asyncio.get_running_loop().create_future(), asyncio.Event())

    @property
    def sent_bytes(self) -> int:
        """RTP payload, as of the last second."""
        return int(self.statistics.get("bytesSent", 0))

    @property
    def returned_bytes(self) -> int:
        return int(self.statistics.get("bytesReceived", 0))

    async def start(self) -> None:
        """Connect, then play. Raises TimeoutError, ConnectionError, or what the line raises."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await self._owner.say(open=self._number, keep=self._keep)
            answer = await self._line.open(await self._told.offer)
            await self._owner.say(answer=self._number, sdp=answer)
            await self._connected.wait()
        if self._state != "connected":
            raise ConnectionError(self._error or f"the connection is {self._state}")

    async def came_back(self, count: int) -> None:
        """Until that many frames have come back, since the start."""
        while self._returned_count < count:
            self._returned_one.clear()
            await self._returned_one.wait()

    async def verify(self) -> None:
        """Nothing to do: the number of each frame has been read."""

    async def close(self) -> None:
        """Tell the server, then close; both are tried whatever happens to the other."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._line.close()
        finally:
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self._owner.say(close=self._number)
                    await self._told.closed.wait()
            finally:
                self._owner.forget(self._number)

    def told(self, told: Mapping[str, Any]) -> None:
        """One object of client.mjs."""
        if "sent" in told:
            self._on_sent(told["sent"], told["at"])
        elif "back" in told:
            self.sizes.add((told["width"], told["height"]))
            self._on_back(told["back"], told["at"])
        elif "stats" in told:
            self.statistics = told["stats"]
        elif "offer" in told and not self._told.offer.done():
            self._told.offer.set_result(told["offer"])
        elif "closed" in told:
            self._told.closed.set()
        if "error" in told:
            self._on_error(told["error"])
        if "connection" in told:
            self._on_state(told["connection"])

    def _on_sent(self, number: int, at_s: float) -> None:
        self._sent_count = number + 1
        if self._watcher is None:
            self.sent.append(Sent(number % len(self._clip.frames), at_s))
        else:
            self._watcher.sent(number, at_s)

    def _on_back(self, read: int | None, at_s: float) -> None:
        number = self.pairing.number(read, self._sent_count - 1)
        self._returned_count += 1
        if self._watcher is None:
            self.returned.append(Returned(number, at_s))
        else:
            self._watcher.back(number, at_s)
        self._returned_one.set()

    def _on_error(self, words: str) -> None:
        self._error = words
        if not self._told.offer.done():
            self._told.offer.set_exception(ConnectionError(words))
        self._told.closed.set()
        self._connected.set()

    def _on_state(self, state: str) -> None:
        self._state = state
        if state in ("connected", "failed", "closed"):
            self._connected.set()
        if state in ("failed", "closed"):
            self.ended.set()


def _setup(clip: EncodedClip, film: Path, frames: int, modules: Path) -> dict[str, object]:
    cell_px, left, top = stamp.grid(clip.height, clip.width, clip.place)
    return {
        "modules": str(modules),
        "film": str(film),
        "frames": frames,
        "fps": clip.fps,
        "stamp": {
            "width": clip.width,
            "height": clip.height,
            "bits": stamp.BITS,
            "black": stamp.BLACK,
            "white": stamp.WHITE,
            "leastContrast": stamp.LEAST_CONTRAST,
            "cell": cell_px,
            "left": left,
            "top": top,
        },
    }


def _write_film(clip: EncodedClip, path: Path) -> int:
    """The loop as raw I420, as much as the limit allows; how many frames that are."""
    decoder = av.CodecContext.create("vp8", "r")
    most = FILM_LIMIT_BYTES // (clip.width * clip.height * 3 // 2)
    written = 0
    with path.open("wb") as file:
        for data in clip.frames[clip.loop_from :]:
            for picture in decoder.decode(av.Packet(data)):
                if written < most:
                    file.write(picture.to_ndarray(format="yuv420p").tobytes())
                    written += 1
    return written


async def _end(process: asyncio.subprocess.Process) -> None:
    """Its input ends, and so should it."""
    assert process.stdin is not None, "it was made with a pipe"
    process.stdin.close()
    try:
        async with asyncio.timeout(END_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
