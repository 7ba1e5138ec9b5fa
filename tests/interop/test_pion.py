"""WHIP and WHEP with Pion: H.264 and Opus from a stack that is neither ours nor libwebrtc's.

Pion plays a film of a person who sways in a room; the session's effect is green. It is watched by
libwebrtc, and by Pion again, which keeps what it is sent for PyAV to decode. pion/ is compiled
here, against Debian's packages, and only while these tests run.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
import pytest

from tests.browser.camera_film import write_film
from tests.interop.stand import (
    COLOR,
    HEIGHT,
    HERE,
    TIMEOUT_S,
    WIDTH,
    libwebrtc,
    pictures,
    require_person_on_green_throughout,
    shows_room,
    stranger,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.interop.stand import Api, Rgb
    from tests.running import Service

# What compiling Pion takes on a machine that does other things too is in the first one's time.
pytestmark = [pytest.mark.peer, pytest.mark.model, pytest.mark.timeout(900)]

SOURCES = HERE / "pion"
GOPATH = Path("/usr/share/gocode")
"""Where Debian keeps the sources of its Go libraries."""
PION = GOPATH / "src/github.com/pion/webrtc"
BUILD_TIMEOUT_S = 600
FPS = 30
KEYFRAME_EVERY = 30
TONE_HZ = 1000
SOUND_HZ = 48_000
SOUND_PACKET_S = 0.02


@pytest.fixture(scope="module")
def pion() -> Iterator[Path]:
    """The programme, compiled."""
    if shutil.which("go") is None or not PION.is_dir():
        pytest.skip("no Pion (Debian: apt-get install golang-go golang-github-pion-webrtc.v3-dev)")
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "pion"
        # One thing at a time: a compiler for each core would be the loudest thing on the machine.
        environ = {
            **os.environ,
            "CGO_ENABLED": "0",
            "GO111MODULE": "off",
            "GOCACHE": f"{folder}/cache",
            "GOFLAGS": "-p=1",
            "GOPATH": str(GOPATH),
        }
        command = ("go", "build", "-o", str(built), ".")
        made = subprocess.run(
            command, cwd=SOURCES, env=environ, capture_output=True, text=True,
            timeout=BUILD_TIMEOUT_S,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        shutil.rmtree(environ["GOCACHE"])
        yield built


@pytest.fixture(scope="module")
def h264_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Annex B, without B-frames, with parameter sets at every keyframe."""
    folder = tmp_path_factory.mktemp("pion")
    drawn, path = folder / "camera.y4m", folder / "camera.h264"
    write_film(drawn, WIDTH, HEIGHT, FPS)
    with av.open(str(drawn)) as source, av.open(str(path), "w", format="h264") as sink:
        stream = sink.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.bit_rate = 1_500_000
        stream.options = {
            "preset": "superfast",
            "tune": "zerolatency",
            "profile": "baseline",
            "x264-params": f"keyint={KEYFRAME_EVERY}:scenecut=0:repeat-headers=1",
        }
        for frame in source.decode(video=0):
            frame.pict_type = av.video.frame.PictureType.NONE
            sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))
    drawn.unlink()
    return path


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a tone: Opus in Ogg, one packet of 20 ms a page."""
    path = tmp_path_factory.mktemp("tone") / "tone.ogg"
    times = np.arange(2 * SOUND_HZ) / SOUND_HZ
    wave = (8000 * np.sin(2 * np.pi * TONE_HZ * times)).astype(np.int16)
    options = {"page_duration": str(int(SOUND_PACKET_S * 1e6))}
    with av.open(str(path), "w", format="ogg", options=options) as sink:
        stream = sink.add_stream("libopus", rate=SOUND_HZ, layout="stereo")
        # 80 bytes a packet: Pion writes none of more than 255 to its file.
        stream.bit_rate, stream.options = 32_000, {"vbr": "off"}
        frame = av.AudioFrame.from_ndarray(np.repeat(wave, 2)[None], "s16", "stereo")
        frame.sample_rate, frame.time_base, frame.pts = SOUND_HZ, Fraction(1, SOUND_HZ), 0
        sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))
    return path


def publishing(
    service: Service, session: dict[str, Any], film: Path, **more: object
) -> dict[str, object]:
    """What the programme is asked for to send to the session."""
    return {
        "role": "publish",
        "url": f"{service.url}/v1/whip",
        "token": session["token"],
        "video": str(film),
        "fps": FPS,
        **more,
    }


async def test_libwebrtc_watches(
    api: Api, service: Service, pion: Path, modules: Path, h264_film: Path, tmp_path: Path
) -> None:
    session = await api.open()
    keep = tmp_path / "watched.i420"
    watched = {
        "role": "watch",
        "url": service.url + session["whep_url"],
        "token": session["viewer_token"],
        "frames": 60,
        "keep": str(keep),
    }
    # The viewer is there first, so that it sees the very first picture.
    async with libwebrtc(modules, **watched) as watcher:
        async with stranger(str(pion), **publishing(service, session, h264_film)) as camera:
            told = await camera.told()
            assert told["location"].startswith(f"{service.url}/v1/sessions/{session['id']}/rtc/")
            assert told["setup"] == "actpass"
            seen = await watcher.told()
            require_person_on_green_throughout(pictures(keep, seen["width"], seen["height"]))
            (track,) = (await api.look(session))["tracks"]
            assert (track["width"], track["height"]) == (WIDTH, HEIGHT)
            assert track["frames"]["raw"] == 0
            assert (await camera.leave())["left"] == 200
        now = await api.look(session)
        assert (now["state"], len(now["viewers"])) == ("created", 1)
        assert (await watcher.leave())["left"] == 200


async def test_pion_watches_and_hears(
    api: Api, service: Service, pion: Path, h264_film: Path, tone: Path, tmp_path: Path
) -> None:
    session = await api.open()
    video, sound = tmp_path / "watched.h264", tmp_path / "heard.ogg"
    watched = {
        "role": "play",
        "url": service.url + session["whep_url"],
        "token": session["viewer_token"],
        "video": str(video),
        "sound": str(sound),
        "frames": 60,
        "packets": 75,
    }
    sent = publishing(service, session, h264_film, sound=str(tone))
    async with stranger(str(pion), **sent) as camera:
        assert (await camera.told())["packets"] == pytest.approx(2 / SOUND_PACKET_S, abs=2)
        async with stranger(str(pion), **watched) as watcher:
            told = await watcher.told()
            assert told["location"].startswith(f"{service.url}{session['whep_url']}/")
            assert (await watcher.leave())["left"] == 200
        assert (await camera.leave())["left"] == 200
    seen = decoded(video)
    assert len(seen) == 60
    require_person_on_green_throughout(seen)
    assert loudest_hz(sound) == pytest.approx(TONE_HZ, abs=5)


async def test_a_picture_that_stays_lost_is_asked_for_anew(
    api: Api, service: Service, pion: Path, h264_film: Path, tmp_path: Path
) -> None:
    session = await api.open()
    video = tmp_path / "watched.h264"
    watched = {
        "role": "play",
        "url": service.url + session["whep_url"],
        "token": session["viewer_token"],
        "video": str(video),
        "frames": 90,
    }
    sent = publishing(service, session, h264_film, loses=37)
    async with stranger(str(pion), **sent) as camera:
        await camera.told()
        async with stranger(str(pion), **watched) as watcher:
            await watcher.told()
            assert (await watcher.leave())["left"] == 200
        left = await camera.leave()
    assert left["left"] == 200
    assert left["restarts"] >= 1, "the service sends a PLI, and Pion goes on at a keyframe"
    require_person_on_green_throughout(decoded(video))


async def test_the_room_is_seen_until_the_answer_to_the_patch(
    api: Api, service: Service, pion: Path, h264_film: Path, tmp_path: Path
) -> None:
    session = await api.open(effect={"type": "none"}, allows="none")
    video = tmp_path / "watched.h264"
    watched = {
        "role": "play",
        "url": service.url + session["whep_url"],
        "token": session["viewer_token"],
        "video": str(video),
        "frames": 120,
    }
    async with (
        stranger(str(pion), **publishing(service, session, h264_film)) as camera,
        stranger(str(pion), **watched) as watcher,
    ):
        await camera.told()
        async with asyncio.timeout(TIMEOUT_S):
            while not video.exists() or video.stat().st_size < 40_000:  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # another process writes it
        await api.change(session, COLOR)
        await watcher.told()
        assert (await api.look(session))["tracks"][0]["frames"]["raw"] == 0
        assert [(await one.leave())["left"] for one in (camera, watcher)] == [200, 200]
    rooms = [shows_room(rgb) for rgb in decoded(video)]
    assert len(rooms) == 120
    assert 0 < sum(rooms) < 100
    assert rooms == sorted(rooms, reverse=True), "the room came back"


def test_its_sources_are_formatted() -> None:
    if (gofmt := shutil.which("gofmt")) is None:
        pytest.skip("no gofmt (Debian: apt-get install golang-go)")
    said = subprocess.run([gofmt, "-l", "."], cwd=SOURCES, capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (0, ""), said.stderr


def decoded(path: Path) -> list[Rgb]:
    """The pictures of an Annex-B file."""
    with av.open(str(path), format="h264") as file:
        planes = [frame.to_ndarray(format="yuv420p") for frame in file.decode(video=0)]
    return [np.asarray(cv2.cvtColor(one, cv2.COLOR_YUV2RGB_I420), np.uint8) for one in planes]


def loudest_hz(path: Path) -> float:
    """The frequency of what is heard; the first of it, where a decoder settles, left out."""
    with av.open(str(path)) as file:
        heard = [frame.to_ndarray() for frame in file.decode(audio=0)]
    left = np.concatenate(heard, axis=1)[0][SOUND_HZ // 10 :].astype(float)
    spectrum = np.abs(np.fft.rfft(left * np.hanning(len(left))))
    return float(np.argmax(spectrum) * SOUND_HZ / len(left))
