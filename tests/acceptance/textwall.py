"""A wall of text behind the test person, and three ways of trying to read it when it comes back.

The reader of this module is stronger than a person: it knows the type, the place, the size and the
letters that may occur, and it may average a still wall over seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Luma = NDArray[np.floating] | NDArray[np.uint8]
LETTERS = "ABCDEFGHKLMNPRSTUVXYZ23456789"
HEIGHT_SHARES = (1 / 20, 1 / 20, 1 / 20, 1 / 14, 1 / 14, 1 / 10, 1 / 7, 1 / 5)
"""Of letters, in the picture's height: a poster's small print up to a slogan."""
CELL_SHARE = 0.9
"""Width of a letter's cell, in its height: all lines of one size are of one length."""
TEXT_WIDTH_SHARE = 0.52
PERSON_CENTRE = 0.78
WALL_LEVEL, INK_LEVEL = 235, 15
CANDIDATES = 25
"""Strings of equal length that are tried for a line, the right one among them."""
DETAIL_SHARE = 1 / 6
"""Standard deviation, in letter heights, of the low pass that is taken off: what is coarser than a
letter tells dark lines from light ones, and no letter from another."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text on the wall; pixels."""

    text: str
    left: int
    top: int
    height: int

    @property
    def cell(self) -> int:
        return max(6, round(CELL_SHARE * self.height))

    def cut(self, luma: Luma) -> NDArray[np.float32]:
        """The line's own place in a picture, with half a letter around it."""
        pad = self.height // 2
        part = luma[
            max(0, self.top - pad) : self.top + self.height + pad,
            max(0, self.left - pad) : self.left + self.cell * len(self.text) + pad,
        ]
        return part.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Wall:
    """Ink on a wall: H x W luma, and what stands there."""

    luma: NDArray[np.uint8]
    lines: tuple[Line, ...]

    @property
    def rgb(self) -> NDArray[np.uint8]:
        return np.repeat(self.luma[..., None], 3, axis=2)


def draw_wall(width: int, height: int, seed: int) -> Wall:
    random = np.random.default_rng(seed)
    lines = []
    top = round(0.03 * height)
    for share in HEIGHT_SHARES:
        letter = round(share * height)
        count = int(TEXT_WIDTH_SHARE * width / max(6, round(CELL_SHARE * letter)))
        lines.append(Line(_random_text(random, count), round(0.02 * width), top, letter))
        top += letter + max(6, letter // 3)
    assert top <= height + height // 10, "the lines do not fit"
    luma = np.full((height, width), WALL_LEVEL, np.uint8)
    for line in lines:
        _ink(luma, line, line.text)
    return Wall(luma, tuple(lines))


@dataclass(frozen=True, slots=True)
class Reading:
    """What was made of one line."""

    line: Line
    likeness: float
    "Normalised cross-correlation of the detail that came back with the detail on the wall, |0..1|."
    stroke_contrast: float
    "Levels, of 255, between where ink is and where it is not, letter by letter."
    read: bool
    "The right string won over all others."


def read_lines(wall: Wall, returned: Luma, seed: int) -> Iterator[Reading]:
    """Try to read each line in a returned luma picture (H x W)."""
    random = np.random.default_rng((seed, CANDIDATES))  # not the wall's own letters
    for line in wall.lines:
        seen = _detail(line.cut(returned), line.height)
        candidates = [_random_text(random, len(line.text)) for _ in range(CANDIDATES - 1)]
        likeness = abs(_correlation(seen, _template(wall, line, line.text)))
        # Also the other way round: an unsharp mask may have turned dark into light.
        others = [abs(_correlation(seen, _template(wall, line, text))) for text in candidates]
        yield Reading(
            line, likeness, _stroke_contrast(wall, line, returned), likeness > max(others)
        )


def most_by_chance(lines: int, *, once_in: int = 1000) -> int:
    """The most lines that blind guessing wins: more come once in that many tries, or less often."""
    chance = 1 / CANDIDATES
    beyond = 1.0
    for wins in range(lines + 1):
        beyond -= math.comb(lines, wins) * chance**wins * (1 - chance) ** (lines - wins)
        if beyond <= 1 / once_in:
            return wins
    return lines


def _template(wall: Wall, line: Line, text: str) -> NDArray[np.float32]:
    blank = np.full_like(wall.luma, WALL_LEVEL)
    _ink(blank, line, text)
    return _detail(line.cut(blank), line.height)


def _detail(part: NDArray[np.float32], letter: int) -> NDArray[np.float32]:
    coarse = cv2.GaussianBlur(part, (0, 0), DETAIL_SHARE * letter)
    return np.asarray(part - coarse, np.float32)


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    one, other = one - one.mean(), other - other.mean()
    norm = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float((one * other).sum()) / norm if norm > 1e-6 else 0.0


def _stroke_contrast(wall: Wall, line: Line, returned: Luma) -> float:
    """Median over the letters of |mean where ink is - mean where it is not|."""
    found = []
    for index in range(len(line.text)):
        left = line.left + index * line.cell
        cell = (slice(line.top, line.top + line.height), slice(left, left + line.cell))
        ink = wall.luma[cell] < (WALL_LEVEL + INK_LEVEL) // 2
        if ink.any() and not ink.all():
            found.append(abs(float(returned[cell][ink].mean() - returned[cell][~ink].mean())))
    return float(np.median(found))


def _ink(luma: NDArray[np.uint8], line: Line, text: str) -> None:
    """Each letter in the middle of its cell, its capitals as high as the line."""
    sheet = Image.fromarray(luma)
    pen = ImageDraw.Draw(sheet)
    # Capitals are about 0.72 of a type's size.
    font = ImageFont.load_default(size=line.height / 0.72)
    for index, letter in enumerate(text):
        pen.text(
            (line.left + (index + 0.5) * line.cell, line.top + line.height),
            letter,
            fill=INK_LEVEL,
            font=font,
            anchor="ms",
        )
    luma[:] = cast("NDArray[np.uint8]", np.asarray(sheet))


def _random_text(random: np.random.Generator, count: int) -> str:
    return "".join(LETTERS[index] for index in random.integers(0, len(LETTERS), count))


def summary(readings: Sequence[Reading]) -> str:
    """One line per line of text."""
    return "\n".join(
        f"{one.line.height:4d} px {one.line.text:28} likeness {one.likeness:.3f} "
        f"strokes {one.stroke_contrast:5.1f} levels {'READ' if one.read else ''}"
        for one in readings
    )
