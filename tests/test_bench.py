"""The command lines about models: what they cost, and which ones are shipped."""

from __future__ import annotations

import argparse
import json
import shutil
from typing import TYPE_CHECKING

import pytest

from service import bench, modelcards
from service.errors import ModelError
from service.modelcards import MODELS_DIRECTORY, shipped, table

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

pytestmark = pytest.mark.model

NAMES = ["selfie_landscape", "selfie_general", "blazeface_short", "facemesh"]


def call(module: ModuleType, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    status = module.run(parser.parse_args(arguments))
    assert isinstance(status, int)
    return status


def test_bench_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(bench, "models", "--json", "--runs", "3") == 0
    timings = json.loads(capsys.readouterr().out)["models"]
    assert [timing["name"] for timing in timings] == NAMES
    for timing in timings:
        assert 0 < timing["wall_ms_median"] <= timing["wall_ms_p95"]
        assert 0 < timing["cpu_ms_median"] <= timing["cpu_ms_p95"]
        assert timing["load_ms"] > 0
        assert timing["runs"] == 3
        path = MODELS_DIRECTORY / f"{timing['name']}.onnx"
        assert timing["file_bytes"] == path.stat().st_size
        assert timing["parameters"] > 100_000
        assert isinstance(timing["resident_bytes"], int)


def test_bench_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(bench, "models", "--runs", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("name ")
    assert lines[0].endswith("MFLOPs")
    assert [line.split()[0] for line in lines[1:]] == NAMES
    assert len({len(line.split()) for line in lines[1:]}) == 1


@pytest.mark.parametrize("runs", ["0", "-3", "many"])
def test_bench_refuses_a_bad_number_of_runs(runs: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        call(bench, "models", "--runs", runs)


def test_bench_refuses_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"manifest\.toml"):
        call(bench, "models", "--directory", str(tmp_path))


def test_bench_does_without_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench, "STATM", tmp_path / "absent")
    timings = bench.time_models(MODELS_DIRECTORY, runs=1)
    assert [timing.resident_bytes for timing in timings] == [None] * len(NAMES)
    assert " - " in bench.as_table(timings)


def test_p95_is_a_value_that_occurred() -> None:
    assert bench._p95([3.0]) == 3.0
    assert bench._p95([float(value) for value in range(100, 0, -1)]) == 95.0
    assert bench._p95([float(value) for value in range(1, 21)]) == 19.0


def test_list_names_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(modelcards, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "file", "licence", "origin", "digest"]
    assert [line.split()[0] for line in lines[1:]] == NAMES
    assert all("mediapipe==0.10.14/" in line for line in lines[1:])
    assert all(line.endswith("  ok") for line in lines[1:])


def test_list_tells_of_damaged_and_missing_files(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("manifest.toml", "facemesh.onnx", "selfie_general.onnx"):
        shutil.copy(MODELS_DIRECTORY / name, tmp_path / name)
    with (tmp_path / "facemesh.onnx").open("ab") as stream:
        stream.write(b"\0")
    states = {model.card.name: model.digest_ok for model in shipped(tmp_path)}
    assert [name for name, whole in states.items() if whole] == ["selfie_general"]
    assert call(modelcards, "list", "--directory", str(tmp_path)) == 1
    assert capsys.readouterr().out.count("WRONG") == 3


def test_table_aligns_columns() -> None:
    assert table([("a", "bb"), ("ccc", "d")]) == "a    bb\nccc  d\n"
