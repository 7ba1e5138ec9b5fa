"""The matte command writes as many frames as it reads, of the same size, or says what is wrong."""

from __future__ import annotations

import argparse
import json
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from service import clip
from service.footage import ClipError
from service.frame.pipeline import Pipeline
from service.policy.effects import Blur, Color, Image
from tests.frame.metrics import gray_frames
from tests.frame.portrait import astronaut

if TYPE_CHECKING:
    from pathlib import Path

FRAMES = 6


def video(path: Path, width: int, height: int) -> Path:
    """The astronaut drifting slowly, as FFV1 (which takes odd sizes)."""
    picture = astronaut()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(FRAMES):
            part = picture[: 512 * height // width, :] if width > height else picture
            moved = np.roll(part, 2 * index, axis=1)
            rgb = np.asarray(cv2.resize(moved, (width, height)), np.uint8)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def run(*options: str) -> int:
    parser = argparse.ArgumentParser()
    clip.add_arguments(parser)
    return clip.run(parser.parse_args(options))


@pytest.mark.model
@pytest.mark.parametrize("size", [(320, 240), (321, 241)])
def test_alpha_and_video_of_the_same_size_and_number(tmp_path: Path, size: tuple[int, int]) -> None:
    source = video(tmp_path / "in.mkv", *size)
    alpha, out = tmp_path / "alpha.mkv", tmp_path / "out.mp4"
    effect = json.dumps({"type": "color", "color": "#00b140"})
    assert run(str(source), "--alpha", str(alpha), "--video", str(out), "--effect", effect) == 0
    with av.open(str(alpha)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "ffv1"
        assert (stream.width, stream.height) == size
        times = [frame.time for frame in container.decode(stream)]
    assert times == pytest.approx([index / 25 for index in range(FRAMES)], abs=0.002)
    frames = list(gray_frames(alpha))
    assert len(frames) == FRAMES
    for gray in frames:
        assert 0.2 < float((gray > 127).mean()) < 0.8
        assert gray[size[1] // 2, size[0] // 2 - 10] == 255  # her face
        assert gray[5, 5] == 0
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert (stream.width, stream.height) == (size[0] & ~1, size[1] & ~1)
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(shown) == FRAMES
    assert np.abs(shown[0][5, 5].astype(int) - (0x00, 0xB1, 0x40)).max() < 12


@pytest.mark.model
def test_a_video_without_a_person_has_an_empty_matte(tmp_path: Path) -> None:
    path = tmp_path / "in.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for _ in range(2):
            frame = av.VideoFrame.from_ndarray(np.full((180, 320, 3), 90, np.uint8), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    assert run(str(path), "--alpha", str(tmp_path / "a.mkv"), "--model", "selfie") == 0
    frames = list(gray_frames(tmp_path / "a.mkv"))
    assert len(frames) == 2
    assert not any(frame.any() for frame in frames)


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(tmp_path / "no.mp4"), "--alpha", str(tmp_path / "a.mkv")) == 1
    assert "there is no file" in capsys.readouterr().err
    assert not (tmp_path / "a.mkv").exists()


@pytest.mark.parametrize("data", [b"", b"not a video at all" * 50])
def test_a_file_that_is_no_video_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes
) -> None:
    source = tmp_path / "in.mp4"
    source.write_bytes(data)
    assert run(str(source), "--alpha", str(tmp_path / "a.mkv")) == 1
    assert "cannot be decoded" in capsys.readouterr().err


def test_a_file_with_sound_only_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.wav"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        assert isinstance(stream, av.AudioStream)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    assert run(str(source), "--alpha", str(tmp_path / "a.mkv")) == 1
    assert "has no video" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = video(tmp_path / "in.mkv", 64, 48)
    assert run(str(source), "--alpha", str(tmp_path / "no folder" / "a.mkv")) == 1
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("effect", "message"),
    [
        ("{", "not JSON"),
        ('{"type": "sepia"}', "type"),
        ('{"type": "color", "color": "red"}', "color"),
        ('{"type": "image", "background": "no-such-picture"}', "--background"),
    ],
)
def test_a_bad_effect_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], effect: str, message: str
) -> None:
    source = video(tmp_path / "in.mkv", 64, 48)
    assert run(str(source), "--alpha", str(tmp_path / "a.mkv"), "--effect", effect) == 1
    assert message in capsys.readouterr().err


def test_the_options_make_the_look(tmp_path: Path) -> None:
    assert clip.look_for(None, None, None).effect == Blur()
    assert clip.look_for(None, "selfie", None).effect == Blur(model="selfie")
    color = '{"type": "color", "color": "#010203", "edge": 0.2}'
    assert clip.look_for(color, "selfie", None).effect == Color("#010203", "selfie", 0.2)
    path = tmp_path / "beach.png"
    Pillow.new("RGB", (32, 18), "tan").save(path)
    look = clip.look_for('{"type": "image", "background": "beach"}', None, path)
    assert look.effect == Image("beach")
    assert look.picture is not None
    assert look.picture.rgb.shape == (18, 32, 3)
    with pytest.raises(ClipError, match="cannot be read"):
        clip.look_for('{"type": "image", "background": "beach"}', None, tmp_path / "none.png")


@pytest.mark.model
def test_a_frame_that_cannot_be_processed_goes_out_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Pipeline.process
    seen: list[int | None] = []

    def fails_once(self: Pipeline, frame: av.VideoFrame) -> object:
        seen.append(frame.pts)
        if len(seen) == 3:
            raise RuntimeError("a fault")
        return process(self, frame)

    monkeypatch.setattr(Pipeline, "process", fails_once)
    source = video(tmp_path / "in.mkv", 320, 240)
    alpha, out = tmp_path / "alpha.mkv", tmp_path / "out.mp4"
    effect = json.dumps({"type": "color", "color": "#00b140"})
    assert run(str(source), "--alpha", str(alpha), "--video", str(out), "--effect", effect) == 0
    with av.open(str(out)) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(shown) == FRAMES
    assert np.abs(shown[2].astype(int) - (0x00, 0xB1, 0x40)).mean() < 6
    frames = list(gray_frames(alpha))
    assert len(frames) == FRAMES
    assert [bool(frame.any()) for frame in frames] == [True, True, False, True, True, True]
