"""`service models list`: which networks are shipped, where they come from, whether they are whole.

Reads the manifest through service.frame.models and hashes the files; loads none of them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from service.errors import ModelError
from service.frame.models import Card, read_manifest, read_verified

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

MODELS_DIRECTORY = Path(__file__).resolve().parent.parent / "models"
"""The folder of the repository and of the container image."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """A manifest entry and the state of its file."""

    card: Card
    digest_ok: bool
    """False too when the file is missing."""


def shipped(directory: Path = MODELS_DIRECTORY) -> list[Shipped]:
    """Every network of a manifest. Raises ModelError when there is no manifest."""
    return [Shipped(card, _is_whole(directory, card)) for card in read_manifest(directory).values()]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `service models` takes."""
    parser.add_argument("action", choices=["list"], help="list: name, file, licence, origin")
    parser.add_argument("--directory", type=Path, default=MODELS_DIRECTORY, help="folder to read")


def run(arguments: argparse.Namespace) -> int:
    """Prints the table; the status is 1 when a file is missing or damaged."""
    models = shipped(arguments.directory)
    header = ("name", "file", "licence", "origin", "digest")
    rows = [
        (
            model.card.name,
            model.card.file,
            model.card.licence,
            model.card.origin,
            "ok" if model.digest_ok else "WRONG",
        )
        for model in models
    ]
    sys.stdout.write(table([header, *rows]))
    return 0 if all(model.digest_ok for model in models) else 1


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as aligned columns, the first row being the header."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def _is_whole(directory: Path, card: Card) -> bool:
    try:
        read_verified(directory / card.file, card.sha256)
    except ModelError:
        return False
    return True
