"""`service bench models`: what each network costs here, beside an article's figures."""

from __future__ import annotations

import argparse
import json
import shutil
from typing import TYPE_CHECKING

import pytest

from service import bench
from service.bench import ARTICLE, ARTICLE_NOTE, Missing, Row, Timing, as_table, time_model
from service.errors import ModelError
from service.modelcards import MODELS_DIRECTORY
from tests.frame.remembering import remembering

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.model

SHIPPED = ["blazeface_short", "facemesh", "selfie_landscape", "selfie_general"]
MISSING = ["posenet", "bodypix", "mobilenet_v2"]
ROWS = [*SHIPPED[:2], *MISSING, *SHIPPED[2:]]
"""The article's first, in its order."""


def call(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    return bench.run(parser.parse_args(arguments))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is shipped, and nothing that was fetched."""
    made = tmp_path_factory.mktemp("models")
    for path in (*MODELS_DIRECTORY.glob("*.onnx"), *MODELS_DIRECTORY.glob("*.toml")):
        shutil.copy(path, made / path.name)
    return made


def test_json(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert call("models", "--json", "--runs", "3", "--directory", str(folder)) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["article_note"] == ARTICLE_NOTE
    rows = {row["name"]: row for row in document["models"]}
    assert [*rows] == ROWS
    for name in SHIPPED:
        row = rows[name]
        assert row["installed"] is True
        assert 0 < row["wall_ms_median"] <= row["wall_ms_p95"]
        assert 0 < row["cpu_ms_median"] <= row["cpu_ms_p95"]
        assert row["load_ms"] > 0
        assert row["runs"] == 3
        assert row["file_bytes"] == (folder / f"{name}.onnx").stat().st_size
        assert row["parameters"] > 100_000
        assert row["mflops"] > 60
    # Its weights alone are most of the file.
    assert rows["facemesh"]["resident_bytes"] > rows["facemesh"]["file_bytes"]
    for name in MISSING:
        assert rows[name]["installed"] is False
        assert rows[name]["fetch"] == f"python -m service models fetch {name}"
    assert rows["posenet"]["article"] == {"webgl_ms": 42.5, "wasm_ms": 173.9, "cpu_ms": 1514.7}
    assert rows["selfie_landscape"]["article"] is None
    assert {name for name in rows if rows[name]["article"]} == {*ARTICLE}


def test_table(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert call("models", "--runs", "1", "--directory", str(folder)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("name ")
    assert lines[0].endswith("article: WebGL  Wasm   CPU")
    rows = [line.split() for line in lines[1:8]]
    assert [row[0] for row in rows] == ROWS
    assert len({len(row) for row in rows}) == 1
    assert rows[0][-3:] == ["22.5", "15.6", "315.2"]
    assert rows[2][1:] == ["-"] * 9 + ["42.5", "173.9", "1514.7"]
    assert rows[-1][-3:] == ["-", "-", "-"]
    assert ARTICLE_NOTE in lines
    assert lines[-3:] == [
        f"{name} is not installed: python -m service models fetch {name}" for name in MISSING
    ]


def test_a_network_that_remembers_is_timed_too(tmp_path: Path) -> None:
    for name in ("manifest.toml", "selfie_landscape.onnx"):
        shutil.copy(MODELS_DIRECTORY / name, tmp_path / name)
    remembering(tmp_path / "fetched", "rvm")
    timing = time_model(tmp_path, "rvm", runs=2)
    assert timing.name == "rvm"
    assert timing.file_bytes == (tmp_path / "fetched" / "rvm.onnx").stat().st_size


@pytest.mark.parametrize("runs", ["0", "-3", "many"])
def test_a_bad_number_of_runs_is_refused(runs: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        call("models", "--runs", runs)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"manifest\.toml"):
        call("models", "--directory", str(tmp_path))


def test_a_damaged_network_is_refused(tmp_path: Path) -> None:
    shutil.copy(MODELS_DIRECTORY / "manifest.toml", tmp_path)
    with pytest.raises(ModelError, match=r"blazeface_short\.onnx|selfie_landscape\.onnx"):
        call("models", "--runs", "1", "--directory", str(tmp_path))


def test_it_does_without_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench, "STATM", tmp_path / "absent")
    timing = time_model(MODELS_DIRECTORY, "facemesh", runs=1)
    assert isinstance(timing, Timing)
    assert timing.resident_bytes is None
    rows: list[Row] = [timing, Missing("posenet", "get it")]
    assert as_table(rows).splitlines()[1].split()[6] == "-"


def test_p95_is_a_value_that_occurred() -> None:
    assert bench._p95([3.0]) == 3.0
    assert bench._p95([float(value) for value in range(100, 0, -1)]) == 95.0
    assert bench._p95([float(value) for value in range(1, 21)]) == 19.0
