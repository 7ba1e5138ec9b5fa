"""The command from its options to its table, its JSON and its exit status."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.evaluation import command
from service.evaluation.figures import NAMES
from service.evaluation.report import HEADER
from tests.evaluation.films import still, walk

ROOT = Path(__file__).parents[2]
FRAMES = 8


def run(*options: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(option) for option in options]))


def without_times(document: dict[str, Any]) -> dict[str, Any]:
    """Everything but what differs from run to run."""
    means = [document["mean"], document["mean_of_stills"]]
    for figures in [one["figures"] for one in document["clips"] + document["stills"]] + means:
        for of_method in figures.values():
            assert of_method.pop("cpu_ms") > 0
    return document


@pytest.mark.model
def test_the_command_line_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The real networks, in processes of their own and in this one: the same figures."""
    for name in ("first", "second"):
        walk(tmp_path, name, FRAMES)
    still(tmp_path, "portrait")
    outside, inside, strips = tmp_path / "2.json", tmp_path / "1.json", tmp_path / "strips"
    options = [tmp_path, "--plain", "--model", "hybrid", "--model", "selfie"]
    more = ["--jobs", "2", "--json", outside, "--strips", strips]
    done = subprocess.run(
        [sys.executable, "-m", "service", "evaluate", *map(str, [*options, *more])],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == " ".join(HEADER).split()
    assert len({len(line) for line in lines}) == 1  # aligned
    assert [line.split()[:2] for line in lines[1:5]] == [
        ["first", "hybrid"],
        ["first", "selfie"],
        ["first", "plain"],
        ["second", "hybrid"],
    ]
    assert len(lines) == 1 + 3 * 3 + 2 * 3
    made = {path.name for path in strips.iterdir()}
    assert made == {
        f"{name}.{method}.png"
        for name in ("first", "second", "portrait")
        for method in ("hybrid", "selfie", "plain")
    }
    assert run(*options, "--json", inside) == 0
    capsys.readouterr()
    documents = [json.loads(path.read_text()) for path in (outside, inside)]
    assert without_times(documents[0]) == without_times(documents[1])


@pytest.mark.model
def test_the_json_has_every_figure(tmp_path: Path) -> None:
    walk(tmp_path, "walk", FRAMES)
    still(tmp_path, "portrait")
    path = tmp_path / "out.json"
    assert run(tmp_path, "--plain", "--skip", 2, "--limit", 6, "--json", path) == 0
    document = json.loads(path.read_text())
    assert set(document) == {
        *("effects", "skip", "limit", "clips", "stills", "mean", "mean_of_stills", "failed")
    }
    assert document["effects"]["hybrid"]["type"] == "color"
    assert (document["skip"], document["limit"], document["failed"]) == (2, 6, [])
    (clip,), (portrait,) = document["clips"], document["stills"]
    assert {key: clip[key] for key in ("name", "still", "width", "height", "frames")} == {
        "name": "walk",
        "still": False,
        "width": 320,
        "height": 180,
        "frames": 4,
    }
    assert (portrait["name"], portrait["still"], portrait["frames"]) == ("portrait", True, 1)
    for figures in (clip["figures"], portrait["figures"]):
        assert list(figures) == ["hybrid", "plain"]
        assert all(set(of_method) == set(NAMES) for of_method in figures.values())
    assert all(isinstance(value, float) for value in clip["figures"]["plain"].values())
    assert portrait["figures"]["plain"]["dtssd"] is None
    assert document["mean"] == clip["figures"]
    assert document["mean_of_stills"] == portrait["figures"]


@pytest.mark.model
def test_a_broken_clip_costs_only_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c"):
        walk(tmp_path, name, FRAMES)
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    (tmp_path / "b.alpha.mkv").write_bytes((tmp_path / "b.alpha.mkv").read_bytes()[:600])
    path = tmp_path / "out.json"
    assert run(tmp_path, "--model", "plain", "--json", path) == 1
    shown = capsys.readouterr()
    assert [line.split()[0] for line in shown.out.splitlines()] == ["clip", "c", "mean"]
    complaints = shown.err.splitlines()
    assert len(complaints) == 2
    assert "a.mp4" in complaints[0]
    assert "b.alpha.mkv" in complaints[1]
    failed = json.loads(path.read_text())["failed"]
    assert [one["name"] for one in failed] == ["a", "b"]
    assert [f"evaluate: {one['error']}" for one in failed] == complaints


@pytest.mark.model
def test_markdown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    walk(tmp_path, "walk", FRAMES)
    assert run(tmp_path, "--model", "plain", "--markdown") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| clip | method | MAD |")
    assert lines[1].startswith("| --- | --- | ---: |")
    assert [line.split(" | ")[:2] for line in lines[2:]] == [
        ["| walk", "plain"],
        ["| mean of clips", "plain"],
    ]
    assert len({line.count("|") for line in lines}) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--effect", "{"], "not JSON"),
        (["--effect", '{"type": "none"}'], "no matte"),
        (["--effect", '{"type": "image", "background": "no-such-picture"}'], "--background"),
        (["--strips", str(ROOT / "strips")], "pictures of people"),
        pytest.param(
            ["--json", "/nowhere/out.json", "--model", "plain"],
            "cannot be written",
            marks=pytest.mark.model,
        ),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    still(tmp_path, "portrait")
    assert run(tmp_path, *options) == 1
    assert message in capsys.readouterr().err
    assert not (ROOT / "strips").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [("--skip", "-1"), ("--limit", "0"), ("--jobs", "65"), ("--worst", "21"), ("--skip", "two")],
)
def test_numbers_have_limits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str
) -> None:
    with pytest.raises(SystemExit):
        run(tmp_path, option, value)
    assert f"argument {option}: must be a whole number from" in capsys.readouterr().err


def test_a_folder_without_clips_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path) == 1
    assert "has no NAME.mp4" in capsys.readouterr().err
