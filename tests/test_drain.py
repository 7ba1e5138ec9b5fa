"""A service that is told to stop: it refuses, tells its client to move, and goes when that has."""

from __future__ import annotations

import asyncio
import json
import signal
import time

import aiohttp
import aioice.ice
import pytest

from tests.peers import Camera, Client
from tests.rtc.pictures import moving_picture
from tests.rtc.test_channel import Ear
from tests.running import running

pytestmark = [pytest.mark.peer, pytest.mark.model, pytest.mark.timeout(120)]

ELSEWHERE = "https://other.example.com/backcloth"
LONG_S = "600"


@pytest.fixture(autouse=True)
def clients_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


async def test_its_client_moves_before_it_goes() -> None:
    with running(DRAIN_S=LONG_S, MOVE_TO=ELSEWHERE) as service:
        async with aiohttp.ClientSession(service.url) as http:
            async with http.post("/v1/sessions", json={}) as answer:
                opened = await answer.json()
            client = Client(Camera(moving_picture))
            ear = Ear(client.connection.createDataChannel("backcloth"))
            sdp = {"Content-Type": "application/sdp"}
            offer = await client.offer()
            async with http.post(opened["rtc_url"], data=offer, headers=sdp) as answer:
                await client.accept(await answer.text())
            await client.frames(5)
            await ear.became("open")
            ear.channel.send('{"id": 1, "type": "events.watch"}')
            await ear.until(lambda: len(ear.heard) == 1)

            service.process.send_signal(signal.SIGTERM)
            await ear.until(lambda: len(ear.heard) == 2)
            event = json.loads(ear.heard[1])["event"]
            assert event["type"] == "session.move"
            assert (event["to"], event["within_s"]) == (ELSEWHERE, float(LONG_S))
            async with http.get("/readyz") as answer:
                assert answer.status == 503
            for path, body in (
                ("/v1/sessions", {"json": {}}),
                (opened["rtc_url"], {"data": offer, "headers": sdp}),
            ):
                async with http.post(path, **body) as answer:
                    assert answer.status == 503
                    assert "Retry-After" in answer.headers
                    problem = await answer.json()
                assert (problem["reason"], problem["move_to"]) == ("draining", ELSEWHERE)
            # All else of the session goes on meanwhile.
            async with http.get(f"/v1/sessions/{opened['id']}") as answer:
                assert (await answer.json())["state"] == "live"
            await client.frames(5)
            ear.channel.send('{"id": 2, "type": "session.leave"}')
            assert await asyncio.to_thread(service.process.wait, 30) == 0
            await client.close()
    assert [line for line in service.lines if "ended: moved" in line]
    assert not [line for line in service.lines if "Traceback" in line]


@pytest.mark.parametrize("signals", [(signal.SIGINT,), (signal.SIGTERM, signal.SIGTERM)])
async def test_told_to_hurry_it_waits_for_nobody(signals: tuple[signal.Signals, ...]) -> None:
    with running(DRAIN_S=LONG_S) as service:
        async with aiohttp.ClientSession(service.url) as http:
            async with http.post("/v1/sessions", json={}) as answer:
                opened = await answer.json()
            client = Client(Camera(moving_picture))
            sdp = {"Content-Type": "application/sdp"}
            async with http.post(
                opened["rtc_url"], data=await client.offer(), headers=sdp
            ) as answer:
                await client.accept(await answer.text())
            await client.frames(2)
            for number, one in enumerate(signals):
                if number:  # two signals at once are one
                    deadline_s = time.monotonic() + 20
                    async with http.get("/readyz") as answer:
                        ready = answer.status
                    while ready != 503 and time.monotonic() < deadline_s:
                        await asyncio.sleep(0.05)
                        async with http.get("/readyz") as answer:
                            ready = answer.status
                service.process.send_signal(one)
            assert await asyncio.to_thread(service.process.wait, 30) == 0
            await client.close()
    assert [line for line in service.lines if "ended: drained" in line]
