"""The command line."""

from __future__ import annotations

import fractions
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import av
import pytest
from av.video.frame import PictureType

from loadtest import __main__ as command
from loadtest import options, procfs
from loadtest.clip import Codec
from loadtest.profiles import AtOnce, Poisson, Profile, Ramp
from loadtest.results import CapacityResult, LoadResult, Outcome, Slo, from_json
from loadtest.stamp import Place
from tests.loadtest.conftest import SIZE

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

ECHO = f"{sys.executable} -m tests.loadtest.echo --port {{port}}"


@pytest.mark.peer
def test_run_writes_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "figures.json"
    arguments = ["run", "--adapter", "offer", "--server-command", ECHO, "--seconds", "1"]
    assert command.main([*arguments, "--size", "320x180", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["returned_frames"] > 0
    assert found["pairing"] == "picture"
    assert capsys.readouterr().out.startswith("offer: ")


@pytest.mark.peer
def test_compare_writes_ratios(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "figures.json"
    servers = ["--a-adapter", "offer", "--a-server-command", ECHO, "--b-server-command", ECHO]
    load = ["--size", "320x180", "--seconds", "1", "--runs", "1", "--codec", "vp8"]
    assert command.main(["compare", *servers, *load, "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["cpu_ratio"]["pairs"] == [pytest.approx(found["cpu_ratio"]["median"])]
    assert found["effects"]["a"]["type"] == "color"
    assert "B/A CPU per frame: " in capsys.readouterr().out


@pytest.mark.peer
def test_load_writes_a_whole_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "result.json"
    words = ["load", "--adapter", "offer", "--server-command", ECHO, "--sessions", "2"]
    limits = ["--slo-fps", "0.3", "--slo-p95", "5000", "--slo-freezes", "99"]
    words += ["--size", "320x180", "--seconds", "6", "--json", str(out), *limits]
    assert command.main(words) == 0
    found = from_json(LoadResult, json.loads(out.read_text()))
    assert [one.outcome for one in found.sessions] == [Outcome.LIVE] * 2
    assert found.setup.command_line.startswith("python -m loadtest load --adapter offer")
    assert "  SLO held" in capsys.readouterr().out
    never = ["--slo-p95", "0.001"]
    assert command.main([*words, *never]) == command.NOT_HELD


@pytest.mark.peer
def test_capacity_writes_a_whole_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "result.json"
    words = ["capacity", "--adapter", "offer", "--server-command", ECHO, "--most", "1"]
    limits = ["--slo-fps", "0.3", "--slo-p95", "5000", "--slo-freezes", "99"]
    words += ["--size", "320x180", "--seconds", "2", "--json", str(out), *limits]
    assert command.main(words) == 0
    found = from_json(CapacityResult, json.loads(out.read_text()))
    assert (found.largest, found.bounded) == (1, False)
    shown = capsys.readouterr().out
    assert "   1 sessions: p95 " in shown
    assert "at least 1 sessions hold " in shown


@pytest.mark.peer
def test_it_is_stopped_by_hand_and_keeps_what_there_is(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    words = ["load", "--adapter", "offer", "--server-command", ECHO, "--seconds", "3600"]
    words += ["--size", "320x180", "--json", str(out)]
    process = subprocess.Popen([sys.executable, "-m", "loadtest", *words])
    try:
        deadline_s = time.monotonic() + 60
        while len(procfs.tree(process.pid)) < 2 and time.monotonic() < deadline_s:
            time.sleep(0.2)  # its server is starting: from now on ^C ends the run, not the program
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == command.STOPPED
    finally:
        if process.poll() is None:
            process.kill()
    found = from_json(LoadResult, json.loads(out.read_text()))
    assert found.interrupted


def test_a_server_that_does_not_start(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "--server-command", "sh -c 'exit 1'", "--size", "320x180", "--fps", "5"]
    assert command.main(arguments) == 1
    assert "NotStarted" in capsys.readouterr().err


def test_a_film_gives_its_own_size_and_rate(tmp_path: Path, film: list[av.VideoFrame]) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for index, picture in enumerate(film):
            picture.pts, picture.time_base = index, fractions.Fraction(1, 20)
            picture.pict_type = PictureType.NONE
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    clip = options.clip_of(parse("run", "--clip", str(path)))
    wish = options.wish_of(clip, {"type": "blur"})
    assert (clip.width, clip.height, clip.fps) == (*SIZE, 20)
    assert (wish.width, wish.height, wish.fps) == (*SIZE, 20)
    assert len(clip.frames) == clip.loop_from + len(film)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["run", "--size", "640"],
        ["run", "--size", "641x360"],
        ["run", "--codec", "av1"],
        ["run", "--sessions", "0"],
        ["run", "--seconds", "0.1"],
        ["run", "--effect", "[]"],
        ["run", "--effect", "{"],
        ["run", "--mark", "2,0.5"],
        ["run", "--adapter", "other"],
        ["run", "--server-quota", "0"],
        ["run", "--server-env", "NAME"],
        ["run", "--client-cores", "4096"],
        ["load", "--quota-change", "5"],
        ["load", "--rate", "0"],
        ["load", "--profile", "flood"],
        ["load", "--client-processes", "0"],
        ["capacity", "--most", "0"],
    ],
)
def test_wrong_arguments(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        command.main(arguments)
    assert refused.value.code == 2


def parse(*words: str) -> argparse.Namespace:
    """The options, as a command gets them."""
    chosen = command.parser().parse_args(words)
    chosen.words = list(words)
    return chosen


def test_one_server_has_one_address() -> None:
    with pytest.raises(SystemExit, match="not both"):
        options.target_of(parse("run", "--url", "http://x", "--server-command", "y"))


@pytest.mark.parametrize(
    "more", [["--server-quota", "1"], ["--server-env", "A=b"], ["--server-cores", "0"]]
)
def test_a_server_that_runs_cannot_be_placed(more: list[str]) -> None:
    with pytest.raises(SystemExit, match="runs already"):
        options.target_of(parse("run", "--url", "http://x", *more))


def test_defaults_name_both_servers() -> None:
    chosen = parse("compare", "--b-url", "http://x")
    a, b = options.target_of(chosen, "a_"), options.target_of(chosen, "b_")
    assert (a.adapter, a.url) == ("backcloth", None)
    assert a.where.endswith("-m service serve --port {port}")
    assert (b.adapter, b.url, b.command) == ("offer", "http://x", None)
    assert b.where == "http://x"


def test_where_the_server_runs() -> None:
    words = ["--server-quota", "0.5", "--server-env", "A=b=c", "--server-env", "D=e"]
    target = options.target_of(parse("load", *words))
    assert target.quota == 0.5
    assert target.environ == {"A": "b=c", "D": "e"}


def test_what_is_read_from_the_command_line() -> None:
    core = str(min(os.sched_getaffinity(0)))
    words = ["--size", "320x180", "--codec", "vp8", "--mark", "0.2,0.3", "--client-cores", core]
    chosen = parse("run", *words)
    assert chosen.size == (320, 180)
    assert chosen.codec is Codec.VP8
    assert chosen.mark == Place(0.2, 0.3)
    assert chosen.client_cores == {int(core)}
    assert parse("run", "--mark", "none").mark is None


@pytest.mark.parametrize(
    ("words", "profile"),
    [
        ([], AtOnce(1)),
        (["--sessions", "4"], AtOnce(4)),
        (["--profile", "ramp", "--sessions", "4", "--every", "0.5"], Ramp(4, 0.5)),
        (
            ["--profile", "poisson", "--rate", "2", "--mean-stay", "9", "--seed", "3"],
            Poisson(2.0, 9.0, 3, None),
        ),
    ],
)
def test_profiles(words: list[str], profile: Profile) -> None:
    assert options.profile_of(parse("load", *words)) == profile


@pytest.mark.parametrize(
    ("seconds", "words", "rehearsal"),
    [
        (60.0, [], 0),
        (3600.0, [], 2),
        (3600.0, ["--rehearse", "0"], 0),
        (9.0, ["--rehearse", "1"], 1),
    ],
)
def test_a_long_run_is_rehearsed(seconds: float, words: list[str], rehearsal: int) -> None:
    chosen = parse("load", "--size", "160x96", "--fps", "5", *words)
    plan = options.plan_of(chosen, AtOnce(1), seconds, together=False)
    assert plan.rehearsal == rehearsal
    assert plan.clip_name == options.DEFAULT_CLIP
    assert plan.slo == Slo()


def test_a_search_has_room(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["capacity", "--from", "5", "--most", "4"]) == 1
    assert "--from is above --most" in capsys.readouterr().err


def test_help_says_how_latency_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--help"])
    assert "exact, frame by frame" in capsys.readouterr().out
