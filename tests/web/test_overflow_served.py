"""Three real services as one fleet, all asked through the first: it passes on what it has no room
for, until all of them are full."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import aioice.ice
import pytest

from service.policy.fleet import Asked, Fleet, Member
from service.web.peers import HOP
from tests.far_server import TOKEN, far_server
from tests.peers import Camera, Client
from tests.rtc.pictures import moving_picture
from tests.running import free_port, running
from tests.session.test_audience import is_green
from tests.web.conftest import problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.running import Service

pytestmark = [pytest.mark.model, pytest.mark.peer]

KEY = "platform-key-of-the-fleet"
SECRET = "fleet-secret-of-32-bytes-or-more"
PLATFORM = {"Authorization": f"Bearer {KEY}"}
JSON = {"Content-Type": "application/json", **PLATFORM}
SDP = {"Content-Type": "application/sdp"}
HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
EACH = 2
"""Sessions that one has room for: 0.4 cores each of 0.85."""
GREEN = {"type": "color", "color": "#00b140"}
BOUND_S = 10.0
"""In which a refusal must come, whatever the others do."""


@dataclass
class Three:
    """Services of one fleet."""

    services: tuple[Service, ...]
    port: int

    @property
    def first(self) -> Service:
        return self.services[0]

    def tags(self) -> dict[str, Service]:
        fleets = [Fleet([SECRET.encode()], f"{host} {self.port}") for host in HOSTS]
        return {one.tag: service for one, service in zip(fleets, self.services, strict=True)}

    def home(self, session: Mapping[str, Any]) -> Service:
        return self.tags()[session["id"].rpartition(".")[2]]


@pytest.fixture(autouse=True)
def clients_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


@pytest.fixture(scope="module")
def three() -> Iterator[Three]:
    port = free_port()
    settings = {
        "API_KEYS": KEY,
        "TOKEN_SECRETS": "t" * 32,
        "CPU_CORES": "1",
        "SESSION_CORES": "0.4",
        "FLEET": ",".join(f"http://{host}:{port}" for host in HOSTS),
        "FLEET_SECRETS": SECRET,
        "SFU_NETWORKS": "127.0.0.0/8",
        "LOG_LEVEL": "debug",
    }
    one, two, three = HOSTS
    with (
        running(port, HOST=one, FLEET_ADDRESS=one, **settings) as first,
        running(port, HOST=two, FLEET_ADDRESS=two, **settings) as second,
        running(port, HOST=three, FLEET_ADDRESS=three, **settings) as third,
    ):
        made = Three((first, second, third), port)
        yield made
        for service in made.services:
            assert not [line for line in service.lines if "Traceback" in line]


async def post(
    http: aiohttp.ClientSession, service: Service, *, key: str | None = None, **body: Any
) -> tuple[int, Mapping[str, str], dict[str, Any]]:
    headers = JSON if key is None else {**JSON, "Idempotency-Key": key}
    data = json.dumps({"audio": False, "effect": GREEN, **body})
    async with http.post(f"{service.url}/v1/sessions", data=data, headers=headers) as answer:
        return answer.status, answer.headers.copy(), await answer.json(content_type=None)


async def emptied(http: aiohttp.ClientSession, three: Three) -> None:
    """Nobody has a session, and nobody believes what it was told before."""
    for service in three.services:
        async with http.get(f"{service.url}/v1/sessions?limit=200", headers=PLATFORM) as answer:
            ids = [one["id"] for one in (await answer.json())["sessions"]]
        for one in ids:
            async with http.delete(f"{service.url}/v1/sessions/{one}", headers=PLATFORM) as answer:
                assert answer.status in (204, 404)
    await asyncio.sleep(1.1)


async def counted(http: aiohttp.ClientSession, service: Service) -> Counter[str]:
    async with http.get(f"{service.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
    return Counter({name.removeprefix("backcloth_"): int(float(v)) for name, _, v in pairs})


async def test_a_full_server_passes_on_until_all_are_full(three: Three) -> None:
    async with aiohttp.ClientSession() as http:
        await emptied(http, three)
        before = [await counted(http, one) for one in three.services]
        opened = []
        for _ in range(EACH * len(HOSTS)):
            status, headers, session = await post(http, three.first)
            assert status == 201, session
            assert headers["Location"] == f"/v1/sessions/{session['id']}"
            opened.append(session)
        homes = Counter(three.home(one).url for one in opened)
        assert homes == {one.url: EACH for one in three.services}
        assert [three.home(one) for one in opened[:EACH]] == [three.first] * EACH

        began_s = time.monotonic()
        status, headers, refused = await post(http, three.first)
        assert time.monotonic() - began_s < BOUND_S
        assert (status, refused["type"], refused["reason"]) == (
            503, "/problems/no-capacity", "cpu_budget",
        )  # fmt: skip
        assert int(headers["Retry-After"]) >= 5

        # Every one answers for all of them, and each is counted once as admitted.
        for service in three.services:
            for one in opened:
                path = f"{service.url}/v1/sessions/{one['id']}"
                async with http.get(path, headers=PLATFORM) as answer:
                    assert answer.status == 200
        after = [await counted(http, one) for one in three.services]
        first, *rest = (now - then for now, then in zip(after, before, strict=True))
        passed_on = EACH * (len(HOSTS) - 1)
        assert first['admission_total{decision="admitted",reason=""}'] == EACH
        assert first['admission_total{decision="passed_on",reason="cpu_budget"}'] == passed_on
        assert first['admission_total{decision="rejected",reason="cpu_budget"}'] == 1
        assert first['fleet_passed_on_total{outcome="opened"}'] == passed_on
        for one in rest:
            assert one['admission_total{decision="admitted",reason=""}'] == EACH
            assert not one['admission_total{decision="rejected",reason="cpu_budget"}']


async def test_a_key_opens_one_session_wherever_it_went(three: Three) -> None:
    async with aiohttp.ClientSession() as http:
        await emptied(http, three)
        for _ in range(EACH):
            assert (await post(http, three.first))[0] == 201
        # The same request several times at once, and again afterwards.
        answers = await asyncio.gather(*(post(http, three.first, key="once") for _ in range(5)))
        answers.append(await post(http, three.first, key="once"))
        assert {status for status, _, _ in answers} == {201}
        (name,) = {session["id"] for _, _, session in answers}
        assert three.home(answers[0][2]) is not three.first
        # Where it went it is known by that key as well.
        _, _, there = await post(http, three.home(answers[0][2]), key="once")
        assert there["id"] == name
        status, _, refused = await post(http, three.first, key="once", effect={"type": "blur"})
        assert (status, refused["type"]) == (422, "/problems/idempotency-key-reused")


async def test_a_session_that_is_pulled_and_pushed_by_the_server_that_has_room(
    three: Three,
) -> None:
    """Its other servers go along with it; through the first it is looked at, changed and ended."""
    async with aiohttp.ClientSession() as http, far_server() as far:
        await emptied(http, three)
        for _ in range(EACH):
            assert (await post(http, three.first))[0] == 201
        body = {
            "pull": {"url": far.whep, "token": TOKEN},
            "push": {"url": far.whip, "token": TOKEN},
        }
        status, headers, session = await post(http, three.first, key="pushed", **body)
        assert status == 201, session
        assert three.home(session) is not three.first
        await far.frames(10)
        assert all(map(is_green, far.video.frames))
        # The same request again opens nothing more: there is one who sends there.
        _, _, again = await post(http, three.first, key="pushed", **body)
        assert again["id"] == session["id"]
        assert far.count("POST") == 2
        url = three.first.url + headers["Location"]
        async with http.get(url, headers=PLATFORM) as answer:
            now = await answer.json()
        assert (now["pull"]["state"], now["push"]["state"]) == ("live", "live")
        blur = json.dumps({"effect": {"type": "blur"}})
        async with http.patch(url, data=blur, headers=JSON) as answer:
            assert answer.status == 200
        await far.until(lambda: not is_green(far.video.frames[-1]))
        async with http.delete(url, headers=PLATFORM) as answer:
            assert answer.status == 204
        assert (far.count("DELETE"), far.made) == (2, {})
    said = "".join(line for service in three.services for line in service.lines)
    for secret in (TOKEN, "secret-of-the-address"):
        assert secret not in said + json.dumps([session, now])


async def test_it_goes_one_hop(three: Three) -> None:
    """A request that another member sent on is refused where there is no room, though others have
    some."""
    async with aiohttp.ClientSession() as http:
        await emptied(http, three)
        for _ in range(EACH):
            assert (await post(http, three.first))[0] == 201
        sender = Fleet([SECRET.encode()], f"{HOSTS[1]} {three.port}")
        to = Member("http", HOSTS[0], three.port, HOSTS[0])
        hop = sender.sign(
            to, Asked("POST", "/v1/sessions", PLATFORM["Authorization"]), now=time.time()
        )
        url = f"{three.first.url}/v1/sessions"
        async with http.post(url, data=b"{}", headers={**JSON, HOP: hop}) as answer:
            assert await problem(answer) == (503, "no-capacity")
        # How much room there is is nobody else's business.
        room = f"{three.first.url}/v1/fleet/room"
        async with http.get(room, headers=PLATFORM) as answer:
            assert await problem(answer) == (403, "forbidden")
        assert (await post(http, three.first))[0] == 201


async def test_a_call_and_a_stream_through_a_full_server(three: Three) -> None:
    """Their offers are passed on as well: of a session whose server is gone, and of a publisher."""
    async with aiohttp.ClientSession() as http:
        await emptied(http, three)
        # Of a session that no server has: a token is enough to open it, where there is room.
        _, _, session = await post(http, three.services[2])
        token = {"Authorization": f"Bearer {session['token']}"}
        for _ in range(EACH):
            assert (await post(http, three.first))[0] == 201
        three.services[2].process.send_signal(signal.SIGKILL)
        three.services[2].process.wait(15)
        client = Client(Camera(moving_picture))
        url = f"{three.first.url}{session['rtc_url']}"
        try:
            async with http.post(url, data=await client.offer(), headers={**SDP, **token}) as got:
                assert got.status == 201, await got.text()
                assert got.headers["Location"].startswith(f"/v1/sessions/{session['id']}/rtc/")
                assert got.headers["ETag"]
                assert got.content_type == "application/sdp"
                await client.accept(await got.text())
            await client.frames(3, timeout_s=30)
            seen = client.video.frames[-1].to_ndarray(format="rgb24").reshape(-1, 3).mean(axis=0)
            assert abs(seen - (0, 0xB1, 0x40)).max() < 30
            path = f"/v1/sessions/{session['id']}"
            async with http.get(f"{three.first.url}{path}", headers=PLATFORM) as answer:
                assert (await answer.json())["state"] == "live"
        finally:
            await client.close()

        camera = Client(Camera(moving_picture))
        for transceiver in camera.connection.getTransceivers():
            transceiver.direction = "sendonly"
        whip = f"{three.first.url}/v1/whip"
        try:
            offer = await camera.offer()
            async with http.post(whip, data=offer, headers={**SDP, **PLATFORM}) as answer:
                assert answer.status == 201, await answer.text()
                assert any('rel="related"' in link for link in answer.headers.getall("Link"))
                await camera.accept(await answer.text())
                location = answer.headers["Location"]
            async with http.delete(f"{three.first.url}{location}", headers=PLATFORM) as answer:
                assert answer.status == 200
        finally:
            await camera.close()
        # One of the members is dead, and the rest is full: a refusal comes in bounded time.
        began_s = time.monotonic()
        statuses = [(await post(http, three.first))[0] for _ in range(EACH)]
        assert statuses[-1] == 503
        assert time.monotonic() - began_s < EACH * BOUND_S
