"""All that the service writes, sends and shows from inside of its container: without root and on a
read-only root, with a key from a mounted file, a mounted folder for the picture library, and a real
collector for its traces. One call goes through it, whose pictures are looked at pixel by pixel.
"""

from __future__ import annotations

import asyncio
import os
import re
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import aioice.ice
import numpy as np
import pytest

from tests.collector import collecting
from tests.frame.reels import BLUE, GREEN, RED, reel
from tests.frame.scenes import frame_of, rgb_of
from tests.frame.sitting import sitting
from tests.image.builder import ROOT, missing
from tests.image.container import Mount
from tests.library.stand import picture
from tests.peers import Camera, Client
from tests.running import free_port

if TYPE_CHECKING:
    from pathlib import Path

    import av

    from tests.collector import Collector
    from tests.image.builder import Builder
    from tests.image.container import Container

pytestmark = [
    pytest.mark.image,
    pytest.mark.peer,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
]

KEY: Final = "the-platform-s-own-key"
PLATFORM: Final = {"Authorization": f"Bearer {KEY}"}
UID: Final = 10001
LIBRARY: Final = "/var/lib/backcloth"
KEYS: Final = "/run/secrets/api-keys"
SIZE: Final = (640, 360)
STUDIO: Final = (0, 177, 64)
ATTIC: Final = (20, 40, 200)
WAIT_S: Final = 60.0


def settings(port: int, collector: Collector | None = None) -> dict[str, str]:
    traces = {} if collector is None else {"BACKCLOTH_OTEL_ENDPOINT": collector.url}
    return {
        "BACKCLOTH_HOST": "127.0.0.1",
        "BACKCLOTH_PORT": str(port),
        "BACKCLOTH_API_KEYS_FILE": KEYS,
        "BACKCLOTH_LIBRARY": LIBRARY,
        "BACKCLOTH_ICE_ADDRESSES": "127.0.0.1",
        "BACKCLOTH_UDP_PORTS": "47100-47199",
        "BACKCLOTH_DRAIN_S": "0",
        **traces,
    }


def mounts(folder: Path) -> list[Mount]:
    """A secret that this uid may read, and a folder that it may write to."""
    secret, library = folder / "api-keys", folder / "library"
    secret.write_text(f"{KEY}\n")
    secret.chmod(0o400)
    library.mkdir()
    for one in (secret, library):
        os.chown(one, UID, UID)
    return [Mount(secret, KEYS), Mount(library, LIBRARY, writable=True)]


class Call:
    """A portrait before a room of stripes goes in; what comes back is kept."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http
        self._shot = frame_of(sitting(SIZE, x=0.4, head=0.42, tall=0.28))
        self.client = Client(Camera(self._draw, fps=15), codec="VP8")
        self._path = ""

    def _draw(self, number: int) -> av.VideoFrame:
        frame = self._shot.reformat(format="yuv420p")
        frame.pts = number
        return frame

    async def begin(self, **effect: object) -> None:
        body = {"effect": effect, "audio": False}
        async with self._http.post("/v1/sessions", json=body) as answer:
            assert answer.status == 201, await answer.text()
            session = await answer.json()
        self._path = f"/v1/sessions/{session['id']}"
        headers = {"Content-Type": "application/sdp"}
        offer = await self.client.offer()
        async with self._http.post(session["rtc_url"], data=offer, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
            await self.client.accept(await answer.text())
        await self.client.frames(1, timeout_s=WAIT_S)

    async def show(self, **effect: object) -> None:
        async with self._http.patch(self._path, json={"effect": effect}) as answer:
            assert answer.status == 200, await answer.text()

    async def bring(self, film: bytes) -> None:
        headers = {"Content-Type": "video/mp4"}
        async with self._http.put(f"{self._path}/background", data=film, headers=headers) as answer:
            assert answer.status == 200, await answer.text()

    async def until_before(self, colour: tuple[int, int, int]) -> None:
        """Until the background is of that colour, and the person is still there."""

        def seen() -> bool:
            rgb = rgb_of(self.client.video.frames[-1])
            corners = np.concatenate([rgb[:60, :60], rgb[:60, -60:]]).reshape(-1, 3).astype(float)
            away = np.abs(rgb.astype(int) - colour).sum(axis=2) > 90
            as_asked = np.abs(corners.mean(axis=0) - colour).max() < 20
            return bool(as_asked and 0.1 < away.mean() < 0.7)

        await self.client.wait_for(seen, timeout_s=WAIT_S)

    async def tracks(self) -> list[dict[str, Any]]:
        async with self._http.get(self._path) as answer:
            found: list[dict[str, Any]] = (await answer.json())["tracks"]
            return found


async def test_a_call_with_everything_that_is_written_and_sent(
    builder: Builder,
    files: Path,
    container: Container,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    config = builder.inspect()["Docker"]["config"]
    with collecting() as collector:
        container.write(files, config, settings(port, collector), mounts=mounts(tmp_path))
        container.start()
        await asyncio.to_thread(container.wait_ready, url)

        shown = container.run_inside("python", "-m", "service", "settings")
        assert shown.returncode == 0, shown.stderr
        assert "BACKCLOTH_API_KEYS=(set)  # from BACKCLOTH_API_KEYS_FILE" in shown.stdout
        assert f"BACKCLOTH_LIBRARY={LIBRARY}  # from BACKCLOTH_LIBRARY" in shown.stdout
        assert KEY not in shown.stdout
        wrong = container.run_inside(
            "env", "BACKCLOTH_TURN_SECRET=hush", "python", "-m", "service", "settings"
        )
        assert wrong.returncode == 2
        assert "BACKCLOTH_TURN_SECRET: is shorter than 16 characters" in wrong.stderr
        listed = container.run_inside("python", "-m", "service", "models", "list")
        assert listed.returncode == 0, listed.stderr
        assert re.search(r"^selfie_landscape .* shipped$", listed.stdout, re.MULTILINE)

        async with aiohttp.ClientSession(url, headers=PLATFORM) as http:
            await the_page(http)
            png = {"Content-Type": "image/png"}
            async with http.put("/v1/backgrounds/attic", data=picture(ATTIC), headers=png) as put:
                assert put.status == 201, await put.text()
            call = Call(http)
            try:
                await call.begin(type="color", color="#00b140")
                await call.until_before(STUDIO)
                await call.show(type="image", background="attic")
                await call.until_before(ATTIC)
                # A film: what it takes to decode one is in memory.
                await call.bring(reel(each=10))
                await call.show(type="image", background="session")
                for colour in (RED, GREEN, BLUE):
                    await call.until_before(colour)
                (track,) = await call.tracks()
                assert track["frames"]["raw"] == 0
                assert track["frames"]["sent"] > 20
            finally:
                await call.client.close()
            async with http.get("/metrics") as answer:
                assert "backcloth_raw_frames_total 0.0" in (await answer.text()).splitlines()

        exit_status, output = await asyncio.to_thread(container.stop)
        assert exit_status == 0, output
        assert "Traceback" not in output
        names = {span.name for span in collector.spans()}
        assert {"create session", "offer/answer", "ICE connect", "DTLS", "first frame"} <= names
    kept = [path for path in (tmp_path / "library").rglob("*") if path.is_file()]
    assert kept, "the picture is in the folder"
    assert {path.stat().st_uid for path in kept} == {UID}

    # Another container finds it there.
    container.start()
    await asyncio.to_thread(container.wait_ready, url)
    async with (
        aiohttp.ClientSession(url, headers=PLATFORM) as http,
        http.get("/v1/backgrounds/attic") as answer,
    ):
        assert answer.status == 200


async def the_page(http: aiohttp.ClientSession) -> None:
    """Every file of it, in every language, as the sources have it."""
    page = ROOT / "service/web/page"
    for name in ("index.html", "page.js", "client.js", "texts.js", "texts.ja.js", "texts.ko.js"):
        async with http.get("/" if name == "index.html" else f"/{name}") as answer:
            assert answer.status == 200, name
            assert await answer.read() == (page / name).read_bytes(), name


def test_a_library_where_nothing_can_be_written(
    builder: Builder, files: Path, container: Container, tmp_path: Path
) -> None:
    """The read-only root has no room for one, and it says so before it serves."""
    environ = {**settings(free_port()), "BACKCLOTH_LIBRARY": "/app/library"}
    container.write(
        files, builder.inspect()["Docker"]["config"], environ, mounts=mounts(tmp_path)[:1]
    )
    container.start()
    exit_status, output = container.ended()
    assert exit_status == 2, output
    assert re.search(r"BACKCLOTH_LIBRARY: no folder '/app/library': .*[Rr]ead-only", output), output
