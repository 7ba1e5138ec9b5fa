"""The command line: what is asked for, and where the tables go."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loadtest.bench import __main__ as command
from loadtest.bench.rows import SIZES, TEST_PERSON
from loadtest.bench.table import BEGIN, END
from loadtest.clip import Codec
from loadtest.stamp import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtest.bench.runs import Plan

ROOT = Path(__file__).resolve().parents[3]
NOTHING_STARTS = ["--service-command", "false", "--naive-command", "false"]


@pytest.fixture(autouse=True)
def cores() -> Iterator[None]:
    """main() keeps the process to the client's core."""
    before = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, before)


def plan_of(*arguments: str) -> Plan:
    return command._plan(command._parser().parse_args(arguments))


def test_by_default_everything_runs() -> None:
    plan = plan_of()
    assert [(row.clip, row.codec, (row.width, row.height)) for row, _ in plan.rows] == [
        (TEST_PERSON, codec, size) for codec in Codec for size in SIZES
    ]
    assert (plan.pairs, plan.seconds, plan.micro, plan.short_micro) == (5, 10, True, False)
    assert "service serve" in plan.service.where
    assert "loadtest.example_server" in plan.naive.where
    assert plan.service.cores == plan.naive.cores


def test_options() -> None:
    plan = plan_of(
        "--quick", "--clip", "a/talk.mp4", "--clip", "walk.mp4", "--codec", "vp8", "--size",
        "640x360", "--naive-command", "other {port}", "--mark", "0.4,0.5", "--no-micro",
        "--seconds", "4", "--server-core", "0",
    )  # fmt: skip
    assert [row.name for row, _ in plan.rows] == ["talk, vp8 640x360", "walk, vp8 640x360"]
    assert [film for _, film in plan.rows] == [Path("a/talk.mp4"), Path("walk.mp4")]
    assert (plan.pairs, plan.seconds, plan.micro, plan.short_micro) == (1, 4, False, True)
    assert (plan.naive.where, plan.naive.cores, plan.core) == ("other {port}", "0", 0)
    assert plan.mark == Place(0.4, 0.5)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--size", "641x360"],
        ["--size", "big"],
        ["--codec", "av1"],
        ["--pairs", "0"],
        ["--mark", "here"],
        ["--mark", "2,0.5"],
        ["--resume"],
    ],
)
def test_wrong_arguments(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        command.main(arguments)
    assert refused.value.code == 2


@pytest.mark.model
def test_failed_runs_are_in_the_page_and_in_the_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, out = tmp_path / "page.md", tmp_path / "bench.json"
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    arguments = [
        "--quick", "--no-micro", "--seconds", "1", "--size", "320x180", "--codec", "h264",
        *NOTHING_STARTS, "--page", str(page), "--json", str(out),
    ]  # fmt: skip
    assert command.main(arguments) == 1
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\nMade by `scripts/bench --quick")
    assert text.endswith(f"{END}\nafter\n")
    assert text.count("NotStarted") == 3
    assert "test person, h264 320x180" in text
    assert str(tmp_path) not in text
    written = json.loads(out.read_text())
    assert len(written["runs"]) == 4
    assert written["about"]["seconds"] == 1
    assert "**Failed**" in capsys.readouterr().out

    # With other options the file is not gone on from, and stays as it is.
    assert command.main([*arguments, "--resume", "--pairs", "2"]) == 1
    assert "other options" in capsys.readouterr().err
    assert json.loads(out.read_text()) == written


def test_a_page_without_markers_is_found_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing here\n")
    assert command.main([*NOTHING_STARTS, "--page", str(page)]) == 1
    assert BEGIN in capsys.readouterr().err


def test_the_projects_own_page_has_the_place() -> None:
    text = command.PAGE.read_text()
    assert text.index(BEGIN) < text.index(END)


def test_the_script() -> None:
    done = subprocess.run(
        [ROOT / "scripts" / "bench", "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "--naive-command" in done.stdout
