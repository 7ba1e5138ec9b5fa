"""The two ways of opening a session, against servers that write down what they are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from loadtest.adapters import Backcloth, Offer, Refused, Wish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Desk:
    """Answers both APIs."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.full = False

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._any)
        return app

    async def _any(self, request: web.Request) -> web.Response:
        is_json = request.content_type == "application/json"
        body = await request.json() if is_json else await request.text()
        self.asked.append((request.method, request.path, body))
        if self.full:
            return web.Response(status=503, text="full", headers={"Retry-After": "7"})
        if request.path == "/offer":
            return web.json_response({"sdp": "answer", "type": "answer"})
        if request.path == "/v1/sessions":
            opened = {"id": "one", "rtc_url": "/v1/sessions/one/rtc"}
            return web.json_response(opened, status=201)
        if request.method == "DELETE":
            return web.Response(status=204)
        return web.Response(status=201, text="answer", content_type="application/sdp")


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def url(desk: Desk) -> AsyncIterator[str]:
    async with TestServer(desk.app()) as server:
        yield str(server.make_url("/"))


async def test_backcloth(desk: Desk, url: str) -> None:
    async with ClientSession() as http:
        line = Backcloth(http, url, Wish(effect={"type": "blur"}, width=640, height=360, fps=25))
        assert await line.open("offer") == "answer"
        await line.close()
    assert desk.asked == [
        (
            "POST",
            "/v1/sessions",
            {
                "effect": {"type": "blur"},
                "audio": False,
                "max_width": 640,
                "max_height": 360,
                "max_fps": 25,
            },
        ),
        ("POST", "/v1/sessions/one/rtc", "offer"),
        ("DELETE", "/v1/sessions/one", ""),
    ]


async def test_no_effect_has_to_be_allowed(desk: Desk, url: str) -> None:
    async with ClientSession() as http:
        await Backcloth(http, url, Wish(effect={"type": "none"})).open("offer")
    assert desk.asked[0][2]["allowed_effects"] == ["none"]


async def test_offer(desk: Desk, url: str) -> None:
    async with ClientSession() as http:
        line = Offer(http, url, Wish())
        assert await line.open("offer") == "answer"
        await line.close()
    assert desk.asked == [("POST", "/offer", {"sdp": "offer", "type": "offer"})]


@pytest.mark.parametrize("adapter", [Backcloth, Offer])
async def test_refused(desk: Desk, url: str, adapter: type[Backcloth] | type[Offer]) -> None:
    desk.full = True
    async with ClientSession() as http:
        line = adapter(http, url, Wish())
        with pytest.raises(Refused, match="503 full") as refused:
            await line.open("offer")
        assert refused.value.full
        assert refused.value.retry_after_s == 7
        await line.close()
    assert len(desk.asked) == 1


def test_only_no_room_is_a_refusal() -> None:
    assert Refused(503, "no").full
    assert Refused(503, "no").retry_after_s is None
    assert not Refused(500, "no").full
    assert len(str(Refused(500, "x" * 10_000))) < 400
