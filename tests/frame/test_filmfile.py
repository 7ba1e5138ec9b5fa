"""Films as they are kept: the same pictures, nothing else, their size told in the beginning."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from service.errors import PictureError
from service.frame.film import Film, decode_film
from service.frame.filmfile import (
    HEAD_BYTES,
    film_size,
    film_still,
    film_thumbnail,
    film_type,
    stored_film,
)
from tests.frame.reels import CODECS, GREEN, RED, reel


def decoded(data: bytes) -> Film:
    return decode_film(data, max_bytes=1 << 24, longest_px=1920)


def noise(form: str) -> bytes:
    """A film that does not get small."""
    out, random = io.BytesIO(), np.random.default_rng(1)
    with av.open(out, "w", format=form) as target:
        stream = target.add_stream(CODECS[form], rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        stream.bit_rate = 8_000_000
        for index in range(20):
            pixels = random.integers(0, 256, (540, 640), np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return out.getvalue()


def told(form: str) -> bytes:
    """A film with a sound, a title and a place."""
    out = io.BytesIO()
    with (
        av.open(io.BytesIO(reel(form=form)), "r") as source,
        av.open(out, "w", format=form) as target,
    ):
        target.metadata.update(title="the title of it", location="+48.1372+011.5756/")
        video = target.add_stream_from_template(source.streams.video[0])
        audio = target.add_stream("libopus" if form == "webm" else "aac", rate=48_000)
        assert isinstance(audio, av.AudioStream)
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = video
                target.mux(packet)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), format="flt")
        silence.rate, silence.pts, silence.time_base = 48_000, 0, Fraction(1, 48_000)
        resampled = av.AudioResampler(audio.format, audio.layout, 48_000).resample(silence)
        for frame in resampled:
            target.mux(audio.encode(frame))
        target.mux(audio.encode(None))
    return out.getvalue()


@pytest.mark.parametrize("form", ["mp4", "webm"])
def test_what_is_kept_is_the_pictures_alone(form: str) -> None:
    upload = told(form)
    assert b"the title of it" in upload
    kept = stored_film(upload)
    assert film_type(kept) == f"video/{form}"
    for word in (b"the title of it", b"48.1372"):
        assert word not in kept
    with av.open(io.BytesIO(kept), "r") as container:
        assert [stream.type for stream in container.streams] == ["video"]
    before, after = decoded(upload), decoded(kept)
    assert len(before.frames) == len(after.frames) == 15
    assert before.starts_s == pytest.approx(after.starts_s, abs=0.002)
    assert before.duration_s == pytest.approx(after.duration_s, abs=0.002)
    for one, other in zip(before.frames, after.frames, strict=True):
        for plane, same in zip(one.each(), other.each(), strict=True):
            assert np.array_equal(plane, same)


@pytest.mark.parametrize("form", ["mp4", "webm"])
def test_its_beginning_tells_its_size(form: str) -> None:
    """Also of the longest film, and where what begins is cut off in the middle."""
    long = stored_film(reel(form=form, size=(64, 36), each=300))
    assert film_size(long[:HEAD_BYTES]) == (64, 36)
    large = stored_film(noise(form))
    assert len(large) > 3 * HEAD_BYTES
    assert film_size(large[:HEAD_BYTES]) == (640, 360)


@pytest.mark.parametrize(
    "head", [b"", b"RIFF", b"\x1a\x45\xdf\xa3", b"\0\0\0\x18ftypmp42" + bytes(99)]
)
def test_what_tells_no_size(head: bytes) -> None:
    assert film_size(head) is None


def test_what_cannot_be_kept() -> None:
    with pytest.raises(PictureError, match="as MP4 or WebM"):
        stored_film(b"no film at all")
    with pytest.raises(PictureError, match="as MP4 or WebM"):
        stored_film(reel()[:200])
    with pytest.raises(PictureError, match="900 frames"):
        stored_film(reel((RED,), each=901, size=(32, 32)))


def test_its_thumbnail_is_its_first_frame() -> None:
    with Image.open(io.BytesIO(film_thumbnail(stored_film(reel((GREEN, RED))), 160))) as small:
        assert (small.format, small.size) == ("WEBP", (160, 90))
        red, green, blue = small.convert("RGB").getpixel((80, 45))  # type: ignore[misc]
    assert green > 140
    assert max(red, blue) < 60
    with pytest.raises(PictureError):
        film_thumbnail(reel()[:200], 160)


def test_a_still_has_the_films_key_and_colours() -> None:
    film = decoded(reel((RED,)))
    still = film_still(film)
    assert still.key == film.key
    assert still.rgb.shape == (180, 320, 3)
    assert not still.rgb.flags.writeable
    assert np.abs(still.rgb[90, 160].astype(int) - RED).max() < 8
