"""The other side of the ratio does what it says: the person on green, through stock aiortc."""

from __future__ import annotations

import asyncio
import fractions
from typing import TYPE_CHECKING

import numpy as np
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from loadtest import clip as clips
from loadtest.adapters import Offer, Wish
from loadtest.client import Client
from loadtest.example_server import GREEN_BGR, MODEL, Effect, Peers, app_of
from loadtest.stamp import Place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import av

pytestmark = pytest.mark.model

SIZE = (640, 360)


@pytest.fixture(scope="module")
def film() -> list[av.VideoFrame]:
    return clips.default_film(SIZE, 10, seconds=2)


@pytest.fixture(scope="module")
def effect() -> Effect:
    return Effect(MODEL)


def test_the_room_is_green_and_the_person_is_not(film: list[av.VideoFrame], effect: Effect) -> None:
    film[0].pts, film[0].time_base = 7, fractions.Fraction(1, 10)
    out = effect(film[0])
    assert (out.width, out.height, out.pts) == (*SIZE, 7)
    picture = out.to_ndarray(format="bgr24").astype(int)
    away = np.abs(picture - np.array(GREEN_BGR)).max(axis=2)
    assert away[:60, :60].max() < 12  # a corner of the wall
    assert away[90:130, 325:345].min() > 40  # the face


@pytest.fixture
async def url(effect: Effect) -> AsyncIterator[str]:
    app: web.Application = app_of(Peers(effect))
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


@pytest.mark.peer
async def test_frames_come_back_with_the_person(url: str, film: list[av.VideoFrame]) -> None:
    clip = clips.prepare(film, clips.Codec.H264, 10, place=Place())
    async with ClientSession() as http:
        async with http.get(f"{url}healthz") as answer:
            assert answer.status == 200
        client = Client(clip, Offer(http, url, Wish()))
        try:
            await client.start()
            async with asyncio.timeout(20):
                await client.came_back(15)
        finally:
            await client.close()
    assert client.pairing.known, "the number on the person did not survive"
