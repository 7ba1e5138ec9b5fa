"""The command line's options, and what is read from them."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest import clip as clips
from loadtest import quota
from loadtest.adapters import ADAPTERS, Wish
from loadtest.cache import default_clip
from loadtest.clients import AIORTC, CLIENTS, WRTC
from loadtest.load import Plan
from loadtest.profiles import AtOnce, Poisson, Profile, Ramp
from loadtest.results import Slo
from loadtest.server import Target
from loadtest.stamp import Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.clip import EncodedClip

ABOUT = """Real WebRTC sessions against a server that sends video back, measured from outside.

Latency is exact, frame by frame: from the moment a frame's last packet is handed to the client's
transport until the packet that ends the same frame is back. Frames are matched by the distances of
their RTP timestamps, which servers keep; the first match is found by numbers drawn on the person in
a lead-in of two seconds, which is not measured. Each half minute, and when a session ends, numbers
are played and read again, to see that the match still holds: a result says how often it did.
"""
COMMANDS = {
    "backcloth": f"{shlex.quote(sys.executable)} -m service serve --port {{port}}",
    "offer": f"{shlex.quote(sys.executable)} -m loadtest.example_server --port {{port}}",
}
"""What is started for an adapter when no server is named; both from the project's folder."""
DEFAULT_SIZE = (640, 360)
DEFAULT_FPS = 30
DEFAULT_CLIP = "test person in a room"
SOAK_S = 1200
"""Runs of this length are judged for what creeps, and rehearsed."""
REHEARSAL_SESSIONS = 2
LONGEST_RUN_S = 86_400


def add_target(parser: argparse.ArgumentParser, *, prefix: str, adapter: str) -> None:
    """The options of one server."""
    letter = prefix[:1].upper()
    which = f" of server {letter}" if prefix else ""
    group = parser.add_argument_group(f"server {letter}" if prefix else "server")
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
    group.add_argument(
        f"--{prefix}server-env",
        action="append",
        default=[],
        type=_assignment,
        metavar="NAME=VALUE",
        help=f"in its environment; repeatable{which}",
    )
    group.add_argument(f"--{prefix}url", help=f"where it runs already{which}")
    group.add_argument(
        f"--{prefix}server-pid", type=positive, help=f"its process, for CPU by --{prefix}url"
    )
    if prefix:
        group.add_argument(
            f"--{prefix}effect",
            type=_object,
            metavar="JSON",
            help="effect of its sessions (default: --effect)",
        )


def add_place(parser: argparse.ArgumentParser) -> None:
    """Where server and client run."""
    group = parser.add_argument_group("placement")
    group.add_argument("--server-cores", metavar="LIST", help="cores for the server, e.g. 0")
    group.add_argument(
        "--server-quota",
        type=_checked(quota.in_cores),
        metavar="CORES",
        help="CPU quota of the server's process tree, in a cgroup of its own, e.g. 0.5",
    )
    group.add_argument("--client-cores", type=_cores, metavar="LIST", help="cores for the client")


def add_media(parser: argparse.ArgumentParser) -> None:
    """What is sent."""
    group = parser.add_argument_group("media")
    group.add_argument("--clip", type=Path, help="a film (default: a test person in a room)")
    group.add_argument("--size", type=_size, help="WIDTHxHEIGHT (default: the film's, or 640x360)")
    group.add_argument("--fps", type=positive, help="frames a second (default: the film's, or 30)")
    group.add_argument(
        "--codec", type=clips.Codec, help="h264 or vp8 (default: h264; vp8 for the client wrtc)"
    )
    group.add_argument(
        "--client",
        choices=CLIENTS,
        default=AIORTC,
        help="kind of peer (default: aiortc); wrtc is libwebrtc in Node, which python -m "
        "loadtest.wrtc installs: it encodes, adapts to the connection and decodes as browsers do",
    )
    group.add_argument(
        "--effect",
        type=_object,
        default={"type": "color", "color": "#00b140"},
        metavar="JSON",
        help='effect of the sessions (default: {"type":"color","color":"#00b140"})',
    )
    group.add_argument(
        "--mark",
        type=_place,
        default=Place(),
        metavar="X,Y",
        help="where frame numbers are drawn in the lead-in, shares of width and height, on the "
        "person (default: 0.5,0.66); 'none' pairs the first frame back with the first sent",
    )


def add_span(parser: argparse.ArgumentParser) -> None:
    """For commands that measure a common span."""
    parser.add_argument("--sessions", type=positive, default=1, help="sessions at once")
    parser.add_argument("--seconds", type=seconds, default=10.0, help="measured, after a warm-up")


def add_arrivals(parser: argparse.ArgumentParser) -> None:
    """For `load`."""
    group = parser.add_argument_group("arrivals")
    group.add_argument(
        "--profile",
        choices=("at-once", "ramp", "poisson"),
        default="at-once",
        help="when sessions come (default: at-once)",
    )
    group.add_argument("--sessions", type=positive, help="in all (default: 1; poisson: no limit)")
    group.add_argument(
        "--seconds",
        type=seconds,
        help="of the run, from the first request; then all leave (default: 30; poisson with "
        "--sessions: until the last has left)",
    )
    group.add_argument(
        "--every", type=_span, default=1.0, metavar="S", help="ramp: between arrivals (default: 1)"
    )
    group.add_argument(
        "--rate", type=_span, default=0.1, metavar="PER_S", help="poisson: arrivals (default: 0.1)"
    )
    group.add_argument(
        "--mean-stay", type=_span, default=60.0, metavar="S", help="poisson (default: 60)"
    )
    group.add_argument("--seed", type=int, default=1, help="poisson: of its chance (default: 1)")
    group.add_argument(
        "--quota-change",
        type=_checked(quota.change),
        action="append",
        default=[],
        metavar="AT_S:CORES",
        help="changes the server's CPU quota while the run goes on; repeatable",
    )
    group.add_argument(
        "--rehearse",
        type=int,
        metavar="N",
        help="sessions that come and go before anything is measured, so that what is made at "
        f"first use is there (default: {REHEARSAL_SESSIONS} in runs of {SOAK_S} s and more)",
    )


def add_limits(parser: argparse.ArgumentParser) -> None:
    """For commands that judge."""
    usual = Slo()
    group = parser.add_argument_group("service level objective, of each session")
    group.add_argument(
        "--slo-fps",
        type=float,
        default=usual.least_fps_share,
        metavar="SHARE",
        help=f"least frames back of frames sent (default: {usual.least_fps_share:g})",
    )
    group.add_argument(
        "--slo-p95",
        type=_span,
        default=usual.p95_ms,
        metavar="MS",
        help=f"most latency at the 95th percentile (default: {usual.p95_ms:g})",
    )
    group.add_argument(
        "--slo-freezes",
        type=int,
        default=usual.freezes,
        metavar="N",
        help="most freezes; one is a gap between frames back of more than three frame intervals "
        f"and more than 150 ms (default: {usual.freezes})",
    )


def add_client(parser: argparse.ArgumentParser) -> None:
    """For commands that open many sessions."""
    parser.add_argument(
        "--client-processes",
        type=positive,
        default=1,
        metavar="K",
        help="processes that share the sessions, where one event loop is not enough (default: 1)",
    )


def target_of(chosen: argparse.Namespace, prefix: str = "") -> Target:
    """The server; leaves the program where the options contradict each other."""
    adapter = getattr(chosen, f"{prefix}adapter")
    command = getattr(chosen, f"{prefix}server_command")
    url = getattr(chosen, f"{prefix}url")
    environ = dict(getattr(chosen, f"{prefix}server_env"))
    option = prefix.replace("_", "-")
    if command is not None and url is not None:
        raise SystemExit(f"loadtest: give --{option}server-command or --{option}url, not both")
    if url is not None and (environ or chosen.server_quota or chosen.server_cores):
        raise SystemExit(
            f"loadtest: a server that runs already (--{option}url) has its environment, cores and "
            "quota already"
        )
    return Target(
        adapter=adapter,
        command=None if url is not None else command or COMMANDS[adapter],
        url=url,
        pid=getattr(chosen, f"{prefix}server_pid"),
        cores=chosen.server_cores,
        quota=chosen.server_quota,
        environ=environ,
    )


def clip_of(chosen: argparse.Namespace) -> EncodedClip:
    """What the options ask for, encoded."""
    codec = chosen.codec or (clips.Codec.VP8 if chosen.client == WRTC else clips.Codec.H264)
    fps = chosen.fps or (clips.rate_of(chosen.clip) if chosen.clip else DEFAULT_FPS)
    if chosen.clip is None:
        return default_clip(chosen.size or DEFAULT_SIZE, codec, fps, place=chosen.mark)
    film = clips.filmed(chosen.clip, chosen.size, clips.LOOP_S * fps)
    return clips.prepare(film, codec, fps, place=chosen.mark)


def wish_of(clip: EncodedClip, effect: dict[str, object]) -> Wish:
    return Wish(effect=effect, width=clip.width, height=clip.height, fps=clip.fps)


def profile_of(chosen: argparse.Namespace) -> Profile:
    """When sessions come."""
    if chosen.profile == "poisson":
        return Poisson(chosen.rate, chosen.mean_stay, chosen.seed, chosen.sessions)
    sessions = chosen.sessions or 1
    return AtOnce(sessions) if chosen.profile == "at-once" else Ramp(sessions, chosen.every)


def plan_of(
    chosen: argparse.Namespace, profile: Profile, seconds: float | None, *, together: bool
) -> Plan:
    """A load, as far as the commands share it."""
    clip = clip_of(chosen)
    soaking = not together and seconds is not None and seconds >= SOAK_S
    rehearsal = getattr(chosen, "rehearse", None)
    if rehearsal is None:
        rehearsal = REHEARSAL_SESSIONS if soaking else 0
    return Plan(
        clip=clip,
        clip_name=chosen.clip.name if chosen.clip else DEFAULT_CLIP,
        wish=wish_of(clip, chosen.effect),
        profile=profile,
        seconds=seconds,
        together=together,
        slo=Slo(chosen.slo_fps, chosen.slo_p95, chosen.slo_freezes),
        client=chosen.client,
        processes=chosen.client_processes,
        client_cores=None
        if chosen.client_cores is None
        else ",".join(str(core) for core in sorted(chosen.client_cores)),
        quota_changes=tuple(getattr(chosen, "quota_change", ())),
        rehearsal=rehearsal,
        command_line=shlex.join(["python", "-m", "loadtest", *chosen.words]),
    )


def positive(text: str) -> int:
    """An argument type: 1 or more."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def seconds(text: str) -> float:
    """An argument type: 1 s to a day."""
    if not 1 <= (value := float(text)) <= LONGEST_RUN_S:
        raise argparse.ArgumentTypeError(f"must be 1 to {LONGEST_RUN_S} s")
    return value


def _span(text: str) -> float:
    if not ((value := float(text)) > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError("must be above 0")
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


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError("must be NAME=VALUE")
    return name, value


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
    if not cores <= os.sched_getaffinity(0):
        raise argparse.ArgumentTypeError("this machine, or this process, has not all of those")
    return cores


def _checked(read: Callable[[str], object]) -> Callable[[str], object]:
    """An argument type whose errors are told as they are."""

    def checked(text: str) -> object:
        try:
            return read(text)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from None

    return checked
