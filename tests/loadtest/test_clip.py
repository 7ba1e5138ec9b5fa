"""Clips: what is encoded up front decodes on its own, and is numbered only in its lead-in."""

from __future__ import annotations

import fractions
from typing import TYPE_CHECKING, cast

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from loadtest import clip as clips
from loadtest import stamp
from loadtest.clip import Codec, EncodedClip, luma_of
from tests.loadtest.conftest import FILM_FRAMES, FPS, SIZE

if TYPE_CHECKING:
    from pathlib import Path

    from av.video.codeccontext import VideoCodecContext

DECODERS = {Codec.H264: "h264", Codec.VP8: "vp8"}


def decode(clip: EncodedClip, first: int = 0) -> list[av.VideoFrame]:
    context = cast("VideoCodecContext", av.CodecContext.create(DECODERS[clip.codec], "r"))
    context.options = {"flags": "+low_delay"}
    context.thread_count = 1
    return [one for data in clip.frames[first:] for one in context.decode(av.Packet(data))]


def test_every_frame_is_one_picture(clip: EncodedClip) -> None:
    pictures = decode(clip)
    assert len(pictures) == len(clip.frames) == 2 * FPS + FILM_FRAMES
    assert {(one.width, one.height) for one in pictures} == {SIZE}


def test_the_lead_in_is_numbered_and_the_loop_is_not(clip: EncodedClip) -> None:
    numbers = [stamp.read(luma_of(one), clip.place) for one in decode(clip)]
    assert numbers[: clip.numbered] == list(range(2 * FPS))
    assert set(numbers[clip.numbered :]) == {None}


def test_the_loop_begins_with_a_keyframe(clip: EncodedClip) -> None:
    assert clip.loop_from == 2 * FPS
    assert clip.loop_from in clip.keyframes
    assert len(decode(clip, clip.loop_from)) == FILM_FRAMES


@pytest.mark.parametrize(("index", "key"), [(0, 0), (59, 0), (60, 60), (89, 60)])
def test_keyframe_before(clip: EncodedClip, index: int, key: int) -> None:
    assert clip.keyframe_before(index) == key


def test_keyframes_come_every_two_seconds(film: list[av.VideoFrame]) -> None:
    clip = clips.encode([*film, *film, *film], Codec.H264, 15)
    assert clip.keyframes == (0, 30, 60)


def test_without_a_place_nothing_is_drawn(film: list[av.VideoFrame]) -> None:
    clip = clips.prepare(film, Codec.H264, FPS, place=None)
    assert clip.numbered == 0
    assert {stamp.read(luma_of(one), clip.place) for one in decode(clip)} == {None}


@pytest.fixture
def file(tmp_path: Path, film: list[av.VideoFrame]) -> Path:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for index, picture in enumerate(film):
            picture.pts, picture.time_base = index, fractions.Fraction(1, 24)
            picture.pict_type = PictureType.NONE
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def test_a_film_at_its_own_size(file: Path) -> None:
    assert clips.rate_of(file) == 24
    pictures = clips.filmed(file, None, 10)
    assert len(pictures) == 10
    assert (pictures[0].width, pictures[0].height) == SIZE


def test_a_film_is_cropped_and_not_stretched(file: Path) -> None:
    whole = clips.filmed(file, None, 1)[0]
    (tall,) = clips.filmed(file, (96, 192), 1)
    assert (tall.width, tall.height) == (96, 192)
    middle = luma_of(whole)[:, 112:208].astype(int)
    assert np.abs(middle - luma_of(tall)).mean() < 3


def test_the_default_film_moves(tmp_path: Path) -> None:
    pictures = clips.default_film((320, 180), 10, seconds=1)
    assert len(pictures) == 10
    first, last = (luma_of(one).astype(int) for one in (pictures[0], pictures[-1]))
    assert np.abs(first - last).max() > 60
    assert np.abs(first[:40, :40] - last[:40, :40]).max() < 30  # the wall: noise alone
