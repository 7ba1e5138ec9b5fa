"""`bench frames` over a made clip: every column is there, and the ratio is of one run."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from service import bench
from tests.evaluation.films import walk

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    return bench.run(parser.parse_args(arguments))


def test_a_table_with_a_mean_of_each_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    walk(tmp_path, "walk", 6)
    assert main(["frames", str(tmp_path / "walk.mp4")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert [line.split()[:2] for line in lines[1:]] == [
        ["walk", "640x360"],
        ["walk", "1280x720"],
        ["mean", "640x360"],
        ["mean", "1280x720"],
    ]


def test_the_same_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walk(tmp_path, "walk", 6)
    assert main(["frames", str(tmp_path / "walk.mp4"), "--json"]) == 0
    for row in json.loads(capsys.readouterr().out)["frames"]:
        assert row["frames"] == 6
        assert 0 < row["asked"] <= 1
        assert row["network_ms"] > 0
        parts = sum(row[f"{part}_ms"] for part in ("faces", "person", "matte", "composite"))
        assert 0.8 * row["total_ms"] < parts <= 1.05 * row["total_ms"]
        assert row["ratio"] == row["total_ms"] / row["network_ms"]


def test_a_clip_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    assert main(["frames", str(tmp_path / "text.mp4")]) == 1
    assert "text.mp4" in capsys.readouterr().err
    assert main(["frames"]) == 2
