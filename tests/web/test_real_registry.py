"""The application on the real registry and library: what the fakes promise holds for these."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from PIL import Image

from service.cpu import CpuReader
from service.library.library import Library
from service.library.store import PictureStore
from service.library.stored import Bounds, StoredPictures
from service.metrics import Metrics
from service.policy.admission import Admission
from service.policy.cost import CostModel
from service.policy.effects import ALL, Blur
from service.policy.tokens import Tokens
from service.rtc.connection import ConnectionSettings
from service.rtc.ice import IceSettings
from service.rtc.peer import PeerSettings
from service.session.catalogue import ModelCatalogue
from service.session.pictures import BuiltInPictures
from service.session.registry import Registry
from service.session.session import Session, State
from service.session.spec import SessionSettings, SessionSpec
from service.web.app import create_app
from service.workers import Workers
from tests.library.stand import Failures
from tests.peers import Camera
from tests.peers import Client as Peer
from tests.rtc.pictures import moving_picture
from tests.session.stand import ShippedNetworks
from tests.web.conftest import OFFER, SDP, Client, bearer, problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from service.frame.pipeline import Look, Pipeline

PICTURE_PX = (64, 36)


def picture(format: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", PICTURE_PX, (200, 120, 40)).save(out, format)
    return out.getvalue()


def no_pipeline(_: Look, __: SessionSpec) -> Pipeline:
    raise AssertionError("no track is ever made here")


@pytest.fixture
def store(tmp_path: Path) -> PictureStore:
    return PictureStore.open(str(tmp_path / "library"), endpoint="", counters=Failures())


@pytest.fixture
def pictures(tmp_path: Path, store: PictureStore) -> Library:
    (tmp_path / "attic.webp").write_bytes(picture("WEBP"))
    return Library(BuiltInPictures(tmp_path), StoredPictures(store, Bounds()))


@pytest.fixture
async def registry(pictures: Library) -> AsyncIterator[Registry]:
    metrics = Metrics(process_metrics=False)
    with Workers(lambda: 1.0, cpus=1) as workers:
        made = Registry(
            settings=SessionSettings(
                peer=PeerSettings(
                    connection=ConnectionSettings(ice=IceSettings(include_loopback=True))
                ),
                max_picture_bytes=4096,
            ),
            admission=Admission(quota_cores=2.0, cost=CostModel(1.0), planned_share=1.0),
            pictures=pictures,
            models=ModelCatalogue(ShippedNetworks()),
            make_pipeline=no_pipeline,
            workers=workers,
            peer_counters=metrics,
            counters=metrics,
        )
        yield made
        await made.drain()


@pytest.fixture
async def client(registry: Registry, pictures: Library, tmp_path: Path) -> AsyncIterator[Client]:
    metrics = Metrics(process_metrics=False)
    cpu = CpuReader(quota_cores=2.0)
    metrics.watch(
        sessions=registry.states,
        capacity=lambda: 0.5,
        draining=lambda: False,
        reserved_cores=lambda: 1.0,
        session_cost=dict,
        cpu=cpu,
    )
    app = create_app(
        registry=registry,
        pictures=pictures,
        models=ModelCatalogue(ShippedNetworks()),
        tokens=Tokens([b"s" * 32]),
        metrics=metrics,
        cpu=cpu,
        capacity=lambda: 0.5,
        page_dir=tmp_path,
        max_picture_bytes=4096,
    )
    async with TestClient(TestServer(app, host="127.0.0.1")) as made:
        yield made


async def test_a_session_from_opening_to_end(client: Client) -> None:
    opened = await (
        await client.post("/v1/sessions", json={"effect": {"type": "image", "background": "attic"}})
    ).json()
    path = f"/v1/sessions/{opened['id']}"
    described = await (await client.get(path)).json()
    assert (described["id"], described["state"]) == (opened["id"], "created")
    assert described["expires_at"] == opened["expires_at"]
    assert described["tracks"] == []

    use_own = {"effect": {"type": "image", "background": "session"}}
    assert await problem(await client.patch(path, json=use_own)) == (422, "invalid-field")
    response = await client.put(
        f"{path}/background", data=picture("PNG"), headers={"Content-Type": "image/png"}
    )
    assert await response.json() == {"background": "session"}
    response = await client.patch(path, json=use_own)
    assert (await response.json())["effect"]["background"] == "session"
    response = await client.put(
        f"{path}/background", data=b"no picture", headers={"Content-Type": "image/png"}
    )
    assert await problem(response) == (422, "bad-picture")

    response = await client.patch(f"{path}/tracks/0", json={"effect": {"type": "blur"}})
    assert await problem(response) == (404, "unknown-track")
    assert (await client.delete(path)).status == 204
    assert await problem(await client.get(path)) == (404, "unknown-session")


async def test_offers_that_lead_nowhere_leave_the_session_open(client: Client) -> None:
    opened = await (await client.post("/v1/sessions")).json()
    for offer in ("", "hello", OFFER):
        response = await client.post(
            opened["rtc_url"], data=offer.encode(), headers={**SDP, **bearer(opened["token"])}
        )
        status, kind = await problem(response)
        assert (status, kind) in [(400, "bad-offer"), (422, "unsupported-offer")]
    response = await client.delete(f"{opened['rtc_url']}/nobody")
    assert await problem(response) == (404, "unknown-peer")
    described = await (await client.get(f"/v1/sessions/{opened['id']}")).json()
    assert described["state"] == "created"


async def test_full_and_draining(client: Client, registry: Registry) -> None:
    for _ in range(2):
        assert (await client.post("/v1/sessions")).status == 201
    response = await client.post("/v1/sessions")
    assert await problem(response) == (503, "no-capacity")
    assert (await response.json())["reason"] == "cpu_budget"
    assert (await client.get("/readyz")).status == 200
    await registry.drain()
    response = await client.post("/v1/sessions")
    assert (await response.json())["reason"] == "draining"
    assert await problem(await client.get("/readyz")) == (503, "not-ready")
    text = await (await client.get("/metrics")).text()
    assert 'backcloth_sessions{state="created"} 0.0' in text


async def test_a_session_opens_while_a_scrape_counts_them(
    client: Client, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await client.post("/v1/sessions")).status == 201
    loop, loop_thread = asyncio.get_running_loop(), threading.current_thread()
    opened = threading.Event()

    def open_another() -> None:
        registry.create(SessionSpec(effect=Blur(), allowed_effects=ALL))
        opened.set()

    def state(session: Session) -> State:
        # The scrape counts in a thread of its own: there, between one session and the next.
        if threading.current_thread() is not loop_thread and not opened.is_set():
            loop.call_soon_threadsafe(open_another)
            opened.wait(5)
        counted: State = vars(session)["state"]
        return counted

    def become(session: Session, new: State) -> None:
        vars(session)["state"] = new

    monkeypatch.setattr(Session, "state", property(state, become), raising=False)
    response = await client.get("/metrics")
    assert response.status == 200
    assert 'backcloth_sessions{state="created"}' in await response.text()
    assert opened.is_set()
    assert len(registry.sessions()) == 2


async def test_the_library(client: Client) -> None:
    (listed,) = (await (await client.get("/v1/backgrounds")).json())["backgrounds"]
    assert (listed["name"], listed["title"]) == ("attic", "Attic")
    assert (listed["width"], listed["height"]) == PICTURE_PX
    response = await client.get(listed["url"])
    assert await response.read() == picture("WEBP")


@pytest.mark.peer
async def test_a_picture_that_is_damaged_in_the_store(client: Client, store: PictureStore) -> None:
    """It ends early. Its beginning is good, so it is listed and effects may name it."""
    await store.write("broken", picture("WEBP")[:60])
    broken = {"effect": {"type": "image", "background": "broken"}}
    opened = await (await client.post("/v1/sessions", json=broken)).json()
    session = f"/v1/sessions/{opened['id']}"
    peer = Peer(Camera(moving_picture))
    offer = {"data": await peer.offer(), "headers": {**SDP, **bearer(opened["token"])}}
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/v1/backgrounds/broken?size=thumbnail", {}),
        ("GET", "/v1/backgrounds/broken/thumbnail", {}),
        ("PATCH", session, {"json": broken}),
        ("PATCH", f"{session}/tracks/0", {"json": broken}),
        ("POST", f"{session}/rtc", offer),
        ("POST", "/v1/whip", offer),
    ]
    try:
        for method, path, more in calls:
            response = await client.request(method, path, **more)
            assert await problem(response) == (422, "bad-picture"), (method, path)
    finally:
        await peer.close()
    # The file is handed out as it is: whoever keeps it may want to see it.
    response = await client.get("/v1/backgrounds/broken")
    assert (response.status, len(await response.read())) == (200, 60)
    assert (await (await client.get(session)).json())["state"] == "created"


async def test_versions_pages_and_the_end_of_many(client: Client, registry: Registry) -> None:
    opened = [
        await (await client.post("/v1/sessions", json={"metadata": {"n": str(n)}})).json()
        for n in range(2)
    ]
    path = f"/v1/sessions/{opened[0]['id']}"
    seen = (await client.get(path)).headers["ETag"]
    changes = [{"effect": {"type": "color", "color": color}} for color in ("#00b140", "#b00000")]
    answers = await asyncio.gather(
        *(client.patch(path, json=body, headers={"If-Match": seen}) for body in changes)
    )
    assert sorted(answer.status for answer in answers) == [200, 412]
    before = (await client.get(path)).headers["ETag"]
    refused = await client.patch(
        path, json={"effect": {"type": "none"}}, headers={"If-Match": before}
    )
    assert await problem(refused) == (403, "effect-not-allowed")
    assert (await client.get(path)).headers["ETag"] == before
    await client.put(
        f"{path}/background", data=picture("PNG"), headers={"Content-Type": "image/png"}
    )
    assert (await client.get(path)).headers["ETag"] != before

    first = await (await client.get("/v1/sessions?limit=1&quality_level=full")).json()
    assert [one["id"] for one in first["sessions"]] == [opened[0]["id"]]
    cursor = first["next_cursor"]
    second = await (await client.get(f"/v1/sessions?limit=1&cursor={cursor}")).json()
    assert [one["id"] for one in second["sessions"]] == [opened[1]["id"]]
    assert second["next_cursor"] is None

    response = await client.post("/v1/sessions/end", json={"filter": {"state": "created"}})
    assert (await response.json())["ended"] == [one["id"] for one in opened]
    assert registry.sessions() == []
    async with client.get("/v1/events", headers={"Last-Event-ID": "0"}) as stream:
        told = []
        async for line in stream.content:
            if line.startswith(b"data: "):
                told.append(json.loads(line.removeprefix(b"data: ")))
                if len(told) == 5:
                    break
    assert [(one["type"], one["metadata"]["n"]) for one in told] == [
        ("session.created", "0"),
        ("session.created", "1"),
        ("effect.changed", "0"),
        ("session.ended", "0"),
        ("session.ended", "1"),
    ]
    assert told[3]["frames"] == dict.fromkeys(told[3]["frames"], 0)
