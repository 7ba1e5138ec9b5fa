"""Two real services: one is the SFU that the other pulls from and pushes to, and dies meanwhile.

    camera --WHIP--> sfu: near --pull--> service: green --push--> sfu: far --WHEP--> viewer

At the SFU the effect is `none`: it passes on what it gets.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import aioice.ice
import pytest
from jsonschema import Draft202012Validator

from tests.far_server import TOKEN, far_server
from tests.peers import Camera, Client
from tests.rtc.pictures import moving_picture
from tests.running import free_port, running
from tests.session.test_audience import is_green

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.running import Service

pytestmark = [pytest.mark.model, pytest.mark.peer, pytest.mark.timeout(240)]

KEY = "a-platform-key-of-the-tests"
GREEN = {"type": "color", "color": "#00b140"}
AS_IT_COMES = {"effect": {"type": "none"}, "allowed_effects": ["none"], "audio": False}


@pytest.fixture(autouse=True)
def clients_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


class Api:
    """The platform's backend."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def open(self, at: Service, body: dict[str, Any], *, bearer: str = KEY) -> Any:
        headers = {"Authorization": f"Bearer {bearer}"}
        async with self._http.post(f"{at.url}/v1/sessions", json=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def look(self, at: Service, session: Any) -> Any:
        url = f"{at.url}/v1/sessions/{session['id']}"
        async with self._http.get(url, headers={"Authorization": f"Bearer {KEY}"}) as answer:
            return await answer.json()

    async def change(self, at: Service, session: Any, body: dict[str, Any], bearer: str) -> Any:
        url = f"{at.url}/v1/sessions/{session['id']}"
        headers = {"Authorization": f"Bearer {bearer}"}
        async with self._http.patch(url, json=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def end(self, at: Service, session: Any) -> int:
        url = f"{at.url}/v1/sessions/{session['id']}"
        async with self._http.delete(url, headers={"Authorization": f"Bearer {KEY}"}) as answer:
            return answer.status

    async def until(self, at: Service, session: Any, way: str, *states: str) -> Any:
        async with asyncio.timeout(60):
            while (now := await self.look(at, session))[way]["state"] not in states:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        return now

    @asynccontextmanager
    async def peer(self, url: str, bearer: str, *, sends: bool) -> AsyncIterator[Client]:
        """A stock client by WHIP or WHEP."""
        client = Client(*([Camera(moving_picture)] if sends else []))
        if sends:
            client.connection.getTransceivers()[0].direction = "sendonly"
        else:
            client.connection.addTransceiver("video", direction="recvonly")
        headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/sdp"}
        try:
            offer = await client.offer()
            async with self._http.post(url, data=offer, headers=headers) as answer:
                assert answer.status == 201, await answer.text()
                await client.accept(await answer.text())
            yield client
        finally:
            await client.close()


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with aiohttp.ClientSession() as http:
        yield Api(http)


def an_sfu(port: int) -> Any:
    return running(port, API_KEYS=KEY, TOKEN_SECRETS="s" * 32, CPU_CORES="20", LOG_LEVEL="debug")


def service() -> Any:
    return running(
        API_KEYS=KEY,
        CPU_CORES="20",
        LOG_LEVEL="debug",
        SFU_NETWORKS="127.0.0.0/8",
        SFU_SILENCE_S="3",
        SFU_RETRY_S="0.2",
        SFU_RETRY_MAX_S="1",
    )


async def test_beside_an_sfu_that_dies_and_comes_again(api: Api) -> None:
    port = free_port()
    with service() as between:
        with an_sfu(port) as sfu:
            _, near = await api.open(sfu, AS_IT_COMES)
            _, far = await api.open(sfu, AS_IT_COMES)
            body = {
                "effect": GREEN,
                "audio": False,
                "pull": {"url": sfu.url + near["whep_url"], "token": near["viewer_token"]},
                "push": {"url": f"{sfu.url}/v1/whip", "token": far["token"]},
            }
            # Not for the browser, whatever token it has.
            status, _ = await api.open(between, body, bearer=near["token"])
            assert status == 401
            _, session = await api.open(between, body)
            status, _ = await api.open(between, body, bearer=session["token"])
            assert status in (401, 403)
            async with (
                api.peer(f"{sfu.url}/v1/whip", near["token"], sends=True),
                api.peer(sfu.url + far["whep_url"], far["token"], sends=False) as watching,
            ):
                await watching.frames(15, timeout_s=60)
                assert all(map(is_green, watching.video.frames))
                now = await api.look(between, session)
                assert (now["pull"]["state"], now["push"]["state"]) == ("live", "live")
                assert now["push"]["sent"]["frames"]["sent"] > 0
                await require_documented(between, now)
            sfu.kill()
        lost = await api.until(between, session, "pull", "retrying", "connecting")
        assert lost["pull"]["last_cause"] in ("silent", "left", "ice_failed")
        await api.until(between, session, "push", "waiting")
        with an_sfu(port) as sfu:
            # The camera opens its session again by its token, and the push does for the far one.
            async with api.peer(f"{sfu.url}/v1/whip", near["token"], sends=True):
                now = await api.until(between, session, "push", "live")
                assert now["pull"]["state"] == "live"
                assert now["tracks"][0]["frames"]["raw"] == 0
                seen = await api.look(sfu, far)
                assert seen["state"] in ("connecting", "live")
                url = sfu.url + far["whep_url"]
                async with api.peer(url, far["token"], sends=False) as watching:
                    await watching.frames(15, timeout_s=60)
                    assert all(map(is_green, watching.video.frames))
                assert await api.end(between, session) == 204
                # Both were left: nobody sends there, and nobody watches.
                assert (await api.look(sfu, far))["peer"] is None
                assert (await api.look(sfu, near))["viewers"] == []
    said = json.dumps([session, now, lost]) + "".join(between.lines)
    for secret in (near["viewer_token"], far["token"], sfu.url, near["whep_url"]):
        assert secret not in said


async def test_a_service_that_stops_leaves_the_sfu(api: Api) -> None:
    async with far_server() as far:
        with service() as between:
            body = {
                "effect": GREEN,
                "pull": {"url": far.whep, "token": TOKEN},
                "push": {"url": far.whip, "token": TOKEN},
            }
            await api.open(between, body)
            await far.frames(5)
            assert all(map(is_green, far.video.frames))
            assert await asyncio.to_thread(between.stop) == 0
        assert (far.count("DELETE"), far.made) == (2, {})
        said = "".join(between.lines)
        assert TOKEN not in said
        assert "secret-of-the-address" not in said


async def test_a_platform_replaces_what_expired(api: Api) -> None:
    async with far_server() as far:
        with service() as between:
            body = {
                "effect": GREEN,
                "pull": {"url": far.whep, "token": TOKEN},
                "push": {"url": far.whip, "token": "expired"},
            }
            _, session = await api.open(between, body)
            failed = await api.until(between, session, "push", "failed")
            assert failed["push"]["last_cause"] == "unauthorized"
            change = {"push": {"token": TOKEN}}
            status, told = await api.change(between, session, change, session["token"])
            assert (status, told["field"]) == (422, "push")
            assert (await api.change(between, session, change, KEY))[0] == 200
            await far.frames(5)
            assert all(map(is_green, far.video.frames))
            now = await api.look(between, session)
            assert (now["push"]["state"], now["push"]["attempts"]) == ("live", 2)
            away = {"push": {"url": "https://10.0.0.1/whip", "token": TOKEN}}
            status, told = await api.change(between, session, away, KEY)
            assert (status, told["field"]) == (422, "push.url")
            assert await api.end(between, session) == 204
            assert far.made == {}
        assert TOKEN not in "".join(between.lines)


async def test_addresses_that_are_refused(api: Api) -> None:
    with running(API_KEYS=KEY, CPU_CORES="20") as started:
        for url in ("http://127.0.0.1:9/whep", "https://127.0.0.1:9/whep", "https://10.0.0.1/"):
            status, told = await api.open(started, {"pull": {"url": url}})
            assert (status, told["field"]) == (422, "pull.url")
        # A name is judged by what it leads to.
        _, session = await api.open(started, {"pull": {"url": "https://localhost:9/whep"}})
        now = await api.until(started, session, "pull", "failed")
        assert (now["pull"]["last_cause"], now["pull"]["attempts"]) == ("address_refused", 1)
        assert now["push"] is None
    assert "localhost:9" not in "".join(started.lines)


async def require_documented(at: Service, session: dict[str, Any]) -> None:
    async with aiohttp.ClientSession() as http, http.get(f"{at.url}/openapi.json") as answer:
        document = await answer.json()
    schema = {"$ref": "#/components/schemas/Session", "components": document["components"]}
    Draft202012Validator(schema).validate(session)
    line = document["components"]["schemas"]["Line"]["properties"].keys()
    assert session["pull"].keys() == line
    assert session["push"].keys() == {*line, "sent"}
