"""`service models list` tells what there is, what is whole and what can be fetched."""

from __future__ import annotations

import argparse
import shutil
from typing import TYPE_CHECKING

import pytest

from service import modelcards
from service.errors import ModelError
from service.frame.models import FETCHABLE_NAME, MANIFEST_NAME
from service.modelcards import MODELS_DIRECTORY, installed, table
from tests.frame.remembering import remembering

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.model

NAMES = ["selfie_landscape", "selfie_general", "blazeface_short", "facemesh"]
FETCHABLE = ["posenet", "bodypix", "rvm", "mobilenet_v2"]


def call(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    modelcards.add_arguments(parser)
    return modelcards.run(parser.parse_args(arguments))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is shipped, and nothing that was fetched."""
    for path in (*MODELS_DIRECTORY.glob("*.onnx"), *MODELS_DIRECTORY.glob("*.toml")):
        shutil.copy(path, tmp_path / path.name)
    return tmp_path


def test_list_names_every_model(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert call("list", "--directory", str(folder)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "file", "licence", "origin", "state"]
    assert [line.split()[0] for line in lines[1:]] == [*NAMES, *FETCHABLE]
    assert all("mediapipe==0.10.14/" in line for line in lines[1:5])
    assert all(line.endswith("  shipped") for line in lines[1:5])
    for name, line in zip(FETCHABLE, lines[5:], strict=True):
        assert line.endswith(f"  not installed: models fetch {name}")


def test_list_tells_of_what_was_fetched(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    remembering(folder / "fetched", "posenet")
    assert call("list", "--directory", str(folder)) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["posenet"].endswith("  fetched")
    assert "tests/remembering.py" in lines["posenet"]
    assert lines["rvm"].endswith("models fetch rvm")


def test_list_tells_of_damaged_and_missing_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in (MANIFEST_NAME, "facemesh.onnx", "selfie_general.onnx"):
        shutil.copy(MODELS_DIRECTORY / name, tmp_path / name)
    with (tmp_path / "facemesh.onnx").open("ab") as stream:
        stream.write(b"\0")
    states = {model.card.name: model.digest_ok for model in installed(tmp_path)}
    assert [name for name, whole in states.items() if whole] == ["selfie_general"]
    assert call("list", "--directory", str(tmp_path)) == 1
    said = capsys.readouterr().out
    assert said.count("WRONG DIGEST") == 1
    assert said.count("MISSING") == 2


def test_fetch_takes_names_or_all(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"name what to fetch: posenet, bodypix, rvm, .*, all"):
        call("fetch", "--directory", str(folder))
    with pytest.raises(ModelError, match="no network 'selfie_general' to fetch"):
        call("fetch", "selfie_general", "--directory", str(folder))
    with pytest.raises(ModelError, match=r"--accept-licence is needed\. rvm: "):
        call("fetch", "all", "--directory", str(folder))
    with pytest.raises(ModelError, match="--from is a copy of one network"):
        call("fetch", "all", "--from", str(tmp_path / "x"), "--directory", str(folder))
    assert (folder / FETCHABLE_NAME).exists()
    assert not (folder / "fetched").exists()


@pytest.mark.parametrize("extra", [["posenet"], ["--from", "x"], ["--accept-licence"]])
def test_list_takes_nothing_of_fetchs(extra: list[str]) -> None:
    with pytest.raises(ModelError, match="models list takes no more than --directory"):
        call("list", *extra)


def test_table_aligns_columns() -> None:
    assert table([("a", "bb"), ("ccc", "d")]) == "a    bb\nccc  d\n"
