"""Two servers as processes of their own that share a bucket, and a peer of one of them."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import aiohttp
import aioice.ice
import pytest

from tests.frame.reels import reel
from tests.library.stand import BLUE, CREDENTIALS, RED, make_bucket, s3_server
from tests.peers import Camera, Client
from tests.rtc.pictures import moving_picture
from tests.running import running

if TYPE_CHECKING:
    import av

pytestmark = [pytest.mark.model, pytest.mark.peer]

ATTIC = "/v1/backgrounds/attic"
IN_FRONT_OF_IT = {"effect": {"type": "image", "background": "attic"}}
WAIT_S = 30


def is_all(frame: av.VideoFrame, channel: int) -> bool:
    """Whether every pixel is of that colour: nobody is in the picture, so it is the background."""
    rgb = frame.to_ndarray(format="rgb24").astype(int)
    others = [other for other in range(3) if other != channel]
    return bool(rgb[..., channel].min() > 150 and rgb[..., others].max() < 60)


async def shows(client: Client, channel: int) -> None:
    """Until that colour is what comes back."""
    async with asyncio.timeout(WAIT_S):
        while not is_all(client.video.frames[-1], channel):
            await client.frames(1)


async def keeps(client: Client, channel: int, frames: int = 45) -> None:
    """For so many frames, more than a second of them."""
    await client.frames(frames)
    assert all(is_all(frame, channel) for frame in client.video.frames[-frames:])


async def put(
    http: aiohttp.ClientSession, data: bytes, kind: str = "image/png"
) -> tuple[int, dict[str, Any]]:
    headers = {"Content-Type": kind}
    async with http.put(ATTIC, data=data, headers=headers) as response:
        return response.status, await response.json()


async def call(here: str, there: str, store: ExitStack) -> None:
    async with aiohttp.ClientSession(here) as writer, aiohttp.ClientSession(there) as reader:
        async with reader.post("/v1/sessions", json=IN_FRONT_OF_IT) as response:
            assert response.status == 422
        assert (await put(writer, RED))[0] == 201
        async with reader.post("/v1/sessions", json=IN_FRONT_OF_IT) as response:
            assert response.status == 201, "it is there at once"
            opened = await response.json()
        client = Client(Camera(moving_picture))
        async with reader.post(
            opened["rtc_url"],
            data=await client.offer(),
            headers={"Content-Type": "application/sdp"},
        ) as response:
            assert response.status == 201
            await client.accept(await response.text())
        await client.frames(1)
        await shows(client, 0)
        status, told = await put(writer, BLUE)
        assert status == 200
        await shows(client, 2)

        async with writer.delete(ATTIC, headers={"If-Match": told["etag"]}) as response:
            assert response.status == 204
        async with reader.get(ATTIC) as response:
            assert response.status in (200, 404), "for a second it may still be known"
        await keeps(client, 2)
        async with reader.get(ATTIC) as response:
            assert response.status == 404
        assert (await put(writer, RED))[0] == 201
        await shows(client, 0)

        # A film takes its place, and a picture the film's.
        status, told = await put(writer, reel(((20, 200, 20),)), "video/mp4")
        assert (status, told["kind"], told["type"]) == (200, "film", "video/mp4")
        await shows(client, 1)
        async with reader.get(ATTIC) as response:
            assert response.content_type == "video/mp4"
        assert (await put(writer, RED))[1]["kind"] == "picture"
        await shows(client, 0)

        store.close()
        status, told = await put(reader, BLUE)
        assert (status, told["type"]) == (503, "/problems/library-unavailable")
        await keeps(client, 0)
        async with reader.get("/v1/backgrounds") as response:
            listed = await response.json()
            assert listed["current"] is False
            assert "attic" in [one["name"] for one in listed["backgrounds"]]
        async with reader.get("/metrics") as response:
            metrics = await response.text()
            assert "backcloth_raw_frames_total 0.0" in metrics
            assert 'backcloth_library_failures_total{operation="list"} 0.0' not in metrics
        await client.close()


def test_a_picture_goes_from_one_server_to_a_session_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with ExitStack() as store, ExitStack() as servers:
        url = store.enter_context(s3_server())
        make_bucket(url, "shared")
        settings = {"LIBRARY": "s3://shared/pictures", "LIBRARY_ENDPOINT": url}
        here, there = (servers.enter_context(running(**settings)) for _ in range(2))
        asyncio.run(call(here.url, there.url, store))
        assert [one.stop() for one in (here, there)] == [0, 0]
        assert not [line for line in there.lines if "Traceback" in line]
        assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in "".join(there.lines)
