"""A receiver that is down while real sessions come and go: what it has heard once it is back.

`python -m tests.webhooks.outage --seconds 60` is the whole minute, with the settings as they are by
default; it prints what was measured as JSON and fails where something was lost. The suite runs the
same thing in seconds (test_outage.py). For the first half the receiver's process is gone, so that
connections are refused; for the second it answers 503; when it is back it loses some answers.

What should have arrived is known from elsewhere: the service's own stream of all events, which the
webhooks have no part in.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import aioice.ice

from service.webhooks.message import KINDS
from tests.peers import Camera, Client
from tests.rtc.pictures import moving_picture
from tests.running import ROOT, free_port, running
from tests.webhooks.platform import SECRET, written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

TOLD = frozenset(kind.value for kind in KINDS)
START_TIMEOUT_S = 20
Pair = tuple[str, int]
"""A session's id and an event's, which is the same by every way that it is told."""


@dataclass
class Stand:
    """The receiver's place: its processes come and go, its log stays."""

    log: Path
    port: int = field(default_factory=free_port)

    @contextmanager
    def standing(self, manner: str) -> Iterator[None]:
        """A process of it, which is killed in the end."""
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.webhooks.standing",
                str(self.port),
                str(self.log),
                manner,
            ],
            cwd=ROOT,
            env=os.environ | {"STANDING_SECRET": written(SECRET)},
            stdout=subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"listening\n"
            yield
        finally:
            process.kill()
            process.wait(START_TIMEOUT_S)
            if process.stdout is not None:
                process.stdout.close()

    def requests(self) -> list[dict[str, Any]]:
        """All of them, in the order in which they came."""
        text = self.log.read_text() if self.log.exists() else ""
        return [json.loads(line) for line in text.splitlines()]


def pair(request: dict[str, Any]) -> Pair:
    data = json.loads(request["body"])["data"]
    return data["session_id"], data["event_id"]


@dataclass
class Outcome:
    """What happened, what arrived, and what was measured."""

    told: list[Pair]
    "By the stream of events, in order."
    requests: list[dict[str, Any]]
    deliveries: dict[str, int]
    "`backcloth_webhook_deliveries_total` in the end."
    most_waiting: int
    down_s: float
    live: int
    "Sessions that had a peer."
    back_at: float
    "Unix seconds: when the receiver was well again."

    def arrived(self) -> list[Pair]:
        """What the receiver has, each by its id once, in the order of the first time. The receiver
        that says 503 has a message no more than one that is not there."""
        had = [one for one in self.requests if one["status"] != 503]
        first = {one["id"]: one for one in reversed(had)}
        return [pair(first[name]) for name in dict.fromkeys(one["id"] for one in had)]

    def check(self) -> None:
        """Everything that holds however much was dropped."""
        assert all(one["signed"] for one in self.requests), "a signature that does not hold"
        bodies: dict[str, str] = {}
        ids: dict[Pair, str] = {}
        for one in self.requests:
            assert bodies.setdefault(one["id"], one["body"]) == one["body"], "another body"
            assert ids.setdefault(pair(one), one["id"]) == one["id"], "another id for one event"
        assert len(ids) == len(bodies), "an id for two events"
        arrived = self.arrived()
        assert len(set(arrived)) == len(arrived)
        assert set(arrived) <= set(self.told)
        by_session: dict[str, list[int]] = defaultdict(list)
        for session, event in arrived:
            by_session[session].append(event)
        for events in by_session.values():
            assert events == sorted(events), "a session's events in another order"
        self._check_tries()

    def _check_tries(self) -> None:
        """What is behind is not even tried before what is in front of it arrived or was dropped."""
        lost = set(self.told) - set(self.arrived())
        newest: dict[str, int] = {}
        had: set[Pair] = set()
        for one in self.requests:
            session, event = pair(one)
            before = newest.get(session)
            assert before is None or event >= before, "an older one after a newer one"
            gone = before in (None, event) or (session, before) in had | lost
            assert gone, "tried out of turn"
            newest[session] = event
            if one["status"] != 503:
                had.add((session, event))

    def figures(self) -> dict[str, object]:
        """What a document may say of it."""
        first = {one["id"]: one["at"] for one in reversed(self.requests) if one["status"] != 503}
        return {
            "down_s": round(self.down_s, 1),
            "sessions": len({session for session, _ in self.told}),
            "sessions_with_a_peer": self.live,
            "events": len(self.told),
            "arrived": len(self.arrived()),
            "missing": len(set(self.told) - set(self.arrived())),
            "requests": len(self.requests),
            "answers": dict(Counter(str(one["status"]) for one in self.requests)),
            "came_twice": sum(
                count > 1
                for count in Counter(
                    one["id"] for one in self.requests if one["status"] != 503
                ).values()
            ),
            "most_waiting": self.most_waiting,
            "last_arrived_after_return_s": round(max(first.values()) - self.back_at, 1),
            "deliveries": self.deliveries,
        }


@dataclass
class Traffic:
    """Sessions that come and go until told to stop: most by REST alone, some with a real peer."""

    http: aiohttp.ClientSession
    every_s: float
    opened: int = 0
    live: int = 0
    refused: int = 0
    "For want of CPU: nothing happens in those."

    async def until(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._calls(stop))
            while not stop.is_set():
                group.create_task(self._brief(f"meeting {self.opened}"))
                self.opened += 1
                await asyncio.sleep(self.every_s)

    async def _brief(self, meeting: str) -> None:
        async with self.http.post("/v1/sessions", json={"metadata": {"meeting": meeting}}) as it:
            if it.status == 503:
                self.refused += 1
                return
            assert it.status == 201, await it.text()
            session = (await it.json())["id"]
        await asyncio.sleep(2 * self.every_s)
        async with self.http.delete(f"/v1/sessions/{session}") as it:
            assert it.status == 204

    async def _calls(self, stop: asyncio.Event) -> None:
        """One after the other."""
        while not stop.is_set():
            body = {"effect": {"type": "color", "color": "#00b140"}}
            async with self.http.post("/v1/sessions", json=body) as it:
                if it.status == 503:
                    self.refused += 1
                    await asyncio.sleep(self.every_s)
                    continue
                assert it.status == 201, await it.text()
                opened = await it.json()
            client = Client(Camera(moving_picture, fps=10))
            sdp = {"Content-Type": "application/sdp"}
            offer = await client.offer()
            async with self.http.post(opened["rtc_url"], data=offer, headers=sdp) as it:
                await client.accept(await it.text())
            await client.frames(5, timeout_s=30)
            self.live += 1
            async with self.http.delete(f"/v1/sessions/{opened['id']}") as it:
                assert it.status == 204
            await client.close()


async def measures(http: aiohttp.ClientSession) -> tuple[int, dict[str, int]]:
    """How many webhooks wait, and the deliveries by their outcome."""
    async with http.get("/metrics") as it:
        text = await it.text()
    waiting = re.search(r"^backcloth_webhooks_waiting (\S+)$", text, re.M)
    assert waiting is not None
    outcomes = re.findall(
        r'^backcloth_webhook_deliveries_total\{outcome="(\w+)"\} (\S+)$', text, re.M
    )
    return int(float(waiting[1])), {name: int(float(value)) for name, value in outcomes}


@asynccontextmanager
async def hearing(http: aiohttp.ClientSession) -> AsyncIterator[list[Pair]]:
    """What the stream of all events tells that webhooks should tell too."""
    told: list[Pair] = []

    async def listen(stream: aiohttp.ClientResponse) -> None:
        async for line in stream.content:
            if line.startswith(b"data: "):
                event = json.loads(line.removeprefix(b"data: "))
                assert event["type"] != "events.missed"
                if event["type"] in TOLD:
                    told.append((event["session_id"], event["id"]))

    async with http.get("/v1/events", timeout=aiohttp.ClientTimeout(total=None)) as stream:
        listening = asyncio.create_task(listen(stream))
        try:
            yield told
            # Nothing happens any more: what was told is on its way through a socket.
            await asyncio.sleep(0.5)
            assert not listening.done()
        finally:
            listening.cancel()
            await asyncio.wait({listening})


async def outage(seconds: float, folder: Path, *, every_s: float, **settings: str) -> Outcome:
    """The receiver is well for a moment, down for so long, and back until nothing waits; sessions
    come every `every_s` all the while, but for the wait in the end."""
    stand = Stand(folder / "requests.jsonl")
    edge_s = max(0.5, seconds / 20)
    most_waiting = 0
    with running(
        WEBHOOK_URL=f"http://127.0.0.1:{stand.port}/hooks",
        WEBHOOK_SECRETS=written(SECRET),
        WEBHOOK_NETWORKS="127.0.0.0/8",
        # Nobody's quality changes because this machine is busy: the events are the sessions' own.
        LOWEST_QUALITY="full",
        SESSION_CORES="0.01",
        **settings,
    ) as service:
        async with aiohttp.ClientSession(service.url) as http, hearing(http) as told:

            async def lasts(span_s: float) -> None:
                nonlocal most_waiting
                end_s = time.monotonic() + span_s
                while time.monotonic() < end_s:
                    most_waiting = max(most_waiting, (await measures(http))[0])
                    await asyncio.sleep(min(0.25, span_s / 4))

            traffic, stop = Traffic(http, every_s), asyncio.Event()
            coming = asyncio.create_task(traffic.until(stop))
            try:
                with stand.standing("well"):
                    await lasts(edge_s)
                gone_s = time.monotonic()
                await lasts(seconds / 2)
                with stand.standing("busy"):
                    # The start of a process is part of the minute.
                    await lasts(gone_s + seconds - time.monotonic())
                with stand.standing("forgetful"):
                    down_s, back_at = time.monotonic() - gone_s, time.time()
                    await lasts(edge_s)
                    stop.set()
                    await coming
                    async with asyncio.timeout(seconds + 90):
                        while (await measures(http))[0]:
                            await lasts(0.1)
            finally:
                stop.set()
                await asyncio.wait({coming})
            _, deliveries = await measures(http)
        assert not [line for line in service.lines if "Traceback" in line]
    return Outcome(told, stand.requests(), deliveries, most_waiting, down_s, traffic.live, back_at)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    arguments.add_argument("--seconds", type=float, default=60.0, help="how long it is down")
    arguments.add_argument(
        "--every", type=float, default=0.25, help="seconds from session to session"
    )
    given = arguments.parse_args()
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    with tempfile.TemporaryDirectory() as folder:
        outcome = asyncio.run(outage(given.seconds, Path(folder), every_s=given.every))
    sys.stdout.write(json.dumps(outcome.figures(), indent=2) + "\n")
    outcome.check()
    assert set(outcome.arrived()) == set(outcome.told), "something was lost"


if __name__ == "__main__":
    main()
