"""Webhooks of the real service as a process: a session's life, as its platform hears of it."""

from __future__ import annotations

import asyncio

import aiohttp
import aioice.ice
import pytest

from tests.peers import Camera, Client
from tests.rtc.pictures import moving_picture
from tests.running import free_port, running
from tests.webhooks.platform import OTHER_SECRET, SECRET, Platform, raw, written

pytestmark = [pytest.mark.model, pytest.mark.peer]

METADATA = {"meeting": "42\r\nX-Injected: yes"}


@pytest.fixture(autouse=True)
def clients_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


async def test_a_sessions_life_reaches_a_platform_that_was_away() -> None:
    port = free_port()
    platform = Platform(secret=OTHER_SECRET)
    with running(
        WEBHOOK_URL=f"http://127.0.0.1:{port}/hooks?key=hush-hush",
        WEBHOOK_SECRETS=f"{written(SECRET)},{written(OTHER_SECRET)}",
        WEBHOOK_NETWORKS="127.0.0.0/8",
        WEBHOOK_RETRY_S="0.1",
        WEBHOOK_RETRY_MAX_S="0.3",
        LOWEST_QUALITY="full",
    ) as service:
        async with aiohttp.ClientSession(service.url) as http:
            body = {"metadata": METADATA, "effect": {"type": "color", "color": "#00b140"}}
            async with http.post("/v1/sessions", json=body) as response:
                opened = await response.json()
            client = Client(Camera(moving_picture))
            sdp = {"Content-Type": "application/sdp"}
            offer = await client.offer()
            async with http.post(opened["rtc_url"], data=offer, headers=sdp) as response:
                await client.accept(await response.text())
            await client.frames(10)
            async with http.get("/metrics") as response:
                text = await response.text()
            assert 'backcloth_webhook_deliveries_total{outcome="delivered"} 0.0' in text
            assert "backcloth_webhooks_waiting 2.0" in text
            assert 'outcome="retried"} 0.0' not in text

            async with platform.serving(port):
                await platform.until(lambda: len(platform.accepted) == 2)
                async with http.delete(f"/v1/sessions/{opened['id']}") as response:
                    assert response.status == 204
                await platform.until(lambda: len(platform.accepted) == 3)
                async with http.post("/v1/sessions") as response:
                    assert response.status == 201
                    second = await response.json()
                await client.close()
                # Its browser comes, and goes away.
                client = Client(Camera(moving_picture))
                offer = await client.offer()
                async with http.post(second["rtc_url"], data=offer, headers=sdp) as response:
                    await client.accept(await response.text())
                await client.frames(3)
                await client.close()
                await platform.until(lambda: len(platform.accepted) == 6)
                # The end of the second session is told of while the service stops.
                assert await asyncio.to_thread(service.stop) == 0
                kinds = [one.type for one in platform.accepted]
    assert kinds[:3] == ["session.created", "session.live", "session.ended"]
    assert kinds[3:] == ["session.created", "session.live", "session.waiting", "session.ended"]
    waiting, drained = platform.accepted[5:]
    assert waiting.data["session_id"] == second["id"]
    assert waiting.data["cause"] == "left"
    created, _, ended = platform.accepted[:3]
    assert created.data["session_id"] == opened["id"]
    assert created.data["expires_at"] == opened["expires_at"]
    assert ended.data["metadata"] == METADATA
    assert ended.data["cause"] == "deleted"
    assert ended.data["frames"]["sent"] >= 10
    assert ended.data["frames"]["raw"] == 0
    assert ended.data["cpu_seconds"] > 0
    assert ended.data["duration_s"] > 0
    assert drained.data["cause"] == "drained"
    assert not [line for line in service.lines if "Traceback" in line or "hush" in line]


async def test_a_session_does_not_notice_a_receiver_that_hangs() -> None:
    """Frames keep coming while every place for deliveries is held by one that says nothing."""
    async with raw(pause_s=60) as url:
        with running(
            WEBHOOK_URL=url,
            WEBHOOK_SECRETS=written(SECRET),
            WEBHOOK_NETWORKS="127.0.0.0/8",
            WEBHOOK_TIMEOUT_S="0.5",
            LOWEST_QUALITY="full",
        ) as service:
            text = await two_sessions(service.url)
            assert await asyncio.to_thread(service.stop) == 0, "its flush is bounded"
    assert any("5 messages were never delivered" in line for line in service.lines), service.lines
    assert "backcloth_webhooks_waiting 5.0" in text
    assert "backcloth_raw_frames_total 0.0" in text


async def two_sessions(url: str) -> str:
    """Of which one has a peer; the metrics after their end."""
    async with aiohttp.ClientSession(url) as http:
        opened = []
        for _ in range(2):
            async with http.post("/v1/sessions") as response:
                opened.append(await response.json())
        client = Client(Camera(moving_picture))
        sdp = {"Content-Type": "application/sdp"}
        offer = await client.offer()
        async with http.post(opened[0]["rtc_url"], data=offer, headers=sdp) as response:
            await client.accept(await response.text())
        await client.frames(30)
        for one in opened:
            async with http.delete(f"/v1/sessions/{one['id']}") as response:
                assert response.status == 204
        await client.close()
        async with http.get("/metrics") as response:
            return await response.text()
