"""One server measured over a common span, and two of them in alternation, pair by pair, so that a
machine that is slow for a while is slow for both.

The sessions are those of load.py; what they gave is boiled down to one line of figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.clients import AIORTC
from loadtest.figures import Comparison, Measurement
from loadtest.load import Plan, load
from loadtest.profiles import AtOnce
from loadtest.results import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.adapters import Wish
    from loadtest.clip import EncodedClip
    from loadtest.results import LoadResult, Second
    from loadtest.server import Target


class NothingBack(Exception):
    """A session was not opened, gave nothing back, or ended too early to be measured."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is put on a server."""

    clip: EncodedClip
    wish: Wish
    sessions: int
    seconds: float
    "Measured, after the warm-up."
    client: str = AIORTC
    "Kind of peer, one of clients.CLIENTS."


async def measure(
    target: Target, what: Load, *, tell: Callable[[Second], None] = lambda _: None
) -> Measurement:
    """Raises NotStarted, NoQuota or NothingBack. The server's /metrics are not read meanwhile."""
    plan = Plan(
        clip=what.clip,
        clip_name="",
        wish=what.wish,
        profile=AtOnce(what.sessions),
        seconds=what.seconds,
        together=True,
        scrape=False,
        client=what.client,
    )
    return _boiled_down(await load(target, plan, tell=tell))


async def compare(
    first: Target,
    second: Target,
    what: Load,
    *,
    runs: int,
    tell: Callable[[str], None],
    what_second: Load | None = None,
) -> Comparison:
    """`runs` pairs, each beginning with the other server than the last. `what_second`: what is put
    on the second, where it is not the same."""
    pairs: list[tuple[Measurement, Measurement]] = []
    for run in range(runs):
        order = [(first, what), (second, what_second or what)]
        if run % 2:
            order.reverse()
        results = [await measure(*one) for one in order]
        if run % 2:
            results.reverse()
        a, b = results
        pairs.append((a, b))
        tell(f"pair {run + 1}\n  A {a.as_line()}\n  B {b.as_line()}")
    return Comparison(tuple(pairs))


def _boiled_down(result: LoadResult) -> Measurement:
    unlike = [one for one in result.sessions if one.outcome is not Outcome.LIVE]
    if unlike:
        reasons = "; ".join(sorted({one.why for one in unlike}))
        raise NothingBack(f"{len(unlike)} of {len(result.sessions)} sessions: {reasons}")
    if any(not one.measured_s for one in result.sessions):
        raise NothingBack("a session was not warm before the end of the measured span")
    setup, totals = result.setup, result.totals
    return Measurement(
        target=setup.target,
        codec=setup.codec,
        width=setup.width,
        height=setup.height,
        fps=setup.fps,
        sessions=len(result.sessions),
        seconds=totals.seconds,
        returned_frames=totals.frames_counted,
        returned_fps=tuple(one.fps or 0.0 for one in result.sessions),
        latency_ms=totals.latency_ms,
        pairing="assumed" if totals.assumed else "picture",
        verified=sum(one.verified > 0 for one in result.sessions),
        server_cpu_seconds=totals.server_cpu_seconds,
        client_cpu_seconds=totals.client_cpu_seconds,
        sent_kbps=round(totals.sent_kbps or 0.0, 1),
        returned_kbps=round(totals.back_kbps or 0.0, 1),
    )
