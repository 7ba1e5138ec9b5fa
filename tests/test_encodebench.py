"""`bench encode` over a made clip: what stays costs fewer bits than what trembles."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from service.encodebench import SHOWN
from tests.evaluation.films import walk
from tests.test_framebench import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_row_for_each_background(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walk(tmp_path, "walk", 4)
    assert main(["encode", str(tmp_path / "walk.mp4")]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[1:3] for row in rows[: len(SHOWN)]] == [["640x360", shown] for shown in SHOWN]
    assert len(rows) == 2 * len(SHOWN)
    assert all(row[4] == row[7] == row[9] == "1.00" for row in rows[:: len(SHOWN)])


def test_what_stays_bit_for_bit_is_cheap(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    walk(tmp_path, "walk", 12)
    assert main(["encode", str(tmp_path / "walk.mp4"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["encode"]
    for width in (640, 1280):
        by_shown = {row["shown"]: row for row in rows if row["width"] == width}
        assert set(by_shown) == set(SHOWN)
        assert all(row["frames"] == 12 and row["live_ms"] > 0 for row in by_shown.values())
        assert by_shown["image"]["fixed_kbps"] < by_shown["trembling"]["fixed_kbps"]
        assert by_shown["color"]["fixed_kbps"] < by_shown["none"]["fixed_kbps"]


def test_a_clip_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    assert main(["encode", str(tmp_path / "text.mp4")]) == 1
    assert "text.mp4" in capsys.readouterr().err
