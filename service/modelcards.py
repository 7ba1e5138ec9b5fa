"""`service models list|fetch`: which networks there are, where from, and whether they are whole.

Reads the manifests through service.frame.models and hashes the files; loads none of them to list
them. service/fetch.py gets those that are not shipped.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from service.errors import ModelError
from service.fetch import Fetchable, fetch, read_fetchable
from service.frame.models import Card, installed_networks, read_manifest, read_verified

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

MODELS_DIRECTORY = Path(__file__).resolve().parent.parent / "models"
"""The folder of the repository and of the container image."""
ALL = "all"
HEADER = ("name", "file", "licence", "origin", "state")


@dataclass(frozen=True, slots=True)
class Installed:
    """A manifest entry and the state of its file."""

    card: Card
    path: Path
    digest_ok: bool
    """False too when the file is missing."""
    fetched: bool


def installed(directory: Path = MODELS_DIRECTORY) -> list[Installed]:
    """Every network that is shipped or was fetched. Raises ModelError without a manifest."""
    shipped = read_manifest(directory)
    return [
        Installed(card, path, _is_whole(path, card), card.name not in shipped)
        for path, card in installed_networks(directory, shipped).values()
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `service models` takes."""
    parser.add_argument(
        "action",
        choices=["list", "fetch"],
        help="list: name, file, licence, origin, state; fetch: get networks that are not shipped",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to fetch, or: all")
    parser.add_argument(
        "--directory", type=Path, default=MODELS_DIRECTORY, help="folder of the networks"
    )
    parser.add_argument(
        "--from",
        dest="path",
        type=Path,
        metavar="PATH",
        help="fetch: a copy of one's own of the network's files, in place of a download",
    )
    parser.add_argument(
        "--accept-licence",
        action="store_true",
        help="fetch: also what is under a licence that is to be accepted by name",
    )


def run(arguments: argparse.Namespace) -> int:
    """Lists or fetches; the status is 1 when a listed file is missing or damaged."""
    directory: Path = arguments.directory
    if arguments.action == "list":
        if arguments.names or arguments.path or arguments.accept_licence:
            raise ModelError("models list takes no more than --directory")
        return _list(directory)
    known = read_fetchable(directory)
    names = list(known) if arguments.names == [ALL] else arguments.names
    if not names:
        raise ModelError(f"models fetch: name what to fetch: {', '.join([*known, ALL])}")
    fetch(directory, names, path=arguments.path, accept_licence=arguments.accept_licence)
    return 0


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as aligned columns, the first row being the header."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def _list(directory: Path) -> int:
    there = installed(directory)
    names = {network.card.name for network in there}
    missing = [entry for name, entry in read_fetchable(directory).items() if name not in names]
    rows = [*(_installed_row(network) for network in there), *map(_fetchable_row, missing)]
    sys.stdout.write(table([HEADER, *rows]))
    return 0 if all(network.digest_ok for network in there) else 1


def _installed_row(network: Installed) -> tuple[str, ...]:
    card = network.card
    if not network.digest_ok:
        state = "WRONG DIGEST" if network.path.exists() else "MISSING"
    else:
        state = "fetched" if network.fetched else "shipped"
    return card.name, card.file, card.licence, card.origin, state


def _fetchable_row(entry: Fetchable) -> tuple[str, ...]:
    state = "not installed: models fetch " + entry.name
    return entry.name, "-", entry.licence, entry.source, state


def _is_whole(path: Path, card: Card) -> bool:
    try:
        read_verified(path, card.sha256)
    except ModelError:
        return False
    return True
