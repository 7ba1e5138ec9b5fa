"""The command line."""

from __future__ import annotations

import fractions
import json
import sys
from typing import TYPE_CHECKING

import av
import pytest
from av.video.frame import PictureType

from loadtest import __main__ as command
from loadtest.clip import Codec
from loadtest.stamp import Place
from tests.loadtest.conftest import SIZE

if TYPE_CHECKING:
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
    assert found["ratios"] == [pytest.approx(found["median_ratio"])]
    assert "B/A CPU per frame: " in capsys.readouterr().out


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
    load = command._load(command._parser().parse_args(["run", "--clip", str(path)]))
    assert (load.clip.width, load.clip.height, load.clip.fps) == (*SIZE, 20)
    assert (load.wish.width, load.wish.height, load.wish.fps) == (*SIZE, 20)
    assert len(load.clip.frames) == load.clip.loop_from + len(film)


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
    ],
)
def test_wrong_arguments(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        command.main(arguments)
    assert refused.value.code == 2


def test_one_server_has_one_address() -> None:
    chosen = command._parser().parse_args(["run", "--url", "http://x", "--server-command", "y"])
    with pytest.raises(SystemExit, match="not both"):
        command._target(chosen, "")


def test_defaults_name_both_servers() -> None:
    chosen = command._parser().parse_args(["compare", "--b-url", "http://x"])
    a, b = command._target(chosen, "a_"), command._target(chosen, "b_")
    assert (a.adapter, a.url) == ("backcloth", None)
    assert a.command is not None
    assert a.command.endswith("-m service serve --port {port}")
    assert (b.adapter, b.url, b.command) == ("offer", "http://x", None)


def test_what_is_read_from_the_command_line() -> None:
    chosen = command._parser().parse_args(
        [
            "run",
            "--size",
            "320x180",
            "--codec",
            "vp8",
            "--mark",
            "0.2,0.3",
            "--client-cores",
            "0,2-3",
        ]
    )
    assert chosen.size == (320, 180)
    assert chosen.codec is Codec.VP8
    assert chosen.mark == Place(0.2, 0.3)
    assert chosen.client_cores == {0, 2, 3}
    assert command._parser().parse_args(["run", "--mark", "none"]).mark is None
