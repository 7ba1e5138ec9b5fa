"""Statuses that many calls share, provoked of each call that the document says may give them.

The operations are the document's own, so whoever adds a route is held to these too: every test here
is one for each call (`of_each`), and tests/web/openapi/test_document.py compares these calls with
what docs/api.md says. What one call alone answers is provoked by the tests that it names.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from service.parts import PAGE_DIRECTORY
from service.policy.fleet import Fleet, place_of
from service.policy.logins import BURST
from service.web import problems
from service.web.members import Members
from service.web.openapi import document
from service.web.openapi.operation import Operation, Who
from service.web.peers import Peers
from service.web.routing import SEEK
from tests.running import free_port
from tests.web.conftest import KEY, OFFER, SDP, Client, Stand, bearer, opened, problem
from tests.web.test_platform_tokens_served import NAMED, fixed_keys, platform_signed, token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from aiohttp import ClientResponse
    from aiohttp.typedefs import Handler

    from service.policy.keys import Key
    from service.web.access import PlatformSigned
    from service.web.problems import Kind

    Test = Callable[..., Any]

OPERATIONS = document.operations(["/"])
"""The page's index stands for each of its files."""
CORS = "OPTIONS"
CALLS: dict[str, tuple[str, set[tuple[str, str]]]] = {}
"""By test: the status that it provokes, and the calls, by method and path, that it is a test of."""


def label(kind: Kind) -> str:
    """As docs/api.md writes a status of that kind."""
    return f"{kind.status} `{kind.slug}`"


def of_each(kind: Kind) -> Callable[[Test], Test]:
    """Makes a test one for each call that may answer so: its `one`."""
    return _of_each([one for one in OPERATIONS if kind in one.all_problems()], label(kind))


def _of_each(calls: Sequence[Operation], status: str) -> Callable[[Test], Test]:
    assert calls

    def mark(test: Test) -> Test:
        CALLS[test.__name__] = (status, {(one.method, one.path) for one in calls})
        marked: Test = pytest.mark.parametrize("one", calls, ids=lambda one: one.id)(test)
        return marked

    return mark


@pytest.fixture
def stand() -> Stand:
    """With the page."""
    return Stand(page_dir=PAGE_DIRECTORY)


@pytest.fixture
def development() -> Stand:
    return Stand(page_dir=PAGE_DIRECTORY, api_keys=())


async def addresses(client: Client, one: Operation) -> str:
    """The path of a call to what is there: a session with a peer, a picture."""
    session = await opened(client)
    response = await client.post(
        session["rtc_url"], data=OFFER.encode(), headers={**SDP, **bearer(KEY)}
    )
    peer_id = response.headers["Location"].rpartition("/")[2]
    response = await client.post(
        session["whep_url"], data=OFFER.encode(), headers={**SDP, **bearer(KEY)}
    )
    viewer_id = response.headers["Location"].rpartition("/")[2]
    return one.path.format(
        session_id=session["id"], mid="0", peer_id=peer_id, viewer_id=viewer_id, name="attic"
    )


async def call(
    client: Client,
    one: Operation,
    *,
    credential: str = KEY,
    data: Any = None,
    path: str = "",
    **headers: str,
) -> ClientResponse:
    """One call; where `data` says nothing of it, without a body."""
    path = path or one.path.format(
        session_id="s", mid="0", peer_id="p", viewer_id="v", name="attic"
    )
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if one.method == CORS:
        # Without it the call is no preflight: the addresses of WHIP and WHEP answer it themselves.
        given.setdefault("Access-Control-Request-Method", "POST")
    if credential:
        given |= bearer(credential)
    return await client.request(one.method, path, data=data, headers=given)


async def is_problem(response: ClientResponse, kind: Kind) -> bool:
    """Whether it is that kind, as a whole problem where the answer may have a body."""
    if response.method == "HEAD":
        return response.status == kind.status
    return await problem(response) == (kind.status, kind.slug)


def media_type(one: Operation) -> str:
    assert one.body is not None
    return str(next(iter(one.body.content)))


@of_each(problems.UNAUTHORIZED)
async def test_no_credential(client: Client, one: Operation) -> None:
    response = await call(client, one, credential="")
    assert await is_problem(response, problems.UNAUTHORIZED)
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="backcloth"'


@of_each(problems.FORBIDDEN)
async def test_another_sessions_token(client: Client, one: Operation) -> None:
    session = await opened(client)
    # WHIP names no session: a token means its own one, and a viewer's publishes nowhere.
    minted = session["viewer_token" if one.path == "/v1/whip" else "token"]
    assert await is_problem(await call(client, one, credential=minted), problems.FORBIDDEN)


@of_each(problems.FAILED_LOGINS)
async def test_too_many_wrong_credentials(client: Client, stand: Stand, one: Operation) -> None:
    wrong = "a-wrong-platform-key"
    for _ in range(BURST):
        await client.get("/v1/server", headers=bearer(wrong))
    response = await call(client, one, credential=wrong)
    assert await is_problem(response, problems.FAILED_LOGINS)
    assert int(response.headers["Retry-After"]) > 0
    assert stand.metrics.failed_logins == ["refused"] * BURST + ["delayed"]


class NoKeys:
    """A key set that could not be had."""

    def keys(self) -> tuple[Key, ...]:
        return ()

    async def renew(self) -> None:
        """Nothing came."""


@of_each(problems.KEYS_UNAVAILABLE)
async def test_no_keys_of_platforms_tokens(one: Operation) -> None:
    signed: PlatformSigned = platform_signed(NoKeys())
    async with Stand(platform_signed=signed).client() as client:
        response = await call(client, one, credential=token(kid="a"))
        assert await is_problem(response, problems.KEYS_UNAVAILABLE)


@of_each(problems.FOREIGN_HOST)
async def test_another_host_in_development_mode(development: Stand, one: Operation) -> None:
    async with development.client(Host="rebound.example.com") as client:
        response = await call(client, one, credential="")
        assert await is_problem(response, problems.FOREIGN_HOST)


@of_each(problems.FOREIGN_ORIGIN)
async def test_another_origin_in_development_mode(development: Stand, one: Operation) -> None:
    async with development.client(Origin="https://elsewhere.example.com") as client:
        response = await call(client, one, credential="")
        assert await is_problem(response, problems.FOREIGN_ORIGIN)


@of_each(problems.BAD_REQUEST)
async def test_an_expectation_that_nobody_meets(client: Client, one: Operation) -> None:
    response = await call(client, one, Expect="miracles")
    assert await is_problem(response, problems.BAD_REQUEST)
    assert response.headers["Content-Security-Policy"]


async def test_a_body_waits_for_its_100(client: Client) -> None:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    head = f"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
    body = "Content-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n"
    writer.write((head + body).encode())
    assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
    await reader.readline()
    writer.write(b"{}")
    assert (await reader.readline()).split()[1] == b"201"
    writer.close()
    await writer.wait_closed()


@of_each(problems.INTERNAL)
async def test_a_fault(stand: Stand, caplog: pytest.LogCaptureFixture, one: Operation) -> None:
    @web.middleware
    async def fail(request: web.Request, handler: Handler) -> web.StreamResponse:
        raise RuntimeError("a fault of the tests")

    app = stand.app()
    app.middlewares.append(fail)
    async with TestClient(TestServer(app, host="127.0.0.1")) as client:
        assert await is_problem(await call(client, one), problems.INTERNAL)
    assert "a fault of the tests" in caplog.text
    assert KEY not in caplog.text


@of_each(problems.UNSUPPORTED_TYPE)
async def test_a_body_of_another_type(client: Client, one: Operation) -> None:
    path = await addresses(client, one)
    response = await call(
        client, one, path=path, data=b"x", Content_Type="text/x-other", If_Match="*"
    )
    assert await is_problem(response, problems.UNSUPPORTED_TYPE)
    assert one.body is not None
    if one.body.accept_header:
        assert response.headers[one.body.accept_header] == media_type(one)


@of_each(problems.BODY_TOO_LARGE)
async def test_a_body_that_is_too_large(client: Client, one: Operation) -> None:
    path = await addresses(client, one)
    response = await call(
        client, one, path=path, data=b"x" * 70_000, Content_Type=media_type(one), If_Match="*"
    )
    assert await is_problem(response, problems.BODY_TOO_LARGE)


@of_each(problems.BODY_TIMEOUT)
async def test_a_body_that_dawdles(
    client: Client, monkeypatch: pytest.MonkeyPatch, one: Operation
) -> None:
    monkeypatch.setattr("service.web.bodies.TEXT_TIMEOUT_S", 0.01)
    monkeypatch.setattr("service.web.sessions.PICTURE_TIMEOUT_S", 0.01)
    monkeypatch.setattr("service.web.backgrounds.PICTURE_TIMEOUT_S", 0.01)
    forever = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield b"{"
        await forever.wait()

    path = await addresses(client, one)
    response = await call(
        client, one, path=path, data=stuck(), Content_Type=media_type(one), If_Match="*"
    )
    assert await is_problem(response, problems.BODY_TIMEOUT)
    response.close()
    forever.set()


@of_each(problems.MALFORMED_JSON)
async def test_a_body_that_is_no_json(client: Client, one: Operation) -> None:
    path = await addresses(client, one)
    for data in (b"{", b"[]", b"\xff", b"[" * 60_000, b'{"a":' * 10_000, b'{"ttl_s": NaN}'):
        response = await call(client, one, path=path, data=data, Content_Type=media_type(one))
        assert await is_problem(response, problems.MALFORMED_JSON), data[:20]


@of_each(problems.BAD_OFFER)
async def test_sdp_that_is_none(client: Client, one: Operation) -> None:
    path = await addresses(client, one)
    response = await call(
        client, one, path=path, data=b"hello", Content_Type=media_type(one), If_Match="*"
    )
    assert await is_problem(response, problems.BAD_OFFER)


def body_of(one: Operation) -> dict[str, Any]:
    """A small one that is good enough to be read, with the conditions that go with it."""
    if one.body is None:
        return {"If_Match": "*"}
    kind = media_type(one)
    data = b"{}" if kind == "application/json" else OFFER.encode()
    return {"data": data, "Content_Type": kind, "If_Match": "*"}


@of_each(problems.UNKNOWN_SESSION)
async def test_sessions_that_are_not_here(one: Operation) -> None:
    """Named by the path, or by a token that opened one which was ended on purpose."""
    async with Stand(platform_signed=fixed_keys()).client() as client:
        credential = KEY
        if "{session_id}" not in one.path:
            credential = token({"session": NAMED})
            response = await client.post("/v1/sessions", headers=bearer(credential))
            assert response.status == 201
            response = await client.delete(f"/v1/sessions/{NAMED}", headers=bearer(KEY))
            assert response.status == 204
        response = await call(client, one, credential=credential, **body_of(one))
        assert await is_problem(response, problems.UNKNOWN_SESSION)


class Uncounted:
    """Counts nothing."""

    def fleet_request(self, kind: str, outcome: str) -> None: ...
    def fleet_answered(self, seconds: float) -> None: ...


def of_a_fleet(other: str) -> Stand:
    """A member of a fleet whose other one has this URL."""
    fleet = Fleet([b"a fleet's secret of 32 bytes, or so"], place_of("127.0.0.1", 1))
    peers = Peers(fleet, Members([other]), counters=Uncounted())
    return Stand(platform_signed=fixed_keys(), peers=peers)


async def call_in_a_fleet(stand: Stand, one: Operation) -> None:
    """A call that names a session by its path, or else by its token, and is not answered."""
    credential = KEY if "{session_id}" in one.path else token({"session": NAMED})
    async with stand.client() as client:
        response = await call(client, one, credential=credential, **body_of(one))
        assert await is_problem(response, problems.PEER_UNREACHABLE)
        assert int(response.headers["Retry-After"]) > 0


@of_each(problems.PEER_UNREACHABLE)
async def test_a_server_that_has_the_session_and_hangs_up(one: Operation) -> None:
    """As one that ends between the question and the call."""

    async def has(_: web.Request) -> web.Response:
        return web.json_response({"session": "here"})

    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    app = web.Application()
    app.router.add_get(SEEK.replace("{sought}", "{session_id}"), has)
    app.router.add_route("*", "/{path:.*}", hang_up)
    async with TestServer(app, host="127.0.0.1") as other:
        await call_in_a_fleet(of_a_fleet(f"http://127.0.0.1:{other.port}"), one)


@pytest.mark.parametrize(
    "one",
    [
        one
        for one in OPERATIONS
        if problems.PEER_UNREACHABLE in one.all_problems() and "{session_id}" in one.path
    ],
    ids=lambda one: one.id,
)
async def test_a_server_that_may_have_the_session_and_is_gone(one: Operation) -> None:
    """A call whose token may open its session is not made to wait for it: that opens it here."""
    await call_in_a_fleet(of_a_fleet(f"http://127.0.0.1:{free_port()}"), one)


async def test_what_everybody_may_see_is_asked_of_nobody() -> None:
    """Addresses of WHIP and WHEP, of sessions that other servers may have."""
    async with of_a_fleet(f"http://127.0.0.1:{free_port()}").client() as client:
        for one in OPERATIONS:
            if one.who is Who.EVERYBODY and "{session_id}" in one.path and one.method != CORS:
                response = await call(client, one, credential="")
                assert response.status == 204, one


@pytest.mark.parametrize(
    "one", [one for one in OPERATIONS if one.method == "HEAD"], ids=lambda one: one.id
)
async def test_head_is_get_without_a_body(client: Client, one: Operation) -> None:
    path = await addresses(client, one)
    response = await call(client, one, path=path)
    # A stream of events has no end: its head will do.
    get = await client.get(path, headers=bearer(KEY))
    assert response.status == get.status in one.answers
    assert response.headers.get("Content-Type") == get.headers.get("Content-Type")
    assert response.headers.keys() - {"Content-Length"} <= get.headers.keys()
    assert await response.read() == b""
    get.close()


@_of_each([one for one in OPERATIONS if one.method == CORS], "200")
async def test_preflights(client: Client, one: Operation) -> None:
    response = await call(client, one, credential="", Origin="https://elsewhere.example")
    assert await is_problem(response, problems.FOREIGN_ORIGIN)
    allowed = await call(
        client,
        one,
        credential="",
        Origin="https://meet.example.com",
        Access_Control_Request_Method=next(
            other.method
            for other in OPERATIONS
            if other.path == one.path and other.method not in (CORS, "HEAD")
        ),
    )
    assert allowed.status == 200
    assert allowed.headers["Access-Control-Max-Age"] == "600"
