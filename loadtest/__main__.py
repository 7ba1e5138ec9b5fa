"""The command line: `python -m loadtest run|compare`."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from loadtest import clip as clips
from loadtest.adapters import ADAPTERS, Refused, Wish
from loadtest.run import Load, NothingBack, Target, clients_on_loopback, compare, measure
from loadtest.server import NotStarted
from loadtest.stamp import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "backcloth": f"{sys.executable} -m service serve --port {{port}}",
    "offer": f"{sys.executable} -m loadtest.example_server --port {{port}}",
}
"""What is started for an adapter when no server is named; both from the project's folder."""
DEFAULT_SIZE = (640, 360)
DEFAULT_FPS = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.client_cores is not None:
        os.sched_setaffinity(0, chosen.client_cores)
    clients_on_loopback()
    try:
        load = _load(chosen)
        report = uvloop.run(chosen.run(chosen, load))
    except (NotStarted, Refused, NothingBack, ConnectionError, TimeoutError, OSError) as exc:
        sys.stderr.write(f"loadtest: {type(exc).__name__}: {exc}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    one = commands.add_parser("run", help="one run against one server")
    _add_target(one, prefix="", adapter="backcloth")
    _add_load(one)
    one.set_defaults(run=_run)

    two = commands.add_parser("compare", help="two servers in alternation")
    _add_target(two, prefix="a-", adapter="backcloth")
    _add_target(two, prefix="b-", adapter="offer")
    two.add_argument("--runs", type=_positive, default=5, help="pairs of runs")
    _add_load(two)
    two.set_defaults(run=_compare)
    return parser


def _add_target(parser: argparse.ArgumentParser, *, prefix: str, adapter: str) -> None:
    which = f" of server {prefix[0].upper()}" if prefix else ""
    group = parser.add_argument_group(f"server {prefix[0].upper()}" if prefix else "server")
    group.add_argument(
        f"--{prefix}adapter",
        choices=sorted(ADAPTERS),
        default=adapter,
        help=f"API{which} (default: {adapter})",
    )
    group.add_argument(
        f"--{prefix}server-command",
        metavar="COMMAND",
        help=f"starts it; {{port}} is replaced by a free port (default: this project's service "
        f"or, for the adapter offer, loadtest.example_server){which}",
    )
    group.add_argument(f"--{prefix}url", help=f"where it runs already{which}")
    group.add_argument(
        f"--{prefix}server-pid", type=_positive, help=f"its process, for CPU by --{prefix}url"
    )


def _add_load(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("load")
    group.add_argument("--clip", type=Path, help="a film (default: a test person in a room)")
    group.add_argument("--size", type=_size, help="WIDTHxHEIGHT (default: the film's, or 640x360)")
    group.add_argument("--fps", type=_positive, help="frames a second (default: the film's, or 30)")
    group.add_argument("--codec", type=clips.Codec, default=clips.Codec.H264, help="h264 or vp8")
    group.add_argument(
        "--effect",
        type=_object,
        default={"type": "color", "color": "#00b140"},
        metavar="JSON",
        help='effect of the sessions (default: {"type":"color","color":"#00b140"})',
    )
    group.add_argument("--sessions", type=_positive, default=1, help="sessions at once")
    group.add_argument("--seconds", type=_seconds, default=10.0, help="measured, after a warm-up")
    group.add_argument(
        "--mark",
        type=_place,
        default=Place(),
        metavar="X,Y",
        help="where frame numbers are drawn in the lead-in, shares of width and height, on the "
        "person (default: 0.5,0.66); 'none' pairs the first frame back with the first sent",
    )
    group.add_argument("--server-cores", metavar="LIST", help="cores for the server, e.g. 0")
    group.add_argument("--client-cores", type=_cores, metavar="LIST", help="cores for the client")
    group.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")


async def _run(chosen: argparse.Namespace, load: Load) -> dict[str, object]:
    result = await measure(_target(chosen, ""), load)
    sys.stdout.write(result.as_line() + "\n")
    return result.as_json()


async def _compare(chosen: argparse.Namespace, load: Load) -> dict[str, object]:
    def tell(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    pairs, ratios = await compare(
        _target(chosen, "a_"), _target(chosen, "b_"), load, runs=chosen.runs, tell=tell
    )
    tell("CPU was not measured" if ratios is None else f"B/A CPU per frame: {ratios}")
    return {
        "pairs": [{"a": a.as_json(), "b": b.as_json()} for a, b in pairs],
        "ratios": None if ratios is None else [round(ratio, 3) for ratio in ratios.pairs],
        "median_ratio": None if ratios is None else round(ratios.median, 3),
    }


def _target(chosen: argparse.Namespace, prefix: str) -> Target:
    adapter = getattr(chosen, f"{prefix}adapter")
    command = getattr(chosen, f"{prefix}server_command")
    url = getattr(chosen, f"{prefix}url")
    if command is not None and url is not None:
        option = prefix.replace("_", "-")
        raise SystemExit(f"loadtest: give --{option}server-command or --{option}url, not both")
    if url is None:
        command = command or COMMANDS[adapter]
    return Target(
        adapter=adapter,
        command=command,
        url=url,
        pid=getattr(chosen, f"{prefix}server_pid"),
        cores=chosen.server_cores,
    )


def _load(chosen: argparse.Namespace) -> Load:
    fps = chosen.fps or (clips.rate_of(chosen.clip) if chosen.clip else DEFAULT_FPS)
    film = (
        clips.filmed(chosen.clip, chosen.size, clips.LOOP_S * fps)
        if chosen.clip
        else clips.default_film(chosen.size or DEFAULT_SIZE, fps)
    )
    clip = clips.prepare(film, chosen.codec, fps, place=chosen.mark)
    return Load(
        clip=clip,
        wish=Wish(effect=chosen.effect, width=clip.width, height=clip.height, fps=fps),
        sessions=chosen.sessions,
        seconds=chosen.seconds,
    )


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _seconds(text: str) -> float:
    if not 1 <= (value := float(text)) <= 3600:
        raise argparse.ArgumentTypeError("must be 1 to 3600 s")
    return value


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text)
    if match is None or int(match[1]) % 2 or int(match[2]) % 2:
        raise argparse.ArgumentTypeError("must be WIDTHxHEIGHT, both even")
    return int(match[1]), int(match[2])


def _object(text: str) -> dict[str, object]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("must be a JSON object")
    return value


def _place(text: str) -> Place | None:
    if text == "none":
        return None
    x, _, y = text.partition(",")
    return Place(float(x), float(y))


def _cores(text: str) -> set[int]:
    cores: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        cores |= set(range(int(first), int(last or first) + 1))
    return cores


if __name__ == "__main__":
    sys.exit(main())
