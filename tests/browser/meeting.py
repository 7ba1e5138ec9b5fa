"""The example of examples/meeting with what stands behind it: two services at one address."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import threading
import urllib.request
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.running import ROOT, Service, environment, free_port, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

KEY = "a-platform-key-of-the-tests"
WEBHOOK_SECRET = f"whsec_{base64.b64encode(b'w' * 32).decode()}"
# A frame is processed where the room's place has the colour of the effect: the placeholder is grey.
# `gaps` has, of each video, the longest time between two such frames that were shown.
GAPS = """([ids, box, wanted, near]) => {
  globalThis.gaps = {};
  const paint = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  for (const id of ids) {
    const video = document.getElementById(id);
    const gap = gaps[id] = { frames: 0, atMs: 0, longestMs: 0 };
    const look = (now) => {
      video.requestVideoFrameCallback(look);
      const { videoWidth: width, videoHeight: height } = video;
      paint.drawImage(video, box.left * width, box.top * height, (box.right - box.left) * width,
        (box.bottom - box.top) * height, 0, 0, 1, 1);
      const seen = paint.getImageData(0, 0, 1, 1).data;
      if (!wanted.every((each, at) => Math.abs(each - seen[at]) < near)) return;
      if (gap.atMs) gap.longestMs = Math.max(gap.longestMs, now - gap.atMs);
      gap.atMs = now;
      gap.frames += 1;
    };
    video.requestVideoFrameCallback(look);
  }
}"""
START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 10


@dataclass(slots=True)
class Front:
    """What a balancer does: one address, and the service behind it may change. TCP alone: media
    goes to the service itself."""

    port: int
    behind: int
    connections: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.connections[task] = writer
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.behind)
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        except OSError:
            pass  # the service is gone: so is the connection
        finally:
            writer.close()
            del self.connections[task]


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    finally:
        sink.close()


@asynccontextmanager
async def front(port: int, behind: int) -> AsyncIterator[Front]:
    made = Front(port, behind)
    server = await asyncio.start_server(made.accept, "127.0.0.1", port)
    try:
        yield made
    finally:
        server.close()
        for writer in made.connections.values():
            writer.close()
        await asyncio.gather(*made.connections)


@dataclass(slots=True)
class Platform:
    """One meeting backend and two services that share their secrets, at `front_port`."""

    url: str
    front_port: int
    first: Service
    second: Service
    lines: list[str]


@contextmanager
def platform() -> Iterator[Platform]:
    port, front_port = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {
        "API_KEYS": KEY,
        "TOKEN_SECRETS": "t" * 40,
        "ALLOWED_ORIGINS": url,
        "WEBHOOK_URL": f"{url}/hooks",
        "WEBHOOK_SECRETS": WEBHOOK_SECRET,
        "WEBHOOK_NETWORKS": "127.0.0.1/32",
    }
    with ExitStack() as stack:
        first = stack.enter_context(running(**settings))
        second = stack.enter_context(running(**settings))
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "examples" / "meeting" / "server.py")],
            env=environment({})
            | {
                "MEETING_BACKCLOTH": f"http://127.0.0.1:{front_port}",
                "MEETING_KEY": KEY,
                "MEETING_WEBHOOK_SECRET": WEBHOOK_SECRET,
                "MEETING_PORT": str(port),
                "PYTHONUNBUFFERED": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        lines: list[str] = []
        listening = threading.Event()

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if "Running on" in line:
                    listening.set()
            listening.set()

        reader = threading.Thread(target=read)
        reader.start()
        try:
            if not listening.wait(START_TIMEOUT_S) or process.poll() is not None:
                raise RuntimeError("the meeting did not start:\n" + "".join(lines))
            yield Platform(url, front_port, first, second, lines)
        finally:
            process.terminate()
            process.wait(STOP_TIMEOUT_S)
            reader.join(STOP_TIMEOUT_S)
            assert process.stdout is not None
            process.stdout.close()


async def sessions(meeting: Platform) -> list[dict[str, Any]]:
    """Of the second service, as soon as both are live there."""
    async with asyncio.timeout(60):
        while True:
            answer = await asyncio.to_thread(_sessions, meeting.second.url)
            if [each["state"] for each in answer] == ["live", "live"]:
                return answer
            await asyncio.sleep(0.1)


def _sessions(url: str) -> list[dict[str, Any]]:
    request = urllib.request.Request(
        f"{url}/v1/sessions", headers={"Authorization": f"Bearer {KEY}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: list[dict[str, Any]] = json.load(answer)["sessions"]
        return found
