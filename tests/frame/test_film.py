"""A background film: decoded within its limits, and played at its own rate, round and round."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from service.errors import PictureError
from service.frame import film as films
from service.frame.background import PlaneCache
from service.frame.colour import Colour, Matrix
from service.frame.composite import Composited, Kind
from service.frame.film import Film, decode_film, fitted_frame, is_film
from service.frame.look import Look
from service.frame.pipeline import Pipeline
from service.frame.planes import view
from service.policy.effects import Fit, Image
from tests.frame.reels import BLUE, GREEN, RED, reel
from tests.frame.scenes import KeyNetworks, bytes_of, frame_of, rgb_of, scene
from tests.frame.test_picture import encoded

MIB = 1 << 20


def decoded(data: bytes, *, longest_px: int = 1280, memory_bytes: int = 64 * MIB,
            decode_s: float = 60.0) -> Film:  # fmt: skip
    return decode_film(
        data,
        max_bytes=10 * MIB,
        longest_px=longest_px,
        memory_bytes=memory_bytes,
        decode_s=decode_s,
    )


@pytest.mark.parametrize("form", ["mp4", "webm"])
def test_frames_times_and_the_round(form: str) -> None:
    data = reel(form=form)
    film = decoded(data)
    assert len(film.frames) == 15
    assert film.frames[0].size == (320, 180)
    assert film.duration_s == pytest.approx(1.5, abs=0.01)
    assert np.allclose(np.diff(film.starts_s), 0.1, atol=0.002)
    assert [film.at(at_s) for at_s in (0.0, 0.05, 0.52, 1.49, 1.51, 15.05)] == [0, 0, 5, 14, 0, 0]
    assert not film.frames[0].y.flags.writeable
    lumas = [int(film.frames[number].y.mean()) for number in (2, 7, 12)]
    expected = [
        int(view(frame_of(np.full((4, 4, 3), color, np.uint8))).y.mean())
        for color in (RED, GREEN, BLUE)
    ]
    assert np.abs(np.subtract(lumas, expected)).max() <= 4
    assert film.key == decoded(data).key != decoded(reel((RED,))).key


def test_a_large_film_is_kept_as_small_as_the_session_and_the_memory() -> None:
    data = reel(size=(640, 360))
    assert decoded(data, longest_px=480).frames[0].size == (480, 270)
    small = decoded(data, memory_bytes=15 * 400 * 224 * 3 // 2)
    assert small.nbytes <= 15 * 400 * 224 * 3 // 2
    assert small.frames[0].width >= films.SMALLEST_PX
    with pytest.raises(PictureError, match="too long"):
        decoded(data, memory_bytes=MIB)


@pytest.mark.parametrize(("rate", "kept"), [(60, 30), (33, 60), (30, 60), (24, 60)])
def test_more_frames_a_second_than_a_camera_has_are_left_out(rate: int, kept: int) -> None:
    film = decoded(reel(each=20, rate=rate))
    assert abs(len(film.frames) - kept) <= 1
    assert film.duration_s == pytest.approx(60 / rate, abs=0.05)


def tone() -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 8000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cannot be decoded as MP4 or WebM"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "cannot be decoded"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/x.ts\n", "cannot be decoded"),
        (reel(form="avi"), "cannot be decoded"),
        (reel(form="mov"), "must be H264, VP8, VP9 or AV1"),
        (reel()[:600], "cannot be decoded"),
        (b"\0\0\0\x18ftypmp42" + b"\0" * 2000, "cannot be decoded|no pictures"),
        (tone(), "no pictures"),
        (reel(size=(1922, 1090), each=1), "1922x1090 px; at most 2088960 pixels"),
        (reel(size=(16, 16), each=305, rate=30), "915 frames; at most 900"),
        (reel(size=(16, 16), each=11, rate=1), "longer than 30 s"),
    ],
    ids=[
        *("empty", "concat", "playlist", "avi", "codec", "cut", "nothing", "audio", "pixels"),
        *("frames", "long"),
    ],
)
def test_what_is_no_film_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(PictureError, match=said):
        decoded(data)


def test_bytes_and_time_are_bounded() -> None:
    data = reel()
    with pytest.raises(PictureError, match=f"has {len(data)} bytes; at most 100 are taken"):
        decode_film(data, max_bytes=100, longest_px=640)
    with pytest.raises(PictureError, match="takes too long"):
        decoded(data, decode_s=0.0)


def test_damage_anywhere_is_an_error_of_the_domain() -> None:
    random = np.random.default_rng(4)
    data = np.frombuffer(reel(form="webm"), np.uint8)
    for _ in range(60):
        broken = data.copy()
        broken[random.integers(4, len(data), 12)] = random.integers(0, 256, 12)
        try:
            film = decoded(broken.tobytes())
        except PictureError:
            continue
        assert film.nbytes <= films.MEMORY_BYTES


def test_a_file_is_known_by_its_first_bytes() -> None:
    from PIL import Image as Pil

    assert is_film(reel())
    assert is_film(reel(form="webm"))
    for kind in ("JPEG", "PNG", "WEBP"):
        assert not is_film(encoded(Pil.new("RGB", (8, 8)), kind))
    assert not is_film(b"")


@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("size", [(640, 360), (360, 640), (170, 130)])
@pytest.mark.parametrize("colour", [Colour(), Colour(Matrix.BT709, full_range=True)])
def test_every_size_and_meaning_is_filled(fit: Fit, size: tuple[int, int], colour: Colour) -> None:
    film = decoded(reel((GREEN,), each=2))
    planes = fitted_frame(film, 0, fit, size, colour, PlaneCache())
    assert planes.size == size
    assert planes.colour == colour
    rgb = np.full((size[1], size[0], 3), GREEN, np.uint8)
    from service.frame.background import planes_of_rgb

    ideal = planes_of_rgb(rgb, colour)
    middle = [plane[plane.shape[0] // 2, plane.shape[1] // 2] for plane in planes.each()]
    wanted = [plane[0, 0] for plane in ideal.each()]
    assert np.abs(np.subtract(middle, wanted, dtype=int)).max() <= 4
    if fit is Fit.COVER:
        assert int(np.ptp(planes.y)) <= 4


def test_the_films_own_size_is_played_without_a_copy() -> None:
    film = decoded(reel())
    for number in (0, 7):
        planes = fitted_frame(film, number, Fit.COVER, (320, 180), Colour(), PlaneCache())
        assert planes is film.frames[number]


@pytest.mark.parametrize("size", [(640, 360), (360, 640), (320, 180)])
def test_in_a_pipeline_it_plays_by_the_cameras_time(size: tuple[int, int]) -> None:
    film = decoded(reel())
    pipeline = Pipeline(KeyNetworks(), Look(Image("session"), film=film))
    corner = slice(0, size[1] // 8), slice(0, size[0] // 8)
    backgrounds: dict[int, set[bytes]] = {}
    for index in range(60):  # two seconds at 30 a second: a round and a third
        result = pipeline.process(frame_of(scene(*size), index=index))
        assert isinstance(result, Composited)
        assert result.kind is Kind.MATTE
        number = film.at(index / 30)
        color = (RED, GREEN, BLUE)[number // 5]
        shown = rgb_of(result.frame)[corner].reshape(-1, 3).astype(int)
        assert np.abs(shown.mean(axis=0) - color).max() < 12
        backgrounds.setdefault(number, set()).add(view(result.frame).y[corner].tobytes())
        result.release()
    assert len(backgrounds) == 15
    assert all(len(seen) == 1 for seen in backgrounds.values())  # bit for bit, each time round


def test_without_a_mask_the_film_goes_on_alone() -> None:
    networks = KeyNetworks()
    networks.person.answer = np.ones_like
    film = decoded(reel())
    pipeline = Pipeline(networks, Look(Image("session"), film=film))
    for index in (0, 20, 40):
        result = pipeline.process(frame_of(scene(320, 180), index=index))
        assert isinstance(result, Composited)
        assert result.kind is Kind.CLOSED
        number = film.at(index / 30)
        assert bytes_of(view(result.frame)) == bytes_of(film.frames[number])
        result.release()
    closed = pipeline.closed(320, 180)
    assert bytes_of(view(closed.frame)) == bytes_of(film.frames[film.at(40 / 30)])
