"""Media through a real coturn, by credentials that the service made, in both directions."""

from __future__ import annotations

import json
import re
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aioice import stun, turn
from aioice.ice import Connection, StunProtocol
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
)

from service.policy.turn import TurnLender
from service.rtc.connection import ConnectionSettings
from tests.peers import Camera, Client
from tests.rtc.coturn import Coturn, coturn
from tests.rtc.pictures import moving_picture
from tests.rtc.stand import ICE, connected, peer_settings
from tests.running import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from service.frame.look import Look
    from service.frame.pipeline import Pipeline
    from tests.running import Service

pytestmark = [pytest.mark.model, pytest.mark.peer]

SECRET = "turn-secret-of-the-test"
KEY = "platform-key-of-the-test"
GREEN = {"type": "color", "color": "#00b140"}


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coturn]:
    with coturn(tmp_path_factory.mktemp("coturn"), SECRET) as running_one:
        yield running_one


@pytest.fixture(scope="module")
def service(relay: Coturn) -> Iterator[Service]:
    """One that offers nothing but what the relay gives it."""
    with running(
        API_KEYS=KEY,
        ICE_SERVERS=json.dumps([{"urls": relay.url}]),
        TURN_SECRET=SECRET,
        RELAY_ONLY="true",
        CPU_CORES="8",
    ) as one:
        yield one
        assert not [line for line in one.lines if SECRET in line or "Traceback" in line]


class RelayedClient(Client):
    """A stock client that knows these servers, and may be held to the relay."""

    def __init__(self, servers: list[dict[str, Any]], policy: RTCIceTransportPolicy) -> None:
        super().__init__()
        self.connection = RTCPeerConnection(
            RTCConfiguration(
                iceServers=[RTCIceServer(**one) for one in servers],
                bundlePolicy=RTCBundlePolicy.MAX_BUNDLE,
                iceTransportPolicy=policy,
            )
        )
        self.connection.addTrack(Camera(moving_picture))
        self.connection.on("track", self._on_track)


@asynccontextmanager
async def calling(
    service: Service, policy: RTCIceTransportPolicy
) -> AsyncIterator[tuple[RelayedClient, str, str]]:
    """A client, its offer and the answer that it got."""
    async with aiohttp.ClientSession(service.url) as http:
        keys = {"Authorization": f"Bearer {KEY}"}
        body = {"effect": GREEN, "audio": False, "ttl_s": 1200}
        async with http.post("/v1/sessions", json=body, headers=keys) as response:
            assert response.status == 201, await response.text()
            session = await response.json()
        (server,) = session["ice_servers"]
        ends_at, _, name = server["username"].partition(":")
        # It ends with the session, and is named by what logs call it.
        assert float(ends_at) == pytest.approx(session["expires_at"], abs=1.5)
        assert name == session["id"][:6]
        client = RelayedClient(session["ice_servers"], policy)
        offer = await client.offer()
        headers = {"Content-Type": "application/sdp", **keys}
        async with http.post(session["rtc_url"], data=offer, headers=headers) as response:
            assert response.status == 201, await response.text()
            assert f'credential="{server["credential"]}"' in response.headers["Link"]
            answer = await response.text()
            await client.accept(answer)
        try:
            yield client, offer, answer
        finally:
            await client.close()


def kinds(sdp: str) -> set[str]:
    return set(re.findall(r"^a=candidate:.* typ (\w+)", sdp, re.MULTILINE))


def green(client: Client) -> bool:
    seen = client.video.frames[-1].to_ndarray(format="rgb24").reshape(-1, 3).mean(axis=0)
    return all(abs(int(v) - w) < 30 for v, w in zip(seen, (0x00, 0xB1, 0x40), strict=True))


@pytest.mark.parametrize("policy", list(RTCIceTransportPolicy), ids=lambda one: one.value)
async def test_a_service_behind_a_relay(service: Service, policy: RTCIceTransportPolicy) -> None:
    async with calling(service, policy) as (client, offer, answer):
        assert kinds(answer) == {"relay"}
        assert ("host" in kinds(offer)) == (policy is RTCIceTransportPolicy.ALL)
        await client.wait_for(lambda: bool(client.video.frames) and green(client), timeout_s=30)


async def test_a_client_behind_a_relay(
    relay: Coturn, make_pipeline: Callable[[Look], Pipeline]
) -> None:
    lent = TurnLender(SECRET, longest_s=60).lend("client", now=time.time())
    server = {"urls": relay.url, "username": lent.username, "credential": lent.password}
    client = RelayedClient([server], RTCIceTransportPolicy.RELAY)
    async with connected(client, make_pipeline) as both:
        assert kinds(both.answer) == {"host"}
        assert kinds(client.connection.localDescription.sdp) == {"relay"}
        await client.wait_for(lambda: bool(client.video.frames) and green(client), timeout_s=30)


async def test_the_service_asks_for_a_credential_each_time(
    relay: Coturn, make_pipeline: Callable[[Look], Pipeline]
) -> None:
    """One of the start would have expired by the time of a later call."""
    lenders = [TurnLender(SECRET, longest_s=-60), TurnLender(SECRET, longest_s=60)]

    def servers() -> list[RTCIceServer]:
        lent = lenders.pop(0).lend("backcloth", now=time.time())
        return [RTCIceServer([relay.url], lent.username, lent.password)]

    settings = replace(peer_settings(), connection=ConnectionSettings(ICE, ice_servers=servers))
    for offered in ({"host"}, {"host", "relay"}):
        client = Client(Camera(moving_picture))
        async with connected(client, make_pipeline, settings=settings, accept=False) as both:
            assert kinds(both.answer) == offered


async def allocate(relay: Coturn, username: str, password: str) -> None:
    """A relayed address, given back at once; raises TransactionFailed."""
    ice = Connection(ice_controlling=False)
    transport, _ = await turn.create_turn_endpoint(
        lambda: StunProtocol(ice),
        server_addr=("127.0.0.1", relay.port),
        username=username,
        password=password,
    )
    transport.close()
    await ice.close()


async def test_credentials_that_are_not_good_relay_nothing(relay: Coturn) -> None:
    now = time.time()
    good = TurnLender(SECRET, longest_s=60).lend("a", now=now)
    await allocate(relay, good.username, good.password)
    expired = TurnLender(SECRET, longest_s=60).lend("a", now=now - 120)
    forged = TurnLender("another-secret-of-it", longest_s=60).lend("a", now=now)
    stretched = f"{int(now) + 3600}:a"
    for username, password in (
        (expired.username, expired.password),
        (forged.username, forged.password),
        (stretched, good.password),
    ):
        with pytest.raises(stun.TransactionFailed, match="401"):
            await allocate(relay, username, password)
