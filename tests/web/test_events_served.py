"""Events of the real service as a process, with a real peer: from its picture to its end."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import aioice.ice
import pytest

from tests.peers import Camera, Client
from tests.rtc.pictures import moving_picture
from tests.running import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.model, pytest.mark.peer]


@pytest.fixture(autouse=True)
def clients_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


@asynccontextmanager
async def calling(http: aiohttp.ClientSession, opened: dict[str, Any]) -> AsyncIterator[Client]:
    client = Client(Camera(moving_picture))
    bearer = {"Authorization": f"Bearer {opened['token']}"}
    sdp = {"Content-Type": "application/sdp", **bearer}
    async with http.post(opened["rtc_url"], data=await client.offer(), headers=sdp) as response:
        assert response.status == 201
        await client.accept(await response.text())
    try:
        yield client
    finally:
        await client.close()


async def told(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """The data of the next event."""
    async with asyncio.timeout(20):
        async for line in response.content:
            if line.startswith(b"data: "):
                event: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
                return event
    raise AssertionError("the stream ended")


async def test_from_the_first_picture_to_the_end_of_the_service() -> None:
    with running() as service:
        async with aiohttp.ClientSession(service.url) as http:
            # A picture without anybody in it.
            body = {
                "effect": {"type": "color", "color": "#00b140"},
                "away": {"after_s": 1, "background": "dawn"},
            }
            async with http.post("/v1/sessions", json=body) as response:
                assert response.status == 201
                opened = await response.json()
            path = f"/v1/sessions/{opened['id']}"
            bearer = {"Authorization": f"Bearer {opened['token']}"}
            async with (
                http.get(f"{path}/events", headers=bearer) as stream,
                calling(http, opened) as client,
            ):
                assert stream.status == 200
                assert (await told(stream))["type"] == "session.live"
                away = await told(stream)
                assert (away["type"], away["mid"]) == ("person.away", "0")
                async with http.get(path, headers=bearer) as response:
                    (track,) = (await response.json())["tracks"]
                assert track["person"] == "away"
                assert track["person_changed_at"] == pytest.approx(away["at"], abs=0.1)
                async with http.get("/metrics") as response:
                    text = await response.text()
                assert 'backcloth_person_changes_total{state="away"} 1.0' in text

                # The background of `away`, which is a picture, in place of the flat green.
                await client.wait_for(
                    lambda: client.video.frames[-1].to_ndarray(format="rgb24").std() > 10
                )
                assert (await http.patch(path, json={"effect": {"type": "none"}})).status == 403
                change = {"effect": {"type": "blur", "people": "speaker"}}
                assert (await http.patch(path, json=change)).status == 200
                changed = await told(stream)
                assert changed["type"] == "effect.changed"
                assert changed["effect"]["people"] == "speaker"

                assert await asyncio.to_thread(service.stop) == 0
                assert (await told(stream))["type"] == "session.move"
                last = await told(stream)
                assert (last["type"], last["cause"]) == ("session.ended", "drained")
                assert await stream.content.read() == b"\n"
    assert not [line for line in service.lines if "Traceback" in line]
