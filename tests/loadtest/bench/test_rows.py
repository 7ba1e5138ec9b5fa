"""Which rows there are, what each must reach, and who goes first."""

from __future__ import annotations

import fractions
from pathlib import Path

import av
import numpy as np
import pytest
from aiortc.codecs import vpx

from loadtest.bench.rows import (
    FPS,
    SIZES,
    TEST_PERSON,
    Kind,
    Row,
    clip_of,
    order,
    rows_of,
    target_of,
)
from loadtest.clip import Codec, camera_bitrate_bps
from loadtest.stamp import Place


def test_rows_of_films() -> None:
    films = [Path("a/talk.mp4"), Path("b/walk.mp4")]
    rows = list(rows_of(films, list(Codec), SIZES))
    assert len(rows) == len({row for row, _ in rows}) == 8
    assert rows[0] == (Row("talk", Codec.H264, 640, 360), films[0])
    assert rows[-1] == (Row("walk", Codec.VP8, 1280, 720), films[1])


def test_without_films_it_is_the_test_person() -> None:
    ((row, film),) = rows_of([], [Codec.VP8], SIZES[:1])
    assert (row.clip, film) == (TEST_PERSON, None)
    assert row.name == "test person, vp8 640x360"


@pytest.mark.parametrize(
    ("codec", "size", "ratio", "floor", "points", "none", "p50"),
    [
        (Codec.H264, (640, 360), 3.0, 1.25, 6, 11, 12),
        (Codec.H264, (1280, 720), 3.5, 1.15, 9, 22, 20),
        (Codec.VP8, (640, 360), 2.2, 1.25, 6, 11, 12),
        (Codec.VP8, (1280, 720), 2.2, 1.15, 9, 22, 20),
    ],
)
def test_targets(
    codec: Codec,
    size: tuple[int, int],
    ratio: float,
    floor: float,
    points: float,
    none: float,
    p50: float,
) -> None:
    target = target_of(Row("talk", codec, *size))
    assert target is not None
    assert (target.naive_ratio, target.floor_ratio, target.p99_ms) == (ratio, floor, 40)
    assert (target.effect_points, target.none_percent, target.p50_ms) == (points, none, p50)


def test_another_size_has_no_target() -> None:
    assert target_of(Row("talk", Codec.H264, 320, 180)) is None


def test_both_servers_are_told_what_stock_aiortc_can_follow() -> None:
    for width, height in SIZES:
        wanted = camera_bitrate_bps(width, height)
        assert Row("talk", Codec.H264, width, height).bitrate_bps == wanted
        assert Row("talk", Codec.VP8, width, height).bitrate_bps == min(wanted, vpx.MAX_BITRATE)


def test_a_pair_begins_with_what_the_last_one_ended_with() -> None:
    first, second, third = (list(order(list(Kind), pair)) for pair in range(3))
    assert first == list(Kind) == third
    assert second == first[::-1]


def test_a_film_is_cut_to_the_rows_size(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(6):
            grey = np.full((240, 320, 3), 40 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base = number, fractions.Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    clip = clip_of(Row("film", Codec.H264, 640, 360), path, Place())
    assert (clip.width, clip.height, clip.fps) == (640, 360, FPS)
    assert len(clip.frames) == clip.loop_from + 6
    assert clip.numbered == clip.loop_from
