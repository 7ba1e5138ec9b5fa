"""The ``evaluate`` command: the quality of the matte over a folder of clips with exact alpha.

Used by __main__.py, which wires the two functions at the top.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from service.clip import ROOT, look_for
from service.errors import BackclothError
from service.evaluation import report
from service.evaluation.clips import find_pairs
from service.evaluation.measure import Failed, Measured, Plan, measure_all
from service.evaluation.methods import PLAIN
from service.footage import ClipError
from service.policy.effects import MODELS, Nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from service.evaluation.clips import Pair
    from service.frame.look import Look

DEFAULT_EFFECT: Final = '{"type": "color", "color": "#00b140"}'
"""A person in front of one colour shows best what is wrong with a matte."""
DEFAULT_SKIP: Final = 5
DEFAULT_WORST: Final = 4
MOST_WORST: Final = 20
MOST_JOBS: Final = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "folder",
        type=Path,
        metavar="DIR",
        help="NAME.mp4 with NAME.alpha.mkv (FFV1, gray), NAME.jpg with NAME.png",
    )
    parser.add_argument(
        "--model",
        action="append",
        choices=[*MODELS, PLAIN],
        help="in place of the effect's own; several times for several. plain: the landscape "
        "network on the whole frame and no step besides",
    )
    parser.add_argument(
        "--every",
        type=_whole(1, 6),
        default=1,
        metavar="N",
        help="each model once more, its network asked in every Nth frame only",
    )
    parser.add_argument("--plain", action="store_true", help="the same as one more --model plain")
    parser.add_argument(
        "--effect",
        default=DEFAULT_EFFECT,
        metavar="JSON",
        help="as in the HTTP interface; default: a colour",
    )
    parser.add_argument(
        "--background", type=Path, metavar="FILE", help="the picture of an image effect"
    )
    parser.add_argument(
        "--skip",
        type=_whole(0, 10_000),
        default=DEFAULT_SKIP,
        metavar="N",
        help="frames at a clip's start that no figure counts (%(default)s)",
    )
    parser.add_argument(
        "--limit",
        type=_whole(1, 1_000_000),
        metavar="N",
        help="read no more than N frames of a clip; default: all",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there as JSON")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument(
        "--strips",
        type=Path,
        metavar="DIR",
        help="write pictures of each clip's worst frames there; they show the people of the clips",
    )
    parser.add_argument(
        "--worst",
        type=_whole(1, MOST_WORST),
        default=DEFAULT_WORST,
        metavar="N",
        help="frames in each such picture (%(default)s)",
    )
    parser.add_argument(
        "--jobs",
        type=_whole(1, MOST_JOBS),
        default=1,
        metavar="N",
        help="clips that are measured at a time, a process each (%(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """0, or 1 with a line on stderr for each thing that is wrong; the rest is measured still."""
    try:
        pairs = find_pairs(args.folder)
        plan = _plan(args)
        _make_folder(args.strips)
        measured, failed = _measured(pairs, plan, args)
        if args.json is not None:
            _write(args.json, report.document(measured, failed, plan))
    except BackclothError as exc:
        _complain(str(exc))
        return 1
    return 1 if failed else 0


def _plan(args: argparse.Namespace) -> Plan:
    names: list[str | None] = list(args.model or [None])
    looks: dict[str, Look] = {}
    for name in names:
        if name != PLAIN:
            look = look_for(args.effect, name, args.background)
            if isinstance(look.effect, Nothing):
                raise ClipError("--effect none has no matte to be measured")
            looks[look.effect.model] = look
    return Plan(
        looks=looks,
        plain=args.plain or PLAIN in names,
        every=args.every,
        skip=args.skip,
        limit=args.limit,
        strips=args.strips,
        worst=args.worst,
    )


def _measured(
    pairs: Sequence[Pair], plan: Plan, args: argparse.Namespace
) -> tuple[list[Measured], list[Failed]]:
    """Shows the rows of a clip as soon as it is done; Markdown only at the end."""
    measured: list[Measured] = []
    failed: list[Failed] = []
    rows: list[report.Row] = []
    widths = report.widths([pair.name for pair in pairs], plan.methods)

    def show(more: list[report.Row]) -> None:
        rows.extend(more)
        if not args.markdown:
            for row in more:
                print(report.aligned(row, widths), flush=True)

    show([report.HEADER])
    for outcome in measure_all(pairs, plan, args.jobs):
        if isinstance(outcome, Failed):
            failed.append(outcome)
            _complain(outcome.error)
        else:
            measured.append(outcome)
            show(report.rows_of(outcome))
    show([*report.mean_rows(measured, still=False), *report.mean_rows(measured, still=True)])
    if args.markdown:
        print(report.markdown(rows))
    return measured, failed


def _make_folder(strips: Path | None) -> None:
    """Raises ClipError where pictures of people must not or cannot be put."""
    if strips is None:
        return
    if strips.resolve().is_relative_to(ROOT):
        raise ClipError(f"--strips {strips}: pictures of people do not belong into {ROOT}")
    try:
        strips.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ClipError(f"--strips {strips} cannot be made: {exc.strerror}") from exc


def _write(path: Path, document: object) -> None:
    try:
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as exc:
        raise ClipError(f"{path} cannot be written: {exc.strerror}") from exc


def _complain(what: str) -> None:
    print(f"evaluate: {what}", file=sys.stderr, flush=True)


def _whole(least: int, most: int) -> Callable[[str], int]:
    """A type for argparse: a whole number within limits."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}")
        return value

    return parse
