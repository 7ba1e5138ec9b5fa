"""Gets a network that is not shipped and converts it: what `service models fetch` runs.

    python models/fetch.py NAME... [--from PATH] --output DIR

Needs the packages of requirements/models.txt; TensorFlow is not needed. fetchable.toml says what
there is, `obtain` gets the files, `tfjs_graph` converts, `content` checks weights whose files
cannot be pinned. The ONNX file and the manifest of DIR are each replaced in one step.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from content import content_of
from js_bundle import exported_bytes, exported_object
from manifest import MANIFEST_NAME, Entry, Tensor, read, render
from obtain import File, ObtainError, from_address, from_package, from_path
from onnx_graph import IMAGE, MINUS_ONE_TO_ONE, ZERO_TO_ONE, Converted
from onnx_source import read_chain
from tfjs_graph import convert, read_model
from tfjs_recipe import Output, Recipe, State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tfjs_source import Source

HERE = Path(__file__).resolve().parent
FETCHABLE_NAME = "fetchable.toml"
LOCK_NAME = ".lock"
NORMALISATIONS = {"0..1": ZERO_TO_ONE, "-1..1": MINUS_ONE_TO_ONE}
HEADER = """\
# Written by models/fetch.py: fetch a network anew to change its entry.
# mflops: millions of floating-point operations of the convolutions, a multiply-add counts as two.
# range: lowest and highest value of a tensor.
# origin.sha256: of the file of weights, or of the weights themselves (models/content.py).
"""

Described = dict[str, Any]


class FetchError(Exception):
    """What was obtained is not the network that fetchable.toml describes."""


def main() -> int:
    """Entry point; the exit status is 1 when the network cannot be had."""
    known = fetchable()
    parser = argparse.ArgumentParser(description="Get and convert networks that are not shipped.")
    parser.add_argument("names", nargs="+", choices=known, metavar="NAME")
    parser.add_argument("--from", dest="path", type=Path, help="a copy of one's own of its files")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args()
    status = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.names:
            try:
                files = obtain(known[name]["source"], arguments.path, Path(folder))
                fetch(known[name], files, arguments.output)
            except (ObtainError, FetchError) as error:
                sys.stderr.write(f"{name}: {error}\n")
                status = 1
    return status


def fetchable() -> dict[str, Described]:
    """The entries of fetchable.toml by name."""
    with (HERE / FETCHABLE_NAME).open("rb") as stream:
        return {entry["name"]: entry for entry in tomllib.load(stream)["model"]}


def obtain(source: Mapping[str, Any], path: Path | None, folder: Path) -> list[bytes]:
    """The published files of a network, from a path of one's own where there is one.

    folder: where a package is kept, for the next network that comes in it.
    """
    files = [File(item["path"], item.get("sha256")) for item in source["files"]]
    if path is not None:
        return from_path(path, files)
    if "package" in source:
        return from_package(source["package"], files, folder)
    return from_address(source["address"], files)


def fetch(described: Described, files: Sequence[bytes], output: Path) -> None:
    """Writes one network's ONNX file to a folder and enters it into the folder's manifest.

    Raises FetchError when the files do not hold it.
    """
    try:
        source = _source(described, files)
        converted = convert(source, _recipe(described))
    except (ValueError, KeyError, TypeError, NotImplementedError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise FetchError(f"the files do not hold the expected network: {reason}") from error
    digest = _origin_digest(described["source"], files, converted)
    data = converted.model.SerializeToString(deterministic=True)
    output.mkdir(parents=True, exist_ok=True)
    entry = _entry(described, converted, hashlib.sha256(data).hexdigest(), digest)
    _replace(output / entry.file, data)
    enter(output, entry)


def enter(folder: Path, entry: Entry) -> None:
    """Puts an entry into a folder's manifest, in place of the one of that name."""
    with (folder / LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two fetches at once must not lose each other's entry
        known = read(folder) if (folder / MANIFEST_NAME).exists() else []
        entries = [other for other in known if other.name != entry.name]
        text = render([*entries, entry], HEADER)
        _replace(folder / MANIFEST_NAME, text.encode("utf-8"))


def _source(described: Described, files: Sequence[bytes]) -> Source:
    """The network in the files: an ONNX file, a bundle of scripts, or a model.json with weights."""
    first = files[0]
    if first.lstrip()[:1] == b"{":
        return read_model(json.loads(first), files[1:])
    if len(files) == 1:
        (output,) = described["output"]
        return read_chain(first, image=described["image"]["source"], result=output["source"])
    texts = [data.decode("utf-8") for data in files]
    return read_model(exported_object(texts[0]), [exported_bytes(text) for text in texts[1:]])


def _recipe(described: Described) -> Recipe:
    return Recipe(
        name=described["name"],
        image=described["image"]["source"],
        image_shape=tuple(described["image"]["shape"]),
        normalisation=NORMALISATIONS[described["normalisation"]],
        outputs=tuple(
            Output(item["source"], item["name"], tuple(item["shape"]), item.get("sigmoid", False))
            for item in described["output"]
        ),
        states=tuple(
            State(item["source"], item["name"], tuple(item["shape"]))
            for item in described.get("state", ())
        ),
        constants=tuple(described.get("constants", {}).items()),
    )


def _origin_digest(source: Mapping[str, Any], files: Sequence[bytes], converted: Converted) -> str:
    """What the manifest names; for files without a digest it is checked here."""
    if "weights_sha256" not in source:
        return hashlib.sha256(files[-1]).hexdigest()
    content = content_of(converted.model)
    if content.sha256 != source["weights_sha256"]:
        if not content.is_close(source["weights_norm"]):
            raise FetchError(
                f"the weights are not the known ones: their digest is {content.sha256}, expected "
                f"{source['weights_sha256']}, and their norm {content.norm!r}, expected "
                f"{source['weights_norm']!r}"
            )
        sys.stderr.write("the weights are the known ones up to rounding\n")
    return content.sha256


def _entry(described: Described, converted: Converted, sha256: str, origin_sha256: str) -> Entry:
    source = described["source"]
    image = Tensor(IMAGE, converted.input_shape, "uint8", (0.0, 255.0), "RGB")
    unbounded = (float("-inf"), float("inf"))
    states = (
        Tensor(
            item["name"],
            tuple(item["shape"]),
            "float32",
            unbounded,
            "what the run before gave for it; zeros at first",
        )
        for item in described.get("state", ())
    )
    outputs = (
        Tensor(item["name"], tuple(item["shape"]), "float32", tuple(item["range"]), item["meaning"])
        for item in described["output"]
    )
    return Entry(
        name=described["name"],
        purpose=described["purpose"],
        file=f"{described['name']}.onnx",
        sha256=sha256,
        licence=described["licence"],
        parameters=converted.parameters,
        mflops=round(converted.mflops, 1),
        origin_package=source.get("package") or source["address"].rstrip("/"),
        origin_path=source["files"][-1]["path"],
        origin_sha256=origin_sha256,
        inputs=(image, *states),
        outputs=tuple(outputs),
    )


def _replace(path: Path, data: bytes) -> None:
    """Whoever opens the file finds the old one or the new one, whole."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


if __name__ == "__main__":
    sys.exit(main())
