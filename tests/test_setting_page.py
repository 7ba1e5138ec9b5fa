"""docs/settings.md is what the code makes of it; the command shows what is in effect, no secret."""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from service.setting_page import SECTIONS, add_arguments, describe, in_effect, run
from service.settings import Settings

if TYPE_CHECKING:
    import pytest

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
KEY = "hush-hush-hush-hush"


def rows() -> dict[str, list[str]]:
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `BACKCLOTH_")
    ]
    return {row[0].strip("`"): row for row in cells}


def test_the_page_is_the_one_that_the_command_makes(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert run(parser.parse_args(["--markdown"])) == 0
    assert capsys.readouterr().out == PAGE.read_text(encoding="utf-8"), (
        "run: python -m service settings --markdown > docs/settings.md"
    )


def test_every_setting_has_its_line() -> None:
    found = rows()
    fields = {f"BACKCLOTH_{one.name.upper()}" for one in dataclasses.fields(Settings)}
    assert set(found) == fields
    assert {len(row) for row in found.values()} == {6}
    assert all(row[1] != "``" and row[3] and row[5] for row in found.values())
    assert {one.name for one in describe()} >= set(SECTIONS)


def test_units_and_files() -> None:
    found = rows()
    assert found["BACKCLOTH_JWT_LEEWAY_S"][1:4] == ["`30`", "s", "0 to 300 s"]
    assert found["BACKCLOTH_MAX_PICTURE_BYTES"][2] == "bytes"
    assert found["BACKCLOTH_API_KEYS"][4] == "yes"
    assert found["BACKCLOTH_PORT"][4] == ""
    numbers = [one for one in describe() if " to " in one.limits and one.limits[0].isdigit()]
    assert [one.variable for one in numbers if not one.unit] == ["BACKCLOTH_PORT"]


def test_another_setting_is_called_by_its_variable() -> None:
    assert "above `BACKCLOTH_SILENCE_SUSPEND_S`" in rows()["BACKCLOTH_SILENCE_END_S"][3]


def test_what_is_in_effect(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    shown = in_effect(
        {
            "BACKCLOTH_API_KEYS_FILE": str(keys),
            "BACKCLOTH_TOKEN_SECRETS": KEY * 2,
            "BACKCLOTH_UDP_PORTS": "50000-50009",
            "BACKCLOTH_CODECS": "vp8",
            "BACKCLOTH_JWT_LEEWAY_S": "0.5",
        }
    ).splitlines()
    assert "BACKCLOTH_API_KEYS=(set)  # from BACKCLOTH_API_KEYS_FILE" in shown
    assert "BACKCLOTH_TOKEN_SECRETS=(set)  # from BACKCLOTH_TOKEN_SECRETS" in shown
    assert "BACKCLOTH_UDP_PORTS=50000-50009  # from BACKCLOTH_UDP_PORTS" in shown
    assert "BACKCLOTH_CODECS=vp8  # from BACKCLOTH_CODECS" in shown
    assert "BACKCLOTH_JWT_LEEWAY_S=0.5  # from BACKCLOTH_JWT_LEEWAY_S" in shown
    assert "BACKCLOTH_PORT=8080" in shown
    assert "hush" not in "".join(shown)


def test_a_wrong_environment_is_told_as_at_the_start() -> None:
    command = [sys.executable, "-m", "service", "settings"]
    done = subprocess.run(
        command, env={"BACKCLOTH_PORT": "http"}, cwd=PAGE.parents[1], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "BACKCLOTH_PORT: 'http' is not a whole number (allowed: 0 to 65535)" in done.stderr
