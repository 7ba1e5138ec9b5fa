"""The floor does the whole work of a stream, with the service's own encoder settings."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from av.video.frame import PictureType

from loadtest import clip as clips
from loadtest import floor, scene
from loadtest.clip import Codec
from loadtest.fidelity import recovered_alpha
from loadtest.planes import GREEN_YUV, planes_of
from loadtest.stamp import Place
from service.rtc import codecs
from service.rtc.bitrate import talking_head_bps

if TYPE_CHECKING:
    from collections.abc import Iterator

    import av

FPS = 30
SIZE = (320, 192)
BITRATE_BPS = 400_000
START_CODE = b"\x00\x00\x01"


@pytest.fixture(autouse=True)
def opencv_threads() -> Iterator[None]:
    """measure() keeps OpenCV to one thread, for good."""
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


@pytest.fixture(scope="module")
def person() -> list[av.VideoFrame]:
    return pictures_of(SIZE, FPS)


def pictures_of(size: tuple[int, int], count: int) -> list[av.VideoFrame]:
    """The test person, for less than a second."""
    room = scene.plain_room(*size)
    return [clips.picture_of(rgb) for rgb in scene.swaying(room, count, FPS)]


def service_bytes(codec: Codec, pictures: list[av.VideoFrame], bitrate_bps: int) -> list[bytes]:
    """Each picture as the service's encoder makes it, without RTP's packets."""
    kind = codecs.Codec[codec.name]
    encoder = codecs.Encoder(kind)
    found = []
    for number, picture in enumerate(pictures):
        picture.pts = number * codecs.VIDEO_CLOCK_HZ // FPS
        payloads = encoder.encode(picture, keyframe=False, bitrate_bps=bitrate_bps)
        found.append(b"".join(codecs.depayload(kind, payload) for payload in payloads))
    return found


def floor_bytes(codec: Codec, pictures: list[av.VideoFrame], bitrate_bps: int) -> list[bytes]:
    encoder = floor.encoder(codec, pictures[0].width, pictures[0].height, bitrate_bps)
    found = []
    for number, picture in enumerate(pictures):
        picture.pts, picture.time_base = number * codecs.VIDEO_CLOCK_HZ // FPS, floor.CLOCK
        picture.pict_type = PictureType.NONE
        found.append(b"".join(bytes(packet) for packet in encoder.encode(picture)))
    return found


def units(data: bytes) -> list[bytes]:
    """H264's NAL units: start codes may have three bytes or four."""
    return [unit.rstrip(b"\x00") for unit in data.split(START_CODE) if unit.strip(b"\x00")]


@pytest.mark.parametrize("codec", list(Codec))
@pytest.mark.parametrize("size", [SIZE, (1280, 720), (1920, 1088)], ids=str)
def test_the_encoder_is_the_services_to_the_byte(codec: Codec, size: tuple[int, int]) -> None:
    count = 12 if size == SIZE else 3
    pictures = pictures_of(size, count)
    theirs = service_bytes(codec, pictures, BITRATE_BPS)
    ours = floor_bytes(codec, pictures, BITRATE_BPS)
    assert all(theirs)
    if codec is Codec.H264:
        assert [units(one) for one in ours] == [units(one) for one in theirs]
    else:
        assert ours == theirs


def test_the_bitrate_is_the_services() -> None:
    for width, height in ((640, 360), (1280, 720)):
        assert clips.camera_bitrate_bps(width, height) == talking_head_bps(width, height)


@pytest.mark.model
def test_the_person_is_kept_and_the_room_is_green(person: list[av.VideoFrame]) -> None:
    clip = clips.encode(person, Codec.H264, FPS)
    stream = floor.Stream(clip, floor.MODEL, BITRATE_BPS)
    for data in clip.frames:
        stream.process(data)
    assert stream.frames == len(clip.frames)
    planes = planes_of(stream._output)
    for plane, level in zip(planes, GREEN_YUV, strict=True):
        corner = plane[: plane.shape[0] // 6, : plane.shape[1] // 6]
        assert np.abs(corner.astype(int) - level).max() <= 2
    alpha, telling = recovered_alpha(planes, planes_of(person[-1]), GREEN_YUV)
    assert telling.mean() > 0.9
    assert alpha[40:60, 82:92].mean() > 0.95  # the face


@pytest.mark.model
@pytest.mark.parametrize("codec", list(Codec))
def test_measure(person: list[av.VideoFrame], codec: Codec) -> None:
    clip = clips.prepare(person, codec, FPS, place=Place())
    found = floor.measure(clip, 40, paced=False)  # once around and on
    assert (found.codec, found.width, found.height, found.frames) == (codec.value, *SIZE, 40)
    stages = [value for name, value in found.as_json().items() if name.endswith("_ms")]
    assert len(stages) == 6
    assert all(isinstance(stage, float) and stage > 0 for stage in stages)
    assert found.total_ms == pytest.approx(sum(stages[:-1]), abs=0.01)  # type: ignore[arg-type]
    assert 100 < found.encoded_kbps < 1000


@pytest.mark.model
def test_the_bitrate_that_is_given_is_used(person: list[av.VideoFrame]) -> None:
    clip = clips.prepare(person, Codec.H264, FPS, place=None)
    low = floor.measure(clip, 60, bitrate_bps=150_000, paced=False)
    high = floor.measure(clip, 60, bitrate_bps=900_000, paced=False)
    assert low.encoded_kbps < 0.6 * high.encoded_kbps


@pytest.mark.model
def test_without_an_effect_it_is_the_codecs_alone(person: list[av.VideoFrame]) -> None:
    clip = clips.encode(person, Codec.H264, FPS)
    stream = floor.Stream(clip, floor.MODEL, BITRATE_BPS, effect=False)
    encoded: list[av.VideoFrame] = []
    encode = stream._encode
    stream._encode = lambda picture: (encoded.append(picture), encode(picture))[1]  # type: ignore[method-assign,func-returns-value]
    for data in clip.frames:
        stream.process(data)
    assert stream.frames == len(encoded) == len(clip.frames)
    assert cv2.PSNR(planes_of(encoded[-1])[0], planes_of(person[-1])[0]) > 30
    used = {name for name, seconds in stream.used_s.items() if seconds > 0}
    assert used == {"decode", "encode"}


@pytest.mark.model
def test_frames_come_as_a_camera_sends_them(person: list[av.VideoFrame]) -> None:
    clip = clips.prepare(person, Codec.H264, FPS, place=None)
    began_s = time.monotonic()
    floor.measure(clip, FPS)
    assert time.monotonic() - began_s >= 1 - 1 / FPS


@pytest.mark.model
def test_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(clips, "default_film", lambda size, fps: pictures_of(size, 5))
    assert floor.main(["--frames", "5", "--fps", "5", "--tight", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["width"], found["height"], found["frames"]) == (640, 360, 5)
    assert found["total_ms"] > 0
