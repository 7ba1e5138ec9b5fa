"""A fleet of two real services behind a front that takes either, by chance."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import aioice.ice
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from service.policy.fleet import Asked, Fleet, Member
from service.web.peers import HOP
from tests.peers import Camera, Client
from tests.rtc.pictures import moving_picture
from tests.running import free_port, running
from tests.web.conftest import problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.running import Service

pytestmark = [pytest.mark.model, pytest.mark.peer]

KEY = "platform-key-of-the-fleet"
SECRET = "fleet-secret-of-32-bytes-or-more"
PLATFORM = {"Authorization": f"Bearer {KEY}"}
JSON = {"Content-Type": "application/json", **PLATFORM}
GREEN = {"type": "color", "color": "#00b140"}
RED = {"type": "color", "color": "#c00000"}


@dataclass
class Pair:
    """Two services that are one fleet."""

    one: Service
    two: Service
    port: int

    def member(self, service: Service) -> Member:
        host = service.environ["BACKCLOTH_HOST"]
        return Member("http", host, self.port, host)

    def as_seen_by(self, service: Service) -> Fleet:
        return Fleet([SECRET.encode()], self.member(service).place)


@pytest.fixture(autouse=True)
def clients_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    port = free_port()
    settings = {
        "API_KEYS": KEY,
        "TOKEN_SECRETS": "t" * 32,
        "CPU_CORES": "8",
        "DRAIN_S": "20",
        "FLEET": f"http://127.0.0.2:{port},http://127.0.0.3:{port}",
        "FLEET_SECRETS": SECRET,
    }
    with (
        running(port, HOST="127.0.0.2", FLEET_ADDRESS="127.0.0.2", **settings) as one,
        running(port, HOST="127.0.0.3", FLEET_ADDRESS="127.0.0.3", **settings) as two,
    ):
        yield Pair(one, two, port)
        for service in (one, two):
            assert not [line for line in service.lines if "Traceback" in line]


@asynccontextmanager
async def front(*services: Service) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a front that sends each request to one of these, by chance; one that does not
    answer is left out, as a balancer does it."""
    chance = random.Random(7)

    async def passed_on(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        for service in chance.sample(services, len(services)):
            headers = {k: v for k, v in request.headers.items() if k != "Host"}
            url = f"{service.url}{request.path_qs}"
            try:
                async with out.request(request.method, url, data=body, headers=headers) as answer:
                    kept = {k: v for k, v in answer.headers.items() if k != "Transfer-Encoding"}
                    return web.Response(
                        status=answer.status, body=await answer.read(), headers=kept
                    )
            except aiohttp.ClientConnectionError:
                continue
        raise web.HTTPBadGateway

    app = web.Application(client_max_size=1 << 22)
    app.router.add_route("*", "/{path:.*}", passed_on)
    async with (
        aiohttp.ClientSession() as out,
        TestServer(app, host="127.0.0.1") as server,
        aiohttp.ClientSession(server.make_url("/")) as client,
    ):
        yield client


async def opened(http: aiohttp.ClientSession, url: str = "", **body: Any) -> dict[str, Any]:
    body = {"effect": GREEN, "audio": False, **body}
    text = await posted(http, f"{url}/v1/sessions", data=json.dumps(body), headers=JSON)
    answer: dict[str, Any] = json.loads(text)
    return answer


async def posted(http: aiohttp.ClientSession, url: str, **request: Any) -> str:
    """What a POST that makes something brings; again while the machine has no room for it."""
    async with asyncio.timeout(30):
        while True:
            async with http.post(url, **request) as response:
                if response.status == 201:
                    return await response.text()
                assert await problem(response) == (503, "no-capacity")
            await asyncio.sleep(0.2)


def held(session: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {session['token']}"}


async def call(http: aiohttp.ClientSession, session: dict[str, Any], url: str = "") -> Client:
    client = Client(Camera(moving_picture))
    headers = {"Content-Type": "application/sdp", **held(session)}
    offer = await client.offer()
    await client.accept(await posted(http, url + session["rtc_url"], data=offer, headers=headers))
    return client


def shows(client: Client, colour: dict[str, str]) -> bool:
    wanted = tuple(bytes.fromhex(colour["color"][1:]))
    seen = client.video.frames[-1].to_ndarray(format="rgb24").reshape(-1, 3).mean(axis=0)
    return all(abs(int(value) - want) < 30 for value, want in zip(seen, wanted, strict=True))


async def fleet_metrics(http: aiohttp.ClientSession, service: Service) -> dict[str, float]:
    """Of other members, without the prefix backcloth_fleet_."""
    async with http.get(f"{service.url}/metrics", headers={"Host": "localhost"}) as response:
        lines = (await response.text()).splitlines()
    prefix = "backcloth_fleet_"
    pairs = (line.rpartition(" ") for line in lines if line.startswith(prefix))
    return {name.removeprefix(prefix): float(value) for name, _, value in pairs}


async def test_every_server_answers_for_every_session(pair: Pair) -> None:
    async with aiohttp.ClientSession() as http, front(pair.one, pair.two) as anywhere:
        session = await opened(http, pair.one.url)
        path = f"/v1/sessions/{session['id']}"
        assert session["id"].endswith(pair.as_seen_by(pair.one).id_suffix)
        client = await call(http, session, pair.two.url)
        try:
            await client.wait_for(lambda: bool(client.video.frames) and shows(client, GREEN))
            # The events come through the other server, and end with the session.
            async with http.get(pair.two.url + path + "/events", headers=held(session)) as events:
                assert events.status == 200
                async with http.patch(
                    pair.two.url + path, json={"effect": RED}, headers=PLATFORM
                ) as response:
                    assert (await response.json())["effect"]["color"] == RED["color"]
                    assert "ETag" in response.headers
                await client.wait_for(lambda: shows(client, RED))
                picture = b"\x89PNG\r\n\x1a\n" + bytes(200_000)
                async with http.put(
                    f"{pair.two.url}{path}/background",
                    data=picture,
                    headers={"Content-Type": "image/png", **PLATFORM},
                ) as response:
                    # Read whole there, and judged there.
                    assert await problem(response) == (422, "bad-picture")
                for _ in range(8):
                    async with anywhere.get(path, headers=held(session)) as response:
                        assert response.status == 200
                        (track,) = (await response.json())["tracks"]
                        assert track["frames"]["raw"] == 0
                async with http.delete(pair.two.url + path, headers=PLATFORM) as response:
                    assert response.status == 204
                told = (await events.content.read()).decode()
        finally:
            await client.close()
        found = await fleet_metrics(http, pair.two)
        assert found["members"] == 1
        assert found['requests_total{kind="question",outcome="answered"}'] >= 4
        # The offer, the events, the effect, the picture, the end; the camera's connection is none.
        assert found['requests_total{kind="forward",outcome="answered"}'] >= 5
        assert found["answer_seconds_count"] >= 5
        failed = ("refused", "unanswered")
        assert not sum(
            value for name, value in found.items() if any(f'"{word}"' in name for word in failed)
        )
        assert "event: effect.changed" in told
        assert "event: session.ended" in told
        # Ended on purpose: nobody opens it again, wherever its client comes to.
        for url in (pair.one.url, pair.two.url):
            async with http.post(
                url + session["rtc_url"],
                data="v=0\r\n",
                headers={"Content-Type": "application/sdp", **held(session)},
            ) as response:
                assert await problem(response) == (404, "unknown-session")


async def test_refusals_come_from_where_they_belong(pair: Pair) -> None:
    async with aiohttp.ClientSession() as http:
        session = await opened(http, pair.one.url)
        other = await opened(http, pair.two.url)
        path = f"{pair.two.url}/v1/sessions/{session['id']}"
        # A token reaches its own session alone, on every server.
        async with http.get(path, headers=held(other)) as response:
            assert await problem(response) == (403, "forbidden")
        async with http.get(path) as response:
            assert await problem(response) == (401, "unauthorized")
        for name in ("no-such-session", "x%2F..%2F..%2Fmetrics", "a.127.0.0.1", "@127.0.0.1:22"):
            async with http.get(f"{pair.two.url}/v1/sessions/{name}", headers=PLATFORM) as response:
                assert await problem(response) == (404, "unknown-session")
        async with http.patch(path, data=b"{", headers=PLATFORM) as response:
            assert await problem(response) == (415, "unsupported-media-type")
        async with http.put(
            f"{path}/background",
            data=_endless(12 << 20),
            headers={"Content-Type": "image/png", **PLATFORM},
        ) as response:
            assert await problem(response) == (413, "body-too-large")
        async with http.post(
            f"{pair.one.url}/v1/sessions/end",
            json={"ids": [session["id"], other["id"], "nowhere"]},
            headers=PLATFORM,
        ) as response:
            answer = await response.json()
        assert answer["ended"] == [session["id"], other["id"]]
        assert (answer["unknown"], answer["unanswered"]) == (["nowhere"], [])


async def _endless(count: int) -> AsyncIterator[bytes]:
    for _ in range(count >> 16):
        yield bytes(1 << 16)


async def test_the_list_is_of_all(pair: Pair) -> None:
    async with aiohttp.ClientSession() as http, front(pair.one, pair.two) as anywhere:
        made = [
            (await opened(http, url, metadata={"meeting": "list"}))["id"]
            for url in (pair.one.url, pair.two.url, pair.one.url, pair.two.url, pair.one.url)
        ]
        seen: list[str] = []
        query = "metadata.meeting=list&limit=2"
        cursor = ""
        for _ in range(10):
            async with anywhere.get(
                f"/v1/sessions?{query}{cursor and '&cursor=' + cursor}", headers=PLATFORM
            ) as response:
                assert response.status == 200, await response.text()
                page = await response.json()
            assert len(page["sessions"]) <= 2
            assert page["unanswered"] == []
            seen += [one["id"] for one in page["sessions"]]
            if (cursor := page["next_cursor"]) is None:
                break
        assert sorted(seen) == sorted(made)
        async with anywhere.get("/v1/sessions?cursor=nothing", headers=PLATFORM) as response:
            assert await problem(response) == (422, "invalid-field")
        ending = {"filter": {"metadata": {"meeting": "list"}}}
        async with anywhere.post("/v1/sessions/end", json=ending, headers=PLATFORM) as response:
            answer = await response.json()
        assert sorted(answer["ended"]) == sorted(made)
        assert (answer["more"], answer["unanswered"]) == (False, [])


async def test_forged_and_misdirected_hops_are_refused(pair: Pair) -> None:
    async with aiohttp.ClientSession() as http:
        session = await opened(http, pair.one.url)
        path = f"/v1/sessions/{session['id']}"
        asked = Asked("GET", path, PLATFORM["Authorization"])
        one, two = pair.member(pair.one), pair.member(pair.two)
        forger = Fleet([b"another secret of 32 bytes or more"], one.place)
        as_one = pair.as_seen_by(pair.one)
        now = time.time()
        hops = {
            "": (403, "forbidden"),
            "nonsense": (403, "forbidden"),
            forger.sign(two, asked, now=now): (403, "forbidden"),
            as_one.sign(two, Asked("DELETE", path, asked.authorization), now=now): (
                403,
                "forbidden",
            ),
            as_one.sign(two, asked, now=now - 3600): (403, "forbidden"),
            # Good, and for somebody else: a list that names the wrong addresses, or a loop.
            as_one.sign(one, asked, now=now): (421, "misdirected-hop"),
            # Good: answered from here, whatever other members have.
            as_one.sign(two, asked, now=now): (404, "unknown-session"),
        }
        for hop, refusal in hops.items():
            async with http.get(pair.two.url + path, headers={**PLATFORM, HOP: hop}) as response:
                assert await problem(response) == refusal, hop
        # Who has a session is told to members alone, whatever key is shown.
        seek = f"/v1/fleet/sessions/{session['id']}"
        async with http.get(pair.one.url + seek, headers=PLATFORM) as response:
            assert await problem(response) == (403, "forbidden")
        hop = pair.as_seen_by(pair.two).sign(one, Asked("GET", seek, ""), now=now)
        async with http.get(pair.one.url + seek, headers={HOP: hop}) as response:
            assert await response.json() == {"session": "here"}
        # A hop is no credential.
        hop = as_one.sign(two, Asked("GET", "/v1/sessions", ""), now=now)
        async with http.get(f"{pair.two.url}/v1/sessions", headers={HOP: hop}) as response:
            assert await problem(response) == (401, "unauthorized")
        async with http.delete(pair.one.url + path, headers=PLATFORM) as response:
            assert response.status == 204


async def test_a_dead_servers_session_is_opened_again_elsewhere(pair: Pair) -> None:
    """The last one: it kills a server."""
    async with front(pair.one, pair.two) as anywhere, aiohttp.ClientSession() as http:
        session = await opened(http, pair.one.url)
        path = f"/v1/sessions/{session['id']}"
        pair.one.kill()
        # Whether it lives is not known: its server is still listed and does not answer.
        async with http.get(pair.two.url + path, headers=PLATFORM) as response:
            assert await problem(response) == (503, "peer-unreachable")
            assert response.headers["Retry-After"]
        async with http.get(f"{pair.two.url}/v1/sessions", headers=PLATFORM) as response:
            answer = await response.json()
        assert answer["unanswered"] == [pair.as_seen_by(pair.one).tag]
        found = await fleet_metrics(http, pair.two)
        assert found['requests_total{kind="question",outcome="unanswered"}'] >= 2
        assert found["members"] == 1, "its address is still listed"
        client = await call(anywhere, session)
        try:
            await client.wait_for(lambda: bool(client.video.frames) and shows(client, GREEN))
            async with anywhere.get(path, headers=PLATFORM) as response:
                assert (await response.json())["state"] == "live"
            # It is found where it is now, by another server too: one that starts in the place of
            # the first, and is named by the id.
            settings = {
                name.removeprefix("BACKCLOTH_"): value for name, value in pair.one.environ.items()
            }
            with running(pair.port, **settings) as again:
                async with http.patch(
                    again.url + path, json={"effect": RED}, headers=held(session)
                ) as response:
                    assert response.status == 200, await response.text()
                await client.wait_for(lambda: shows(client, RED))
                # A server that is told to stop has it still; an offer opens it elsewhere.
                pair.two.process.send_signal(signal.SIGTERM)
                await until_stopping(http, pair.two)
                async with http.get(again.url + path, headers=PLATFORM) as response:
                    assert (await response.json())["effect"]["color"] == RED["color"]
                moved = await call(http, session, again.url)
                try:
                    await moved.wait_for(lambda: bool(moved.video.frames) and shows(moved, GREEN))
                    await client.close()
                    assert await asyncio.to_thread(pair.two.process.wait, 15) == 0
                    async with http.get(again.url + path, headers=PLATFORM) as response:
                        assert (await response.json())["state"] == "live"
                finally:
                    await moved.close()
        finally:
            await client.close()


async def until_stopping(http: aiohttp.ClientSession, service: Service) -> None:
    async with asyncio.timeout(10):
        while True:
            async with http.get(f"{service.url}/readyz") as response:
                if response.status == 503:
                    return
            await asyncio.sleep(0.05)
