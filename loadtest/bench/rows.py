"""What is run: a row for each clip, codec and size, and what is expected of it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from aiortc.codecs import h264, vpx

from loadtest import clip as clips
from loadtest.cache import default_clip
from loadtest.clip import Codec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from loadtest.clip import EncodedClip
    from loadtest.stamp import Place

FPS = 30
SIZES = ((640, 360), (1280, 720))
TEST_PERSON = "test person"
"""The name of the clip that is drawn."""


class Kind(Enum):
    """One of the things that take turns within a pair."""

    COLOR = "color"
    "Backcloth, a colour behind the person."
    NONE = "none"
    "The same session without an effect: decoded, encoded and sent back."
    NAIVE = "naive"
    FLOOR = "floor"


@dataclass(frozen=True, slots=True)
class Row:
    """One load."""

    clip: str
    codec: Codec
    width: int
    height: int

    @property
    def name(self) -> str:
        return f"{self.clip}, {self.codec.value} {self.width}x{self.height}"

    @property
    def bitrate_bps(self) -> int:
        """What both servers are told that the receiver takes: what a camera of that size is sent
        with, unless stock aiortc does not go that high."""
        most = h264.MAX_BITRATE if self.codec is Codec.H264 else vpx.MAX_BITRATE
        return min(most, clips.camera_bitrate_bps(self.width, self.height))


@dataclass(frozen=True, slots=True)
class Target:
    """What a row has to reach."""

    naive_ratio: float
    "CPU per returned frame of the naive server over Backcloth's, at least."
    floor_ratio: float
    "Backcloth's over the floor's, at most; so are the others."
    effect_points: float
    "Percent of one core: effect color minus effect none."
    none_percent: float
    "Percent of one core: effect none."
    p50_ms: float
    p99_ms: float


def target_of(row: Row) -> Target | None:
    """None for a size of which nothing is said."""
    if (row.width, row.height) not in SIZES:
        return None
    small = (row.width, row.height) == SIZES[0]
    h264_ratio = 3.0 if small else 3.5
    return Target(
        naive_ratio=h264_ratio if row.codec is Codec.H264 else 2.2,
        floor_ratio=1.25 if small else 1.15,
        effect_points=6.0 if small else 9.0,
        none_percent=11.0 if small else 22.0,
        p50_ms=12.0 if small else 20.0,
        p99_ms=40.0,
    )


def rows_of(
    films: Sequence[Path], codecs: Sequence[Codec], sizes: Sequence[tuple[int, int]]
) -> Iterator[tuple[Row, Path | None]]:
    """The rows in order, each with its film; without films, of the test person."""
    given: Sequence[Path | None] = films or (None,)
    for film, codec, size in itertools.product(given, codecs, sizes):
        yield Row(TEST_PERSON if film is None else film.stem, codec, *size), film


def clip_of(row: Row, film: Path | None, place: Place) -> EncodedClip:
    """What the clients of a row send."""
    size = (row.width, row.height)
    if film is None:
        return default_clip(size, row.codec, FPS, place=place)
    return clips.prepare(clips.filmed(film, size, clips.LOOP_S * FPS), row.codec, FPS, place=place)


def order(kinds: Sequence[Kind], pair: int) -> Sequence[Kind]:
    """Each pair begins with what the last one ended with: a machine that warms up or slows down
    does so for all."""
    return kinds if pair % 2 == 0 else kinds[::-1]
