"""`bench effects` over a made clip: a row for each option, beside the effect without it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from service.effectbench import BASES, Cost, as_table
from tests.evaluation.films import walk
from tests.test_framebench import main

if TYPE_CHECKING:
    from pathlib import Path


def test_a_row_for_each_effect_as_json_and_as_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    walk(tmp_path, "walk", 4)
    assert main(["effects", str(tmp_path / "walk.mp4"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["effects"]
    assert len(rows) == 2 * (len(BASES) + 2)
    by_name = {row["effect"]: row for row in rows if row["width"] == 640}
    for name, row in by_name.items():
        base = by_name[BASES.get(name, name)]
        assert row["frames"] == 4
        assert row["compose_ratio"] == pytest.approx(row["compose_ms"] / base["compose_ms"])
    assert by_name["color"]["encode_ratio"] == 1.0
    lines = [line.split() for line in as_table([Cost(**row) for row in rows]).splitlines()]
    assert ["walk", "640x360", "falloff", "blur"] in [line[:4] for line in lines]
