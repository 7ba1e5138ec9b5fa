"""The application on fakes, with platform keys and in development mode, and clients of both."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiohttp.test_utils import TestClient, TestServer

from service.policy.rules import Tenants
from service.policy.tokens import Tokens
from service.web.app import create_app
from tests.web.fakes import CREATED_AT, FakeCpu, FakeMetrics, FakeModels, FakePictures, FakeRegistry
from tests.web.signing import Clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from aiohttp import ClientResponse, web

    from service.library.library import Library
    from service.policy.addresses import Network
    from service.session.catalogue import ModelCatalogue
    from service.session.registry import Registry
    from service.web.access import PlatformSigned
    from service.web.peers import Peers

KEY = "platform-key-one"
OTHER_KEY = "platform-key-two"
ORIGIN = "https://meet.example.com"
OFFER = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n"
SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}

Client = TestClient["web.Request", "web.Application"]


@dataclass
class Stand:
    """One application and what a test turns on it."""

    registry: FakeRegistry = field(default_factory=FakeRegistry)
    pictures: FakePictures | Library = field(default_factory=FakePictures)
    models: FakeModels = field(default_factory=FakeModels)
    tokens: Tokens = field(default_factory=lambda: Tokens([b"s" * 32]))
    metrics: FakeMetrics = field(default_factory=FakeMetrics)
    now: float = CREATED_AT
    started: bool = True
    capacity: float = 0.5
    api_keys: Sequence[str] = (KEY, OTHER_KEY)
    allowed_origins: Sequence[str] = (ORIGIN,)
    ice_servers: Sequence[Mapping[str, object]] = ()
    page_dir: Path = Path("no-page")
    platform_signed: PlatformSigned | None = None
    tenants: Tenants = field(default_factory=Tenants)
    clock: Clock = field(default_factory=Clock)
    sfu_networks: Sequence[Network] = ()
    peers: Peers | None = None

    def app(self) -> web.Application:
        return create_app(
            registry=cast("Registry", self.registry),
            pictures=cast("Library", self.pictures),
            models=cast("ModelCatalogue", self.models),
            tokens=self.tokens,
            metrics=self.metrics,
            cpu=FakeCpu(),
            capacity=lambda: self.capacity,
            page_dir=self.page_dir,
            api_keys=self.api_keys,
            allowed_origins=self.allowed_origins,
            ice_servers=lambda _id, _expires_at: self.ice_servers,
            max_picture_bytes=4096,
            started=lambda: self.started,
            now=lambda: self.now,
            now_s=self.clock,
            platform_signed=self.platform_signed,
            tenants=self.tenants,
            sfu_networks=self.sfu_networks,
            peers=self.peers,
        )

    @asynccontextmanager
    async def client(self, **headers: str) -> AsyncIterator[Client]:
        """A client that sends these headers with each request."""
        server = TestServer(self.app(), host="127.0.0.1")
        async with TestClient(server, headers=headers) as client:
            yield client


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


async def opened(client: Client, **body: Any) -> dict[str, Any]:
    """A session that the platform opened: the answer's JSON."""
    response = await client.post("/v1/sessions", json=body, headers=bearer(KEY))
    assert response.status == 201
    answer: dict[str, Any] = await response.json()
    return answer


async def problem(response: ClientResponse) -> tuple[int, str]:
    """Status and kind of an error, which must be a whole problem+json."""
    assert response.content_type == "application/problem+json"
    body = await response.json()
    assert body["status"] == response.status
    assert body["title"]
    assert body["detail"]
    kind: str = body["type"]
    assert kind.startswith("/problems/")
    return response.status, kind.removeprefix("/problems/")


@pytest.fixture
def stand() -> Stand:
    return Stand()


@pytest.fixture
async def client(stand: Stand) -> AsyncIterator[Client]:
    async with stand.client() as made:
        yield made


@pytest.fixture
def development() -> Stand:
    """The same without keys."""
    return Stand(api_keys=())
