"""Writes and checks manifest.toml, which says what each ONNX file of this folder is.

`build` fills it, and `fetch` one of its own; the service reads it (service/frame/models.py) and
trusts no file that differs.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MANIFEST_NAME = "manifest.toml"

HEADER = """\
# Written by models/build.py: change a recipe there, not this file.
# mflops: millions of floating-point operations of the convolutions, a multiply-add counts as two.
# range: lowest and highest value of a tensor.
"""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a network."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    range: tuple[float, float]
    meaning: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One network."""

    name: str
    purpose: str
    file: str
    sha256: str
    licence: str
    parameters: int
    mflops: float
    origin_package: str
    origin_path: str
    origin_sha256: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def render(entries: Sequence[Entry], header: str = HEADER) -> str:
    """The text of manifest.toml."""
    return header + "".join(_render_entry(entry) for entry in entries)


def read(folder: Path) -> list[Entry]:
    """The entries of a folder's manifest, as `render` took them."""
    with (folder / MANIFEST_NAME).open("rb") as stream:
        return [_entry(item) for item in tomllib.load(stream)["model"]]


def check(folder: Path) -> list[str]:
    """What is wrong with the ONNX files of `folder`; empty when all have the manifest's digest."""
    with (folder / MANIFEST_NAME).open("rb") as stream:
        entries = tomllib.load(stream)["model"]
    faults = []
    for entry in entries:
        path = folder / entry["file"]
        if not path.is_file():
            faults.append(f"{path}: missing")
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != entry["sha256"]:
            faults.append(f"{path}: sha256 is {digest}, the manifest says {entry['sha256']}")
    return faults


def _entry(item: Mapping[str, Any]) -> Entry:
    plain = ("name", "purpose", "file", "sha256", "licence", "parameters", "mflops")
    return Entry(
        **{key: item[key] for key in plain},
        **{f"origin_{key}": item["origin"][key] for key in ("package", "path", "sha256")},
        inputs=tuple(_tensor(tensor) for tensor in item["input"]),
        outputs=tuple(_tensor(tensor) for tensor in item["output"]),
    )


def _tensor(item: Mapping[str, Any]) -> Tensor:
    low, high = item["range"]
    return Tensor(item["name"], tuple(item["shape"]), item["dtype"], (low, high), item["meaning"])


def _render_entry(entry: Entry) -> str:
    lines = [
        "",
        "[[model]]",
        f"name = {_text(entry.name)}",
        f"purpose = {_text(entry.purpose)}",
        f"file = {_text(entry.file)}",
        f"sha256 = {_text(entry.sha256)}",
        f"licence = {_text(entry.licence)}",
        f"parameters = {entry.parameters}",
        f"mflops = {entry.mflops}",
        f"origin.package = {_text(entry.origin_package)}",
        f"origin.path = {_text(entry.origin_path)}",
        f"origin.sha256 = {_text(entry.origin_sha256)}",
    ]
    for table, tensors in (("input", entry.inputs), ("output", entry.outputs)):
        for tensor in tensors:
            lines += [
                f"[[model.{table}]]",
                f"name = {_text(tensor.name)}",
                f"shape = {list(tensor.shape)}",
                f"dtype = {_text(tensor.dtype)}",
                f"range = [{tensor.range[0]}, {tensor.range[1]}]",
                f"meaning = {_text(tensor.meaning)}",
            ]
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    # A JSON string of printable ASCII is also a TOML basic string.
    return json.dumps(value)
