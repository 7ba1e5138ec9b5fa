"""500 sessions opened and closed, some of them calls: the metrics stay as small as they were, and a
scrape of them as cheap as it is promised to be."""

from __future__ import annotations

import asyncio
import json
import re
from statistics import median
from typing import TYPE_CHECKING

import aiohttp
import aioice.ice
import pytest

from tests.peers import Camera, Client
from tests.rtc.pictures import moving_picture
from tests.running import Service, running
from tests.start_cost import ask, cpu_s

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.model, pytest.mark.peer]

SESSIONS = 500
CALLS = 4
"""Of the sessions: those that have a peer, whose frames come back."""
FRAMES = 20
LARGEST_BYTES = 100_000
SCRAPES = 15
MOST_SCRAPE_CPU_S = 0.02
"""Of all threads of the service, whatever else the machine does."""


async def call(service: Service, opened: dict[str, str]) -> None:
    """A peer for that session, until some frames have come back."""
    client = Client(Camera(moving_picture))
    try:
        offer, kind = await client.offer(), {"Content-Type": "application/sdp"}
        async with (
            aiohttp.ClientSession(service.url) as http,
            http.post(opened["rtc_url"], data=offer, headers=kind) as response,
        ):
            assert response.status == 201
            await client.accept(await response.text())
        await client.frames(FRAMES)
    finally:
        await client.close()


def scrape_cpu_s(service: Service) -> float:
    """The median of some scrapes: other work of the service falls between them now and then."""
    took_s = []
    for _ in range(SCRAPES):
        before_s = cpu_s(service.process.pid)
        ask(service, "GET", "/metrics")
        took_s.append(cpu_s(service.process.pid) - before_s)
    return median(took_s)


def names(page: bytes) -> set[str]:
    """Every series, without its value."""
    return set(re.findall(r"^(\S+) \S+$", page.decode(), re.MULTILINE))


def value(page: bytes, name: str) -> float:
    (found,) = re.findall(rf"^{re.escape(name)} (\S+)$", page.decode(), re.MULTILINE)
    return float(found)


@pytest.mark.timeout(300)
def test_the_page_does_not_grow_with_sessions(
    record_property: Callable[[str, object], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda *_, **__: ["127.0.0.1"])
    with running(CPU_CORES="20") as service:
        before = ask(service, "GET", "/metrics")
        ids = set()
        for number in range(SESSIONS):
            opened = json.loads(ask(service, "POST", "/v1/sessions", b"{}"))
            ids.add(opened["id"])
            if number < CALLS:
                asyncio.run(call(service, opened))
            ask(service, "DELETE", f"/v1/sessions/{opened['id']}")
        after = ask(service, "GET", "/metrics")
        took_s = scrape_cpu_s(service)
    assert len(ids) == SESSIONS
    assert f'backcloth_sessions_ended_total{{outcome="deleted"}} {SESSIONS}.0' in after.decode()
    assert names(after) == names(before)
    for stage in ("decode", "person", "matte", "composite", "encode"):
        assert value(after, f'backcloth_stage_seconds_count{{stage="{stage}"}}') > 0
    assert value(after, 'backcloth_frames_total{event="sent"}') >= CALLS * FRAMES
    assert value(after, "backcloth_frame_latency_seconds_count") >= CALLS * FRAMES
    assert value(after, "backcloth_raw_frames_total") == 0
    assert not [one for one in ids if one[:6].encode() in after]
    assert len(after) < LARGEST_BYTES
    record_property("bytes", len(after))
    record_property("milliseconds", round(took_s * 1e3, 1))
    print(f"/metrics: {len(after)} bytes in {took_s * 1e3:.1f} ms of CPU")  # noqa: T201 (pytest -s)
    assert took_s < MOST_SCRAPE_CPU_S
