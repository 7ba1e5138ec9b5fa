"""What was measured, as a table for the eye, as Markdown for docs/quality.md, and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from service.evaluation.figures import NAMES, Figures, mean
from service.policy.effects import effect_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from service.evaluation.measure import Failed, Measured, Plan

TITLES: Final = ("MAD", "MSE", "IoU", "band", "leak", "hole", "dtSSD", "CPU ms")
DIGITS: Final = (1, 1, 1, 0, 2, 2, 2, 2)
"""After the point, of each figure of NAMES."""
FIGURE_WIDTH: Final = 7
MEANS: Final = {False: "mean of clips", True: "mean of stills"}

Row = tuple[str, ...]
HEADER: Final[Row] = ("clip", "method", *TITLES)


def rows_of(one: Measured) -> list[Row]:
    """A row a method: its clip, its name, its figures."""
    return [(one.name, method, *_cells(figures)) for method, figures in one.figures.items()]


def means(measured: Sequence[Measured], *, still: bool) -> dict[str, Figures]:
    """By method, over clips or over stills, each counting the same; empty without any."""
    those = [one.figures for one in measured if one.still is still]
    return {name: mean(figures[name] for figures in those) for name in (those[0] if those else ())}


def mean_rows(measured: Sequence[Measured], *, still: bool) -> list[Row]:
    return [
        (MEANS[still], method, *_cells(figures))
        for method, figures in means(measured, still=still).items()
    ]


def widths(names: Iterable[str], methods: Iterable[str]) -> tuple[int, int]:
    """Of the first two columns, known before anything is measured."""
    return (
        max(map(len, (HEADER[0], *MEANS.values(), *names))),
        max(map(len, (HEADER[1], *methods))),
    )


def aligned(row: Row, first_widths: tuple[int, int]) -> str:
    """One line of the table on a terminal."""
    firsts = (f"{cell:{width}}" for cell, width in zip(row, first_widths, strict=False))
    return " ".join([*firsts, *(f"{cell:>{FIGURE_WIDTH}}" for cell in row[2:])])


def markdown(rows: Sequence[Row]) -> str:
    """The whole table; the first row is its header."""
    lines = [rows[0], ("---", "---", *("---:",) * len(TITLES)), *rows[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def document(measured: Sequence[Measured], failed: Sequence[Failed], plan: Plan) -> dict[str, Any]:
    """Everything as JSON takes it; a figure that could not be measured is null."""
    return {
        "effects": {name: effect_json(look.effect) for name, look in plan.looks.items()},
        "skip": plan.skip,
        "limit": plan.limit,
        "clips": [asdict(one) for one in measured if not one.still],
        "stills": [asdict(one) for one in measured if one.still],
        "mean": {name: asdict(one) for name, one in means(measured, still=False).items()},
        "mean_of_stills": {name: asdict(one) for name, one in means(measured, still=True).items()},
        "failed": [asdict(one) for one in failed],
    }


def _cells(figures: Figures) -> list[str]:
    values = (getattr(figures, name) for name in NAMES)
    return [
        "-" if value is None else f"{value:.{digits}f}"
        for value, digits in zip(values, DIGITS, strict=True)
    ]
