"""Pictures put into a real library over HTTP, and everything that is refused."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from service.errors import LibraryUnavailable
from service.library.library import Library
from service.library.store import PictureStore, Stored
from service.library.stored import Bounds, StoredPictures
from service.session.films import LEAST_BYTES, Films
from service.session.pictures import BuiltInPictures
from tests.frame.reels import reel
from tests.frame.test_picture import png_header_only
from tests.library.stand import BLUE, RED, Failures, picture
from tests.web.conftest import KEY, SDP, Client, Stand, bearer, opened, problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PLATFORM = bearer(KEY)
PNG = {**PLATFORM, "Content-Type": "image/png"}
ATTIC = "/v1/backgrounds/attic"


class Breakable(PictureStore):
    """A folder that may be down."""

    down = False

    async def list(self) -> tuple[Stored, ...]:
        if self.down:
            raise LibraryUnavailable
        return await super().list()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "library"


@pytest.fixture
def store(folder: Path) -> Breakable:
    made = Breakable.open(str(folder), endpoint="", counters=Failures())
    assert isinstance(made, Breakable)
    return made


def files(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir()]


@pytest.fixture
async def client(tmp_path: Path, store: Breakable) -> AsyncIterator[Client]:
    (tmp_path / "dawn.webp").write_bytes(picture((9, 9, 9), kind="WEBP"))
    bounds = Bounds(pictures=3, picture_bytes=4096, picture_pixels=1_000_000)
    library = Library(BuiltInPictures(tmp_path), StoredPictures(store, bounds))
    async with Stand(pictures=library).client() as made:
        yield made


async def test_a_picture_from_putting_to_deletion(client: Client) -> None:
    response = await client.put(ATTIC, data=RED, headers=PNG)
    assert response.status == 201
    assert response.headers["Location"] == ATTIC
    assert "ETag" not in response.headers
    told = await response.json()
    listed = (await (await client.get("/v1/backgrounds", headers=PLATFORM)).json())["backgrounds"]
    assert [(one["name"], one["built_in"]) for one in listed] == [("attic", False), ("dawn", True)]
    assert listed[0] == told
    assert (told["type"], told["width"], told["height"]) == ("image/webp", 320, 180)

    token = (await opened(client))["token"]
    for url in (told["url"], told["thumbnail_url"]):
        response = await client.get(url, headers=bearer(token))
        assert (response.status, response.content_type) == (200, "image/webp")
        assert response.headers["Cache-Control"] == "private, no-cache"
        with Image.open(io.BytesIO(await response.read())) as image:
            assert image.size == (320, 180)
        known = {**PLATFORM, "If-None-Match": response.headers["ETag"]}
        again = await client.get(url, headers=known)
        assert (again.status, await again.read()) == (304, b"")
    response = await client.head(ATTIC, headers=PLATFORM)
    assert response.headers["ETag"] == told["etag"]
    assert response.headers["Content-Length"] == str(told["size"])

    response = await client.put(ATTIC, data=BLUE, headers=PNG)
    assert response.status == 200
    assert (await response.json())["etag"] != told["etag"]
    effect = {"effect": {"type": "image", "background": "attic"}}
    assert (await opened(client, **effect))["effect"]["background"] == "attic"
    assert (await client.delete(ATTIC, headers=PLATFORM)).status == 204
    assert await problem(await client.delete(ATTIC, headers=PLATFORM)) == (
        404,
        "unknown-background",
    )
    response = await client.post("/v1/sessions", json=effect, headers=PLATFORM)
    assert await problem(response) == (422, "invalid-field")


async def test_changes_go_by_what_was_seen(client: Client) -> None:
    def only(**headers: str) -> dict[str, str]:
        return {**PNG, **{name.replace("_", "-"): value for name, value in headers.items()}}

    response = await client.put(ATTIC, data=RED, headers=only(If_Match="*"))
    assert await problem(response) == (412, "precondition-failed")
    assert "ETag" not in response.headers
    response = await client.put(ATTIC, data=RED, headers=only(If_None_Match="*"))
    assert response.status == 201
    first = (await response.json())["etag"]
    for condition in (
        only(If_None_Match="*"),
        only(If_None_Match=f'"x", W/{first}'),
        only(If_Match='"x"'),
        only(If_Match=f"W/{first}"),
        only(If_Match=first, If_None_Match=first),
    ):
        response = await client.put(ATTIC, data=BLUE, headers=condition)
        assert await problem(response) == (412, "precondition-failed")
        assert response.headers["ETag"] == first
    response = await client.put(ATTIC, data=BLUE, headers=only(If_Match=f'"x", {first}'))
    assert response.status == 200
    response = await client.delete(ATTIC, headers=only(If_Match=first))
    assert await problem(response) == (412, "precondition-failed")
    response = await client.delete(ATTIC, headers=only(If_Match="nonsense"))
    assert await problem(response) == (422, "invalid-field")
    assert (await client.delete(ATTIC, headers=only(If_Match="*"))).status == 204


async def test_who_may(client: Client) -> None:
    token = bearer((await opened(client))["token"])
    for headers, expected in (
        (token, (403, "forbidden")),
        ({}, (401, "unauthorized")),
        (bearer("x" * 20), (401, "unauthorized")),
    ):
        response = await client.put(
            ATTIC, data=RED, headers={**headers, "Content-Type": "image/png"}
        )
        assert await problem(response) == expected
        assert await problem(await client.delete(ATTIC, headers=headers)) == expected


@pytest.mark.parametrize(
    "name",
    ["..%2Fattic", "%2e%2e", "a%2Fb", "..%5Cattic", "Attic", "a.webp", "a" * 65, "a%00", "a%0A"],
)
async def test_names_lead_nowhere_else(client: Client, folder: Path, name: str) -> None:
    path = f"/v1/backgrounds/{name}"
    response = await client.put(path, data=RED, headers=PNG)
    assert (await problem(response))[0] in (404, 422)
    for url in (path, f"{path}/thumbnail"):
        assert (await problem(await client.get(url, headers=PLATFORM)))[0] == 404
    assert (await problem(await client.delete(path, headers=PLATFORM)))[0] == 404
    assert files(folder) == []


def moving(kind: str) -> bytes:
    out = io.BytesIO()
    frames = [Image.new("RGB", (16, 16), (n, n, n)) for n in range(100)]
    frames[0].save(out, kind, save_all=True, append_images=frames[1:])
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "media_type", "expected"),
    [
        (b"\0" * 5000, "image/png", (413, "body-too-large")),
        (png_header_only(1001, 1000), "image/png", (422, "bad-picture")),
        (png_header_only(60_000, 60_000), "image/png", (422, "bad-picture")),
        (moving("WEBP"), "image/webp", (422, "bad-picture")),
        (b"<svg onload=alert(1)>", "image/png", (422, "bad-picture")),
        (RED[:-40], "image/png", (422, "bad-picture")),
        (b"", "image/png", (422, "bad-picture")),
        (RED, "image/svg+xml", (415, "unsupported-media-type")),
        (RED, "text/html", (415, "unsupported-media-type")),
        (RED, "", (415, "unsupported-media-type")),
    ],
    ids=range(10),
)
async def test_what_is_not_taken(
    client: Client, folder: Path, data: bytes, media_type: str, expected: tuple[int, str]
) -> None:
    response = await client.put(ATTIC, data=data, headers={**PLATFORM, "Content-Type": media_type})
    assert await problem(response) == expected
    assert files(folder) == []


async def test_a_slow_body_is_given_up_and_holds_its_place_alone(
    client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.web.backgrounds.PICTURE_TIMEOUT_S", 0.5)
    sent, forever = asyncio.Event(), asyncio.Event()

    async def stuck() -> Any:
        yield RED[:10]
        sent.set()
        await forever.wait()

    slow = asyncio.create_task(client.put(ATTIC, data=stuck(), headers=PNG))
    await sent.wait()
    response = await client.put(ATTIC, data=RED, headers=PNG)
    assert await problem(response) == (429, "too-many-uploads")
    response = await client.put("/v1/backgrounds/cellar", data=RED, headers=PNG)
    assert response.status == 201
    assert await problem(await slow) == (408, "body-timeout")
    forever.set()
    assert files(folder) == ["cellar.webp"]


async def test_what_a_library_refuses(client: Client, store: Breakable) -> None:
    for name, expected in (
        ("dawn", (409, "built-in-background")),
        ("session", (422, "invalid-field")),
    ):
        response = await client.put(f"/v1/backgrounds/{name}", data=RED, headers=PNG)
        assert await problem(response) == expected
    response = await client.delete("/v1/backgrounds/dawn", headers=PLATFORM)
    assert await problem(response) == (409, "built-in-background")
    for number in range(3):
        response = await client.put(f"/v1/backgrounds/n{number}", data=RED, headers=PNG)
        assert response.status == 201
    response = await client.put(ATTIC, data=RED, headers=PNG)
    assert await problem(response) == (507, "library-full")
    assert "3 pictures" in (await response.json())["detail"]


async def test_a_store_that_is_down(client: Client, store: Breakable) -> None:
    store.down = True
    response = await client.put(ATTIC, data=RED, headers=PNG)
    assert await problem(response) == (503, "library-unavailable")
    assert response.headers["Retry-After"] == "2"
    listed = await (await client.get("/v1/backgrounds", headers=PLATFORM)).json()
    assert [one["name"] for one in listed["backgrounds"]] == ["dawn"]
    assert listed["current"] is False
    dawn = {"effect": {"type": "image", "background": "dawn"}}
    assert (await client.post("/v1/sessions", json=dawn, headers=PLATFORM)).status == 201
    session = f"/v1/sessions/{(await opened(client))['id']}"
    attic = {"json": {"effect": {"type": "image", "background": "attic"}}}
    offer = {"data": "the store is down", "headers": {**PLATFORM, **SDP}}
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/v1/sessions", attic),
        ("PATCH", session, attic),
        ("PATCH", f"{session}/tracks/0", attic),
        ("POST", f"{session}/rtc", offer),
        ("POST", "/v1/whip", offer),
        ("GET", ATTIC, {}),
        ("GET", f"{ATTIC}/thumbnail", {}),
        ("DELETE", ATTIC, {}),
    ]
    for method, path, more in calls:
        response = await client.request(method, path, **{"headers": PLATFORM, **more})
        assert await problem(response) == (503, "library-unavailable"), (method, path)


async def test_without_a_library(tmp_path: Path) -> None:
    async with Stand(pictures=Library(BuiltInPictures(tmp_path))).client() as client:
        for method in ("PUT", "DELETE"):
            response = await client.request(method, ATTIC, data=RED, headers=PNG)
            assert await problem(response) == (409, "no-library")
            assert "BACKCLOTH_LIBRARY" in (await response.json())["detail"]
        assert (await client.get("/v1/backgrounds", headers=PLATFORM)).status == 200


async def test_a_film_from_putting_to_deletion(client: Client) -> None:
    film = {**PLATFORM, "Content-Type": "video/webm"}
    response = await client.put("/v1/backgrounds/waves", data=reel(form="webm"), headers=film)
    assert response.status == 201
    told = await response.json()
    assert (told["kind"], told["type"]) == ("film", "video/webm")
    assert (told["width"], told["height"]) == (320, 180)
    listed = (await (await client.get("/v1/backgrounds", headers=PLATFORM)).json())["backgrounds"]
    assert {one["name"]: one["kind"] for one in listed} == {"dawn": "picture", "waves": "film"}
    response = await client.get(told["url"], headers=PLATFORM)
    assert (response.status, response.content_type) == (200, "video/webm")
    assert len(await response.read()) == told["size"]
    response = await client.get(told["thumbnail_url"], headers=PLATFORM)
    assert (response.status, response.content_type) == (200, "image/webp")
    # What it is said to be matters as little as for a picture.
    response = await client.put("/v1/backgrounds/waves", data=reel(form="webm"), headers=PNG)
    assert response.status == 200
    response = await client.put("/v1/backgrounds/waves", data=reel()[:300], headers=film)
    assert await problem(response) == (422, "bad-picture")
    response = await client.delete("/v1/backgrounds/waves", headers=PLATFORM)
    assert response.status == 204


async def test_a_film_that_the_library_has_no_memory_for(tmp_path: Path, store: Breakable) -> None:
    films = Films(LEAST_BYTES - 1)
    library = Library(BuiltInPictures(tmp_path), StoredPictures(store, Bounds(), films=films))
    async with Stand(pictures=library).client() as client:
        response = await client.put(
            ATTIC, data=reel(), headers={**PLATFORM, "Content-Type": "video/mp4"}
        )
        assert await problem(response) == (503, "no-capacity")
        assert response.headers["Retry-After"] == "60"
