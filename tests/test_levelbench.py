"""`bench levels` over a made clip: every level is there, and the lowest sends next to nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from service.policy.levels import LADDER
from tests.evaluation.films import walk
from tests.test_framebench import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_row_for_each_level(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walk(tmp_path, "walk", 4)
    assert main(["levels", str(tmp_path / "walk.mp4")]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert len(rows) == 2 * 3 * len(LADDER)
    assert [row[1:4] for row in rows[: len(LADDER)]] == [
        ["640x360", "color", level.value] for level in LADDER
    ]
    assert all(row[8:10] == ["1.00", "1.00"] for row in rows[:: len(LADDER)])


def test_the_same_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walk(tmp_path, "walk", 4)
    assert main(["levels", str(tmp_path / "walk.mp4"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["levels"]
    assert {row["frames"] for row in rows} == {4}
    for row in rows:
        parts = row["decode_ms"] + row["compose_ms"] + row["encode_ms"]
        assert parts == row["total_ms"] > 0
    by_level = {row["level"]: row for row in rows if row["effect"] == "color"}
    assert by_level["fewer"]["kbps"] < by_level["smaller"]["kbps"]
    # No model runs there, whatever is in the picture.
    assert by_level["background"]["compose_ms"] < 0.5 * by_level["full"]["compose_ms"]


def test_a_clip_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    assert main(["levels", str(tmp_path / "text.mp4")]) == 1
    assert "text.mp4" in capsys.readouterr().err
    assert main(["levels"]) == 2
    assert "bench levels" in capsys.readouterr().err
