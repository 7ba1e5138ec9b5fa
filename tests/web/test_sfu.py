"""WHIP and WHEP as a client of a real HTTP server on loopback: what is sent, and every answer."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from service.session.sfu import Cause, Endpoint, NotOpened
from service.setting_text import IceServer
from service.web.bodies import SDP_LIMIT_BYTES
from service.web.sfu import (
    MAX_ICE_SERVERS,
    MAX_REDIRECTS,
    MAX_RETRY_AFTER_S,
    Sfu,
    named_servers,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

NETWORKS = (ipaddress.ip_network("127.0.0.0/30"),)
"""127.0.0.1 to 127.0.0.3; 127.0.0.9 is of this machine too, and none of these."""
TOKEN = "a-bearer-of-the-platform"


class Far:
    """Answers what `answer` says, and keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], str]] = []
        self.answer: Callable[[web.Request], web.Response] = created
        self.port = 0
        self.hangs = False

    def url(self, path: str = "/whep/secret-of-the-address", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def handle(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append((request.method, request.path, headers, await request.text()))
        if self.hangs or request.path.startswith("/slow"):
            await asyncio.Event().wait()
        return self.answer(request)

    @property
    def calls(self) -> list[tuple[str, str]]:
        return [(method, path) for method, path, _, _ in self.asked]


def created(request: web.Request) -> web.Response:
    if request.method == "DELETE":
        return web.Response(status=200, body=b"x" * 100_000)
    return web.Response(
        status=201, text="v=0", content_type="application/sdp", headers={"Location": "made/7?x=1"}
    )


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    made = Far()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "0.0.0.0", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


@asynccontextmanager
async def client(timeout_s: float = 5.0) -> AsyncIterator[Sfu]:
    sfu = Sfu(networks=NETWORKS, timeout_s=timeout_s)
    try:
        yield sfu
    finally:
        await sfu.close()


async def failure(far: Far, url: str | None = None, *, timeout_s: float = 5.0) -> NotOpened:
    async with client(timeout_s) as sfu:
        with pytest.raises(NotOpened) as caught:
            await sfu.open(Endpoint(url or far.url(), TOKEN), "v=0 offer")
    return caught.value


async def test_an_offer_its_answer_and_the_end(far: Far, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with client() as sfu:
        endpoint = Endpoint(far.url(), TOKEN)
        opened = await sfu.open(endpoint, "v=0 offer")
        assert (opened.answer, opened.resource) == ("v=0", far.url("/whep/made/7?x=1"))
        await sfu.leave(endpoint, opened.resource)
    assert far.calls == [("POST", "/whep/secret-of-the-address"), ("DELETE", "/whep/made/7")]
    _, _, headers, body = far.asked[0]
    assert body == "v=0 offer"
    assert headers["content-type"] == headers["accept"] == "application/sdp"
    assert headers["accept-encoding"] == "identity"
    for _, _, headers, _ in far.asked:
        assert headers["authorization"] == f"Bearer {TOKEN}"
        assert "cookie" not in headers
    assert TOKEN not in caplog.text
    assert "secret-of-the-address" not in caplog.text


async def test_no_bearer_where_none_was_named(far: Far) -> None:
    async with client() as sfu:
        await sfu.open(Endpoint(far.url()), "v=0 offer")
    assert "authorization" not in far.asked[0][2]


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (200, Cause.BAD_ANSWER),
        (204, Cause.BAD_ANSWER),
        (301, Cause.REDIRECTED),
        (303, Cause.REDIRECTED),
        (400, Cause.REJECTED),
        (401, Cause.UNAUTHORIZED),
        (403, Cause.UNAUTHORIZED),
        (404, Cause.NOT_FOUND),
        (406, Cause.COUNTER_OFFER),
        (409, Cause.NOT_FOUND),
        (410, Cause.NOT_FOUND),
        (415, Cause.REJECTED),
        (422, Cause.REJECTED),
        (429, Cause.SERVER_ERROR),
        (500, Cause.SERVER_ERROR),
        (503, Cause.SERVER_ERROR),
    ],
)
async def test_what_statuses_mean(far: Far, status: int, cause: Cause) -> None:
    far.answer = lambda _: web.Response(status=status, headers={"Retry-After": "999999"})
    failed = await failure(far)
    assert failed.cause is cause
    waits = status in (404, 409, 429, 503)
    assert failed.retry_after_s == (MAX_RETRY_AFTER_S if waits else 0)


@pytest.mark.parametrize("after", ["soon", "-5", "", "\u0661"])
async def test_a_retry_after_that_says_nothing(far: Far, after: str) -> None:
    far.answer = lambda _: web.Response(status=503, headers={"Retry-After": after})
    assert (await failure(far)).retry_after_s == 0


@pytest.mark.parametrize(
    ("text", "kind", "location"),
    [
        ("v=0", "text/html", "/made/7"),
        ("v" * (SDP_LIMIT_BYTES + 1), "application/sdp", "/made/7"),
    ],
)
async def test_an_answer_that_is_none_is_left(
    far: Far, text: str, kind: str, location: str
) -> None:
    far.answer = lambda _: web.Response(
        status=201, text=text, content_type=kind, headers={"Location": location}
    )
    assert (await failure(far)).cause is Cause.BAD_ANSWER
    assert far.calls[-1] == ("DELETE", "/made/7")


async def test_an_answer_that_is_not_text(far: Far) -> None:
    far.answer = lambda _: web.Response(
        status=201, body=b"\xff\xfe", content_type="application/sdp", headers={"Location": "/made"}
    )
    assert (await failure(far)).cause is Cause.BAD_ANSWER


@pytest.mark.parametrize(
    "location",
    [
        None,
        "",
        "https://elsewhere.example.com/7",
        "http://127.0.0.2:1/7",
        "http://[broken",
        "x" * 3000,
    ],
)
async def test_what_was_made_must_be_where_it_was_made(far: Far, location: str | None) -> None:
    headers = {} if location is None else {"Location": location}
    far.answer = lambda _: web.Response(
        status=201, text="v=0", content_type="application/sdp", headers=headers
    )
    assert (await failure(far)).cause is Cause.BAD_ANSWER
    assert len(far.asked) == 1, "no DELETE goes anywhere else"


# Redirects.


def redirecting(to: str, status: int = 307) -> Callable[[web.Request], web.Response]:
    def answer(request: web.Request) -> web.Response:
        if request.path.startswith("/whep"):
            return web.Response(status=status, headers={"Location": to})
        return created(request)

    return answer


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_is_followed_with_the_offer(far: Far, status: int) -> None:
    far.answer = redirecting("/other/place", status)
    async with client() as sfu:
        opened = await sfu.open(Endpoint(far.url(), TOKEN), "v=0 offer")
    assert opened.resource == far.url("/other/made/7?x=1")
    assert [one[3] for one in far.asked] == ["v=0 offer"] * 2
    assert far.asked[1][2]["authorization"] == f"Bearer {TOKEN}"


async def test_the_bearer_goes_to_no_other_origin(far: Far) -> None:
    far.answer = redirecting(far.url("/other", host="127.0.0.2"))
    endpoint = Endpoint(far.url(), TOKEN)
    async with client() as sfu:
        opened = await sfu.open(endpoint, "v=0 offer")
        await sfu.leave(endpoint, opened.resource)
    assert ["authorization" in one[2] for one in far.asked] == [True, False, False]


async def test_a_redirect_to_an_address_that_is_refused(far: Far) -> None:
    """127.0.0.9 answers here, so that only the check keeps the offer from it."""
    far.answer = redirecting(far.url("/other", host="127.0.0.9"))
    assert (await failure(far)).cause is Cause.ADDRESS_REFUSED
    assert far.calls == [("POST", "/whep/secret-of-the-address")]


async def test_redirects_end(far: Far) -> None:
    far.answer = lambda _: web.Response(status=307, headers={"Location": "/whep/again"})
    assert (await failure(far)).cause is Cause.REDIRECTED
    assert len(far.asked) == MAX_REDIRECTS + 1


@pytest.mark.parametrize("to", ["", "ftp://127.0.0.1/x", "http://user:pass@127.0.0.1/x", "http://"])
async def test_a_redirect_to_nowhere(far: Far, to: str) -> None:
    far.answer = redirecting(to)
    assert (await failure(far)).cause is Cause.REDIRECTED


# Addresses.


@pytest.mark.parametrize("host", ["127.0.0.9", "2130706441"])
async def test_an_address_that_is_refused(far: Far, host: str) -> None:
    # What is no address as one is written is no name either.
    refused = Cause.ADDRESS_REFUSED if "." in host else Cause.UNREACHABLE
    assert (await failure(far, far.url(host=host))).cause is refused
    assert far.asked == []


async def test_a_name_that_leads_to_an_address_that_is_refused(far: Far) -> None:
    sfu = Sfu(networks=(ipaddress.ip_network("10.0.0.0/8"),), timeout_s=5.0)
    try:
        with pytest.raises(NotOpened) as caught:
            await sfu.open(Endpoint(far.url(host="localhost")), "v=0 offer")
    finally:
        await sfu.close()
    assert caught.value.cause is Cause.ADDRESS_REFUSED
    assert far.asked == []


async def test_nobody_there_and_nobody_who_answers(far: Far) -> None:
    assert (await failure(far, "http://127.0.0.1:9/whep")).cause is Cause.UNREACHABLE
    assert (await failure(far, "http://no-such-name.invalid/")).cause is Cause.UNREACHABLE

    far.hangs = True
    assert (await failure(far, timeout_s=0.3)).cause is Cause.UNREACHABLE


async def test_servers_that_do_not_answer_keep_nobody_waiting(far: Far) -> None:
    async with client() as sfu:
        slow = [
            asyncio.create_task(sfu.open(Endpoint(far.url("/slow")), "v=0 offer"))
            for _ in range(100)
        ]
        async with asyncio.timeout(4):
            while len(far.asked) < len(slow):  # noqa: ASYNC110 (of each is told)
                await asyncio.sleep(0.02)
            await sfu.open(Endpoint(far.url(host="127.0.0.2")), "v=0 offer")
        for one in slow:
            one.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


async def test_a_server_that_is_gone_is_left_without_a_word() -> None:
    async with client() as sfu:
        await sfu.leave(Endpoint("http://127.0.0.1:9/"), "http://127.0.0.1:9/made/1")


@pytest.mark.parametrize("usable", [True, False])
async def test_a_server_that_is_not_left_in_time(
    far: Far, monkeypatch: pytest.MonkeyPatch, usable: bool
) -> None:
    """However long it has for an answer; also where what it answered is of no use."""
    monkeypatch.setattr("service.web.sfu.LEAVE_TIMEOUT_S", 0.2)

    def answer(request: web.Request) -> web.Response:
        far.hangs = True
        response = created(request)
        response.content_type = "application/sdp" if usable else "text/html"
        return response

    far.answer = answer
    endpoint = Endpoint(far.url(), TOKEN)
    async with client(timeout_s=60.0) as sfu, asyncio.timeout(5):
        if usable:
            await sfu.leave(endpoint, (await sfu.open(endpoint, "v=0 offer")).resource)
        else:
            with pytest.raises(NotOpened, match="bad_answer"):
                await sfu.open(endpoint, "v=0 offer")
    assert far.calls[1:] == [("DELETE", "/whep/made/7")]


# STUN and TURN servers that it names.


def naming(*links: str) -> Callable[[web.Request], web.Response]:
    def answer(request: web.Request) -> web.Response:
        if request.method != "OPTIONS":
            return created(request)
        response = web.Response(status=204)
        for link in links:
            response.headers.add("Link", link)
        return response

    return answer


TURN = 'rel="ice-server"; username="u\\"1"; credential=c; credential-type="password"'


async def test_ice_servers_are_asked_for_where_the_operator_says_so(far: Far) -> None:
    far.answer = naming(
        '<stun:127.0.0.2:5000>; rel="ice-server"',
        f"<https://elsewhere.example.com/>; rel=next, <turn:localhost?transport=tcp>; {TURN}",
        f"<turn:127.0.0.9:3478>; {TURN}",  # of no network that is named
        f"<turn:169.254.169.254:3478>; {TURN}",
        f"<turns:127.0.0.1:5349>; {TURN}",
        '<turn:127.0.0.1:3478>; rel="ice-server"',  # without a credential
        "<turn:127.0.0.1:99999>; " + TURN,
        '<stun:127.0.0.1?transport=udp>; rel="ice-server"',
        '<stun:no such host>; rel="ice-server"',
    )
    endpoint = Endpoint(far.url(), TOKEN)
    asking = Sfu(networks=NETWORKS, asks_ice_servers=True)
    assert await asking.ice_servers(endpoint) == [
        IceServer(("stun:127.0.0.2:5000",)),
        IceServer(("turn:127.0.0.1:3478?transport=tcp",), 'u"1', "c"),
    ]
    assert far.asked[0][2]["authorization"] == f"Bearer {TOKEN}"
    await asking.close()
    async with client() as sfu:
        assert await sfu.ice_servers(endpoint) == ()
    assert len(far.asked) == 1, "nothing is asked by default"


async def test_ice_servers_are_few_and_none_is_no_failure(far: Far) -> None:
    asking = Sfu(networks=NETWORKS, asks_ice_servers=True, timeout_s=2.0)
    far.answer = naming(*['<stun:127.0.0.1:5000>; rel="ice-server"'] * 30)
    assert len(await asking.ice_servers(Endpoint(far.url()))) == MAX_ICE_SERVERS
    far.answer = lambda _: web.Response(status=307, headers={"Location": "/elsewhere"})
    assert await asking.ice_servers(Endpoint(far.url())) == []
    far.answer = naming('<stun:no-such-name.invalid>; rel="ice-server"')
    assert await asking.ice_servers(Endpoint(far.url())) == []
    assert await asking.ice_servers(Endpoint("http://127.0.0.1:9/")) == ()
    await asking.close()


def test_a_link_without_an_end_is_read_at_once() -> None:
    began = time.monotonic()
    for piece in ("<", "<a>;", '<a>; b="', "<a>; b=c ", '<a>; b="\\\\'):
        assert named_servers([piece * 2000]) == []
    assert time.monotonic() - began < 2
