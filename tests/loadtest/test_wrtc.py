"""libwebrtc's peers in Node, against the real service; and what can be told without Node."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import aiohttp
import numpy as np
import pytest

from loadtest import clip as clips
from loadtest import stamp
from loadtest.adapters import ADAPTERS, Refused, Wish
from loadtest.clients import CLIENTS, WRTC, hosted
from loadtest.load import Plan, load
from loadtest.profiles import AtOnce
from loadtest.results import LoadResult, Outcome, Slo, from_json, to_json
from loadtest.server import Target, started
from loadtest.stamp import Place
from loadtest.wrtc import install
from loadtest.wrtc.numbers import GIVEN_UP_AFTER, Numbers
from loadtest.wrtc.peers import KEPT_FRAMES, peers

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.clip import EncodedClip

SIZE = (320, 192)
FPS = 20
SERVICE = f"{sys.executable} -m service serve --port {{port}}"
GREEN = (111, 105, 58)
"""#00b140 in limited-range BT.601, as the service paints it: Y, U, V; checked within TOLERANCE."""
TOLERANCE = 5


@pytest.fixture(scope="module")
def modules() -> Path:
    """The package; tests that need it are skipped where it cannot be had."""
    try:
        return install.install()
    except install.NotInstalled as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="module")
def clip() -> EncodedClip:
    film = clips.default_film(SIZE, FPS, seconds=2)
    return clips.prepare(film, clips.Codec.VP8, FPS, place=Place())


# ---------------------------------------------------------------- numbers


def test_numbers_are_unwrapped_by_what_was_sent_last() -> None:
    numbers = Numbers()
    assert not numbers.over
    assert numbers.number(3, newest_sent=5) == 3
    assert numbers.over
    assert numbers.number(1022, newest_sent=1030) == 1022
    assert numbers.number(2, newest_sent=1030) == 1026
    assert numbers.number(6, newest_sent=1030) == 1030
    assert (numbers.verified, numbers.mispaired) == (4, 0)
    assert numbers.known


def test_a_number_that_cannot_be_is_not_believed() -> None:
    numbers = Numbers()
    assert numbers.number(10, newest_sent=12) == 10
    assert numbers.number(9, newest_sent=12) == 11  # one before the last
    assert numbers.number(13, newest_sent=12) == 12  # not sent yet
    assert numbers.mispaired == 2


def test_a_frame_without_a_number_is_the_one_after_the_last() -> None:
    numbers = Numbers()
    assert [numbers.number(None, newest_sent=40) for _ in range(2)] == [0, 1]
    assert not numbers.known
    assert numbers.number(7, newest_sent=40) == 7
    assert numbers.known
    assert numbers.number(None, newest_sent=40) == 8
    assert not numbers.known  # half of them were only assumed
    assert numbers.number(None, newest_sent=8) == 8  # never one that was not sent


def test_numbers_that_are_never_readable_are_given_up() -> None:
    numbers = Numbers()
    for _ in range(GIVEN_UP_AFTER):
        assert not numbers.over
        numbers.number(None, newest_sent=1000)
    assert numbers.over
    assert not numbers.known


# ---------------------------------------------------------------- installing


def test_lock_names_no_address_and_one_version() -> None:
    texts = {name: (install.HERE / name).read_text() for name in install.FILES}
    assert not any("//" in text for text in texts.values())
    wanted = json.loads(texts["package.json"])["dependencies"]
    locked = json.loads(texts["package-lock.json"])["packages"]
    for name, version in wanted.items():
        assert locked[f"node_modules/{name}"]["version"] == version
    assert all("integrity" in one for name, one in locked.items() if name)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "node"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(install.NotInstalled, match="node is not on the PATH"):
        install.found()
    with pytest.raises(install.NotInstalled, match="npm is not on the PATH"):
        install.install()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(install.NotInstalled, match=r"python -m loadtest\.wrtc"):
        install.found()


def test_an_npm_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, words in (("node", ""), ("npm", "echo 'no such hash' >&2; exit 1")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{words}\n")
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(install.NotInstalled, match="no such hash"):
        install.install()
    assert list(install.folder().parent.iterdir()) == []


# ---------------------------------------------------------------- the script


def test_the_script_draws_and_reads_numbers_as_python_does(modules: Path, tmp_path: Path) -> None:
    """Numbers drawn by one are read by the other, at the film's size and at a smaller one."""
    width, height = SIZE
    cell_px, left, top = stamp.grid(height, width, Place())
    chance = random.Random(5)
    numbers = [0, 1, 1023, 512, *(chance.randrange(1024) for _ in range(20))]
    source = (install.HERE / "client.mjs").read_text()
    begin, end = source.index("class Stamp"), source.index("const stamp =")
    drawn = np.full((len(numbers), height, width), 90, np.uint8)
    for luma, number in zip(drawn, numbers, strict=True):
        stamp.draw(luma, number, Place())
    small = np.array([luma[::2, ::2] for luma in drawn])
    (tmp_path / "large").write_bytes(drawn.tobytes())
    (tmp_path / "small").write_bytes(small.tobytes())
    setup = {
        "width": width, "height": height, "bits": stamp.BITS, "black": stamp.BLACK,
        "white": stamp.WHITE, "leastContrast": stamp.LEAST_CONTRAST, "cell": cell_px,
        "left": left, "top": top,
    }  # fmt: skip
    script = tmp_path / "try.mjs"
    script.write_text(
        'import { readFileSync, writeFileSync } from "node:fs";\n'
        f"{source[begin:end]}\n"
        f"const stamp = new Stamp({json.dumps(setup)});\n"
        f"const numbers = {json.dumps(numbers)}, width = {width}, height = {height};\n"
        "const read = (name, w, h) => { const all = readFileSync(name);\n"
        "  const one = (_, i) => stamp.read(all.subarray(i * w * h, (i + 1) * w * h), w, h);\n"
        "  return numbers.map(one); };\n"
        "const own = new Uint8ClampedArray(numbers.length * width * height).fill(90);\n"
        "numbers.forEach((n, i) => stamp.draw(own.subarray(i * width * height), n));\n"
        'writeFileSync("drawn", own);\n'
        "const flat = stamp.read(new Uint8ClampedArray(width * height).fill(90), width, height);\n"
        'console.log(JSON.stringify([read("large", width, height), '
        'read("small", width / 2, height / 2), flat]));\n'
    )
    told = subprocess.run(
        [shutil.which("node") or "node", str(script)], cwd=tmp_path, check=True, capture_output=True
    )
    large, little, flat = json.loads(told.stdout)
    assert large == numbers
    assert little == numbers
    assert flat is None
    theirs = np.frombuffer((tmp_path / "drawn").read_bytes(), np.uint8).reshape(drawn.shape)
    assert np.array_equal(theirs, drawn)


# ---------------------------------------------------------------- sessions


@pytest.mark.peer
async def test_frames_come_back_from_the_service_and_none_is_raw(
    modules: Path, clip: EncodedClip, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.yuv"
    width, height = SIZE
    async with (
        started(SERVICE) as server,
        aiohttp.ClientSession() as http,
        peers(clip) as process,
    ):
        wish = Wish(width=width, height=height, fps=FPS)
        peer = process.peer(ADAPTERS["backcloth"](http, server.url, wish), keep=kept)
        try:
            await peer.start()
            async with asyncio.timeout(60):
                await peer.came_back(KEPT_FRAMES)
                while not peer.statistics.get("framesDecoded"):  # noqa: ASYNC110 (told each second)
                    await asyncio.sleep(0.1)
        finally:
            await peer.close()
    # The numbers in the pictures say which frame came back, after it was sent, and in order.
    assert peer.pairing.verified > 20
    assert peer.pairing.mispaired == 0
    numbers = [one.number for one in peer.returned]
    assert numbers == sorted(numbers)
    assert all(one.at_s > peer.sent[one.number].at_s for one in peer.returned)
    assert peer.statistics["framesEncoded"] > 0
    assert peer.sent_bytes > 1000
    assert peer.returned_bytes > 1000
    # What was behind the person is green in every frame, the first included; in the film the
    # upper left has a bright window and a grey wall, and the upper right a wall.
    assert peer.sizes == {SIZE}
    frames = np.frombuffer(kept.read_bytes(), np.uint8).reshape(-1, height * 3 // 2, width)
    assert len(frames) == KEPT_FRAMES
    corner = (slice(None), slice(4, height // 4), slice(4, width // 4))
    luma = frames[:, :height]
    chroma = frames[:, height:].reshape(len(frames), 2, height // 2, width // 2)
    half = (slice(None), slice(2, height // 8), slice(2, width // 8))
    for plane, expected in zip(
        (luma[corner], chroma[:, 0][half], chroma[:, 1][half]), GREEN, strict=True
    ):
        assert np.abs(plane.reshape(KEPT_FRAMES, -1).mean(1) - expected).max() < TOLERANCE


@pytest.mark.peer
async def test_a_load_of_this_kind_gives_a_result_as_any_other(
    modules: Path, clip: EncodedClip
) -> None:
    wish = Wish(width=SIZE[0], height=SIZE[1], fps=FPS)
    plan = Plan(clip, "person", wish, AtOnce(1), 6.0, slo=Slo(0.1, 5000.0, 100), client=WRTC)
    result = await load(Target("backcloth", command=SERVICE), plan)
    (session,) = result.sessions
    assert session.outcome is Outcome.LIVE
    assert session.back > 0
    assert session.verified > 0
    assert session.latency_ms is not None
    assert session.peer is not None
    assert session.peer["framesDecoded"] >= session.back
    assert result.setup.clients == WRTC
    assert result.totals.client_cpu_seconds > 0.05  # the Node process is in it
    assert sum(count for _, count in result.latency_bins) == session.back
    assert from_json(LoadResult, json.loads(json.dumps(to_json(result)))) == result


class FullLine:
    """A server without room."""

    async def open(self, offer: str) -> str:
        assert "VP8/90000" in offer
        assert "a=candidate" in offer
        raise Refused(503, "full", 5.0)

    async def close(self) -> None:
        """There is nothing to close."""


@pytest.mark.peer
async def test_a_refused_session_is_closed_and_the_process_serves_on(
    modules: Path, clip: EncodedClip
) -> None:
    async with peers(clip) as process:
        for _ in range(2):
            peer = process.peer(FullLine())
            with pytest.raises(Refused):
                await peer.start()
            await peer.close()


@pytest.mark.peer
async def test_a_process_that_ends_ends_its_sessions(modules: Path, clip: EncodedClip) -> None:
    async with peers(clip) as process:
        peer = process.peer(FullLine())
        process._process.kill()
        async with asyncio.timeout(10):
            with pytest.raises(ConnectionError):
                await peer.start()
            await peer.ended.wait()
        with pytest.raises(ConnectionError):
            await process.peer(FullLine()).start()


async def test_what_this_kind_cannot_do_is_refused(clip: EncodedClip) -> None:
    h264 = replace(clip, codec=clips.Codec.H264)
    with pytest.raises(ValueError, match="VP8"):
        async with hosted(WRTC, h264, 1):
            pass
    with pytest.raises(ValueError, match="one process"):
        async with hosted(WRTC, clip, 2):
            pass
    assert WRTC in CLIENTS
