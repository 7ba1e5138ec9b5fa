"""A frame's number as a row of black and white cells, drawn where the picture survives the server.

client.py reads it from a returned picture to know which sent frame that is. Two guard cells (white,
black) give the levels, ten cells the number, one the parity: a row that is covered, blurred or
blended away is not read at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BITS = 10
NUMBERS = 1 << BITS
CELLS = 2 + BITS + 1
BLACK, WHITE = 30, 220
"""Within limited range, and far enough from its ends to stay there when encoded."""
LEAST_CONTRAST = 70
"""Between the guard cells; half of what is drawn has then been lost."""
MARGIN_SHARE = 0.5
"""Rim around the cells, of a cell: its own contrast must not depend on what is beside it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the row's centre is, as shares of the picture's width and height."""

    x: float = 0.5
    y: float = 0.66

    def __post_init__(self) -> None:
        if not (0 <= self.x <= 1 and 0 <= self.y <= 1):
            raise ValueError("a place is two shares from 0 to 1")


def draw(luma: NDArray[np.uint8], number: int, place: Place) -> None:
    """Draws into an H x W luma plane, in place."""
    height, width = luma.shape
    cell_px, left, top = grid(height, width, place)
    margin_px = round(cell_px * MARGIN_SHARE)
    grey = (BLACK + WHITE) // 2
    luma[top - margin_px : top + cell_px + margin_px, left - margin_px : left + CELLS * cell_px] = (
        grey
    )
    luma[
        top - margin_px : top + cell_px + margin_px,
        left + CELLS * cell_px : left + CELLS * cell_px + margin_px,
    ] = grey
    for index, white in enumerate(_cells(number % NUMBERS)):
        start = left + index * cell_px
        luma[top : top + cell_px, start : start + cell_px] = WHITE if white else BLACK


def read(luma: NDArray[np.uint8], place: Place) -> int | None:
    """The number in an H x W luma plane, or None when there is none to be read."""
    height, width = luma.shape
    cell_px, left, top = grid(height, width, place)
    inset_px = cell_px // 4
    levels = [
        float(
            luma[
                top + inset_px : top + cell_px - inset_px,
                left + index * cell_px + inset_px : left + (index + 1) * cell_px - inset_px,
            ].mean()
        )
        for index in range(CELLS)
    ]
    white, black = levels[0], levels[1]
    if white - black < LEAST_CONTRAST:
        return None
    middle, unclear = (white + black) / 2, (white - black) / 6
    if any(abs(level - middle) < unclear for level in levels):
        return None
    cells = [level > middle for level in levels]
    number = sum(1 << bit for bit in range(BITS) if cells[2 + bit])
    return number if cells == _cells(number) else None


def _cells(number: int) -> list[bool]:
    bits = [bool(number >> bit & 1) for bit in range(BITS)]
    # Odd parity: a row that is all black or all white is no number.
    return [True, False, *bits, sum(bits) % 2 == 0]


def grid(height: int, width: int, place: Place) -> tuple[int, int, int]:
    """Cell size, left and top in pixels, wholly inside the picture."""
    cell_px = max(4, min(width, height) // 30 // 2 * 2)
    margin_px = round(cell_px * MARGIN_SHARE)
    left = round(place.x * width - CELLS * cell_px / 2)
    top = round(place.y * height - cell_px / 2)
    left = max(margin_px, min(left, width - CELLS * cell_px - margin_px))
    top = max(margin_px, min(top, height - cell_px - margin_px))
    return cell_px, left, top
