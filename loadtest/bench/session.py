"""One measured run of the bench: a session whose returned frames are kept, and who was told what.

Beside CPU and latency it keeps the evidence that fidelity.py judges: every returned frame as it was
encoded, and the quality level that the server's own JSON gave, second by second. The receiver's
estimate (REMB) is a fixed one, so that both servers of a pair are told the same of the path and
neither is led by how the other end's estimator feels about a busy core.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from loadtest import procfs
from loadtest.adapters import ADAPTERS, Backcloth
from loadtest.bench.figures import Figures
from loadtest.client import Client
from loadtest.fidelity import Coded
from loadtest.figures import Percentiles
from loadtest.server import reached

if TYPE_CHECKING:
    from loadtest.adapters import Wish
    from loadtest.client import Line
    from loadtest.clip import EncodedClip
    from loadtest.server import Target

STAT = Path("/proc/stat")
SETTLE_S = 0.5
"""After the lead-in, which ends with a cut: what is measured is the loop."""
FIRST_RETURN_TIMEOUT_S = 20.0
LATEST_S = 1.0
"""After the span: what was sent at its end is still on its way."""
ESTIMATE_INTERVAL_S = 0.5
LEVEL_INTERVAL_S = 1.0


class NothingReturned(Exception):
    """The session was opened and no frame, or none in the measured span, came back."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Of the whole session, from its first frame on."""

    sent: tuple[int, ...]
    "Indices into the clip, in the order in which they went out."
    returned: tuple[Coded, ...]
    measured: range
    "Numbers of the frames that were sent in the measured span."


@dataclass(frozen=True, slots=True)
class Run:
    figures: Figures
    evidence: Evidence | None
    "None where it is not known which returned frame is which."


class FixedEstimate:
    """Stands where aiortc's receiver has its bandwidth estimator."""

    def __init__(self, bps: int) -> None:
        self._bps = bps
        self._due_s = 0.0

    def add(
        self, arrival_time_ms: int, abs_send_time: int, payload_size: int, ssrc: int
    ) -> tuple[int, list[int]] | None:
        """The estimate, where it is time to tell it again."""
        now_s = time.monotonic()
        if now_s < self._due_s:
            return None
        self._due_s = now_s + ESTIMATE_INTERVAL_S
        return self._bps, [ssrc]


async def run(
    target: Target,
    clip: EncodedClip,
    wish: Wish,
    *,
    seconds: float,
    estimate_bps: int,
    spinner: int | None = None,
) -> Run:
    """Start the server, one session, and end both. `spinner` is a process that disturbs nobody.

    Raises NotStarted, Refused, NothingReturned, ConnectionError, TimeoutError or OSError.
    """
    async with (
        reached(target) as server,
        aiohttp.ClientSession() as http,
    ):
        assert server.pid is not None, "the process is known, as there is CPU to be measured"
        line = ADAPTERS[target.adapter](http, server.url, wish)
        client = Client(clip, line, keep=True)
        _tell(client, estimate_bps)
        try:
            await client.start()
            await _first_back(client)
            await _lead_in_over(client, clip)
            await asyncio.sleep(SETTLE_S)
            span = await _span(client, line, http, server.url, server.pid, spinner, seconds)
            await asyncio.sleep(LATEST_S)
        finally:
            await client.close()
    return _result(client, span, estimate_bps)


@dataclass(frozen=True, slots=True)
class _Span:
    begin_s: float
    end_s: float
    cpu_s: float
    others_cpu_s: float
    "Of everything on this machine that is neither server nor client."
    returned_bytes: int
    levels: tuple[str, ...]

    def holds(self, at_s: float) -> bool:
        return self.begin_s <= at_s < self.end_s


async def _span(
    client: Client,
    line: Line,
    http: aiohttp.ClientSession,
    url: str,
    pid: int,
    spinner: int | None,
    seconds: float,
) -> _Span:
    levels: list[str] = []
    bytes_before = client.returned_bytes
    cpu_s, own_s, all_s = procfs.cpu_seconds(pid), time.process_time(), _machine_cpu_s(spinner)
    begin_s = time.monotonic()
    while (left_s := begin_s + seconds - time.monotonic()) > 0:
        if isinstance(line, Backcloth):
            levels += await _levels(http, f"{url}/v1/sessions/{line.session_id}")
        await asyncio.sleep(min(left_s, LEVEL_INTERVAL_S))
    end_s = time.monotonic()
    cpu_s = procfs.cpu_seconds(pid) - cpu_s
    own_s, all_s = time.process_time() - own_s, _machine_cpu_s(spinner) - all_s
    return _Span(
        begin_s,
        end_s,
        cpu_s,
        max(0.0, all_s - cpu_s - own_s),
        client.returned_bytes - bytes_before,
        tuple(dict.fromkeys(levels)),
    )


def _machine_cpu_s(spinner: int | None) -> float:
    """CPU time that all cores have spent on processes and interrupts since the start (proc(5)),
    but on that process."""
    user, nice, system, _idle, _wait, irq, softirq = map(int, STAT.read_text().split()[1:8])
    spent_s = (user + nice + system + irq + softirq) / procfs.TICKS_PER_S
    return spent_s if spinner is None else spent_s - procfs.cpu_seconds(spinner)


async def _levels(http: aiohttp.ClientSession, url: str) -> list[str]:
    """The quality level of each of the session's tracks."""
    async with http.get(url) as answer:
        answer.raise_for_status()
        described = await answer.json()
    return [str(track["quality_level"]) for track in described["tracks"]]


def _tell(client: Client, estimate_bps: int) -> None:
    (transceiver,) = client.connection.getTransceivers()
    receiver: Any = transceiver.receiver
    receiver._RTCRtpReceiver__remote_bitrate_estimator = FixedEstimate(estimate_bps)


async def _first_back(client: Client) -> None:
    try:
        async with asyncio.timeout(FIRST_RETURN_TIMEOUT_S):
            await client.came_back(1)
    except TimeoutError:
        raise NothingReturned("no frame came back") from None


async def _lead_in_over(client: Client, clip: EncodedClip) -> None:
    lead_in_s = clip.loop_from / clip.fps
    await asyncio.sleep(max(0.0, client.sent[0].at_s + lead_in_s - time.monotonic()))


def _result(client: Client, span: _Span, estimate_bps: int) -> Run:
    shift = client.pairing.shift
    back_s = {one.number + shift: one.at_s for one in client.returned}
    inside = [number for number, one in enumerate(client.sent) if span.holds(one.at_s)]
    in_span = sum(span.holds(at_s) for at_s in back_s.values())
    if not in_span or not inside:
        raise NothingReturned("no frame came back in the measured span")
    latencies_s = [
        at_s - client.sent[number].at_s
        for number, at_s in back_s.items()
        if span.holds(at_s) and 0 <= number < len(client.sent)
    ]
    seconds = span.end_s - span.begin_s
    kbit = 8e-3 * span.returned_bytes
    figures = Figures(
        seconds=round(seconds, 3),
        sent=len(inside),
        returned=sum(number in back_s for number in inside),
        cpu_ms_per_frame=round(1e3 * span.cpu_s / in_span, 3),
        core_percent=round(100 * span.cpu_s / seconds, 2),
        latency_ms=Percentiles.of(latencies_s),
        pairing="picture" if client.pairing.known else "assumed",
        returned_kbps=round(kbit / seconds, 1),
        kbit_per_frame=round(kbit / in_span, 3),
        estimate_kbps=round(1e-3 * estimate_bps, 1),
        levels=span.levels,
        others_percent=round(100 * span.others_cpu_s / seconds, 1),
    )
    if not client.pairing.known:
        return Run(figures, None)
    returned = tuple(Coded(one.number + shift, one.data) for one in client.coded)
    sent = tuple(one.clip_index for one in client.sent)
    return Run(figures, Evidence(sent, returned, range(inside[0], inside[-1] + 1)))
