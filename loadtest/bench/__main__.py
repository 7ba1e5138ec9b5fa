"""The command line of the bench: `scripts/bench`, or `python -m loadtest.bench`.

runs.py runs it; this reads the options and writes the tables.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from loadtest.adapters import ADAPTERS
from loadtest.bench import about
from loadtest.bench.ledger import Ledger, WrongLedger
from loadtest.bench.rows import SIZES, rows_of
from loadtest.bench.runs import Plan, bench
from loadtest.bench.table import NoMarkers, spliced, tables_of
from loadtest.client import clients_on_loopback
from loadtest.clip import Codec
from loadtest.machine import ROOT, portable
from loadtest.options import positive
from loadtest.server import Target
from loadtest.stamp import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVICE_COMMAND = f"{sys.executable} -m service serve --port {{port}}"
NAIVE_COMMAND = f"{sys.executable} -m loadtest.example_server --port {{port}}"
PAGE = ROOT / "docs" / "performance.md"
PAIRS, QUICK_PAIRS = 5, 1
SECONDS, QUICK_SECONDS = 10, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0; 1 where a run failed, or with `--strict` where a target was missed or noise
    left it open; 2 for wrong arguments."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    chosen = parser.parse_args(given)
    if chosen.resume and chosen.json is None:
        parser.error("--resume needs --json FILE")
    clients_on_loopback()
    if chosen.client_core is not None:
        os.sched_setaffinity(0, {chosen.client_core})
    plan = _plan(chosen)
    setup = {
        "pairs": plan.pairs,
        "seconds": plan.seconds,
        "naive": portable(plan.naive.where),
        "server_core": chosen.server_core,
        "client_core": chosen.client_core,
        "awake": plan.awake,
    }
    try:
        if chosen.page is not None:
            spliced(chosen.page.read_text(), "")  # at the end would be late to find it missing
        ledger = Ledger.resumed(chosen.json, setup) if chosen.resume else Ledger(chosen.json, setup)
        ledger.content["about"] = about.described(given) | setup
        summaries = uvloop.run(bench(plan, ledger, _tell))
        tables = tables_of(
            summaries, ledger.content["about"], ledger.content["micro"], ledger.failures
        )
        _tell(f"\n{tables}")
        if chosen.page is not None:
            chosen.page.write_text(spliced(chosen.page.read_text(), tables))
    except (WrongLedger, NoMarkers, OSError) as exc:
        sys.stderr.write(f"bench: {exc}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    reached = all(
        verdict is not False for one in summaries for verdict in one.verdicts.values()
    ) and not any(one.noisy for one in summaries)
    return 1 if ledger.failures or (chosen.strict and not reached) else 0


def _parser() -> argparse.ArgumentParser:
    allowed = sorted(os.sched_getaffinity(0))
    two = len(allowed) > 1
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="This service beside the naive way and beside the floor."
    )
    add = parser.add_argument
    add("--clip", type=Path, action="append", default=[], help="a film; repeatable (default: a "
        "drawn test person)")  # fmt: skip
    add("--codec", type=Codec, action="append", default=[], help="h264 or vp8; repeatable "
        "(default: both)")  # fmt: skip
    add("--size", type=_size, action="append", default=[], help="WIDTHxHEIGHT; repeatable "
        "(default: 640x360 and 1280x720)")  # fmt: skip
    add("--pairs", type=positive, help=f"runs of each, in alternation (default: {PAIRS})")
    add("--seconds", type=positive, help=f"measured in each run (default: {SECONDS})")
    add("--quick", action="store_true", help="one pair of 3 s, nothing to quote")
    add("--naive-command", default=NAIVE_COMMAND, metavar="COMMAND", help="another naive server; "
        "{port} becomes a port; it answers GET /healthz")  # fmt: skip
    add("--naive-adapter", choices=sorted(ADAPTERS), default="offer", help="how it is called")
    add("--service-command", default=SERVICE_COMMAND, metavar="COMMAND", help="another Backcloth")
    add("--server-core", type=int, default=allowed[0] if two else None, metavar="N",
        help="the servers' and the floor's core (default: the first of two)")  # fmt: skip
    add("--client-core", type=int, default=allowed[1] if two else None, metavar="N",
        help="the client's core (default: the second)")  # fmt: skip
    add("--awake", action="store_true", help="keep the servers' core from halting between two "
        "frames, with a process of the idle class")  # fmt: skip
    add("--mark", type=_place, default=Place(), metavar="X,Y", help="where frame numbers are drawn "
        "in the lead-in, on the person (default: 0.5,0.66)")  # fmt: skip
    add("--no-micro", action="store_true", help="leave out the micro-benchmarks")
    add("--json", type=Path, metavar="FILE", help="every run, as it is made, and the summary")
    add(
        "--resume",
        action="store_true",
        help="go on from what --json FILE has: what failed or was noisy runs again",
    )
    add("--page", type=Path, nargs="?", const=PAGE, metavar="FILE", help="write the tables between "
        "its markers (docs/performance.md)")  # fmt: skip
    add("--strict", action="store_true", help="a missed target is a failure, and so is noise")
    return parser


def _plan(chosen: argparse.Namespace) -> Plan:
    core = None if chosen.server_core is None else str(chosen.server_core)
    rows = rows_of(chosen.clip, chosen.codec or list(Codec), chosen.size or SIZES)
    return Plan(
        rows=tuple(rows),
        service=Target("backcloth", chosen.service_command, cores=core),
        naive=Target(chosen.naive_adapter, chosen.naive_command, cores=core),
        pairs=chosen.pairs or (QUICK_PAIRS if chosen.quick else PAIRS),
        seconds=chosen.seconds or (QUICK_SECONDS if chosen.quick else SECONDS),
        core=chosen.server_core,
        awake=chosen.awake,
        mark=chosen.mark,
        micro=not chosen.no_micro,
        short_micro=chosen.quick,
    )


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{3,4})x(\d{3,4})", text)
    if match is None or int(match[1]) % 2 or int(match[2]) % 2:
        raise argparse.ArgumentTypeError("must be WIDTHxHEIGHT, both even")
    return int(match[1]), int(match[2])


def _place(text: str) -> Place:
    x, _, y = text.partition(",")
    return Place(float(x), float(y))  # a ValueError is a wrong argument


if __name__ == "__main__":
    sys.exit(main())
