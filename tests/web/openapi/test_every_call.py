"""Statuses that many calls share, provoked of each call that the document says may give them.

The operations are the document's own, so whoever adds a route is held to these too. What one call
alone answers is provoked by the tests that docs/api.md names.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from service.policy.logins import BURST
from service.web import problems
from service.web.openapi import document
from service.web.openapi.operation import Operation, Who
from tests.web.conftest import KEY, OFFER, SDP, Client, Stand, bearer, opened, problem
from tests.web.test_platform_tokens_served import platform_signed, token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest
    from aiohttp import ClientResponse
    from aiohttp.typedefs import Handler

    from service.policy.keys import Key
    from service.web.access import PlatformSigned
    from service.web.problems import Kind

OPERATIONS = document.operations(())
CORS = "OPTIONS"


def giving(kind: Kind, *but: str) -> list[Operation]:
    """The calls that may answer so, without those of some methods."""
    found = [one for one in OPERATIONS if kind in one.all_problems() and one.method not in but]
    assert found
    return found


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


async def test_no_credential(client: Client) -> None:
    for one in giving(problems.UNAUTHORIZED):
        response = await call(client, one, credential="")
        assert await is_problem(response, problems.UNAUTHORIZED), one
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="backcloth"'


async def test_another_sessions_token(client: Client) -> None:
    session = await opened(client)
    for one in giving(problems.FORBIDDEN):
        # WHIP names no session: a token means its own one, and a viewer's publishes nowhere.
        minted = session["viewer_token" if one.path == "/v1/whip" else "token"]
        assert await is_problem(await call(client, one, credential=minted), problems.FORBIDDEN), one


async def test_too_many_wrong_credentials(client: Client, stand: Stand) -> None:
    wrong = "a-wrong-platform-key"
    for _ in range(BURST):
        await client.get("/v1/server", headers=bearer(wrong))
    for one in giving(problems.FAILED_LOGINS):
        response = await call(client, one, credential=wrong)
        assert await is_problem(response, problems.FAILED_LOGINS), one
        assert int(response.headers["Retry-After"]) > 0
    assert stand.metrics.failed_logins.count("refused") == BURST
    assert stand.metrics.failed_logins.count("delayed") == len(giving(problems.FAILED_LOGINS))


class NoKeys:
    """A key set that could not be had."""

    def keys(self) -> tuple[Key, ...]:
        return ()

    async def renew(self) -> None:
        """Nothing came."""


async def test_no_keys_of_platforms_tokens() -> None:
    signed: PlatformSigned = platform_signed(NoKeys())
    async with Stand(platform_signed=signed).client() as client:
        for one in giving(problems.KEYS_UNAVAILABLE):
            response = await call(client, one, credential=token(kid="a"))
            assert await is_problem(response, problems.KEYS_UNAVAILABLE), one


async def test_another_host_in_development_mode(development: Stand) -> None:
    async with development.client(Host="rebound.example.com") as client:
        for one in giving(problems.FOREIGN_HOST):
            response = await call(client, one, credential="")
            assert await is_problem(response, problems.FOREIGN_HOST), one


async def test_another_origin_in_development_mode(development: Stand) -> None:
    async with development.client(Origin="https://elsewhere.example.com") as client:
        for one in giving(problems.FOREIGN_ORIGIN):
            response = await call(client, one, credential="")
            assert await is_problem(response, problems.FOREIGN_ORIGIN), one


async def test_an_expectation_that_nobody_meets(client: Client) -> None:
    for one in giving(problems.BAD_REQUEST):
        response = await call(client, one, Expect="miracles")
        assert await is_problem(response, problems.BAD_REQUEST), one
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


async def test_a_fault(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    @web.middleware
    async def fail(request: web.Request, handler: Handler) -> web.StreamResponse:
        raise RuntimeError("a fault of the tests")

    app = stand.app()
    app.middlewares.append(fail)
    async with TestClient(TestServer(app, host="127.0.0.1")) as client:
        for one in giving(problems.INTERNAL):
            assert await is_problem(await call(client, one), problems.INTERNAL), one
    assert "a fault of the tests" in caplog.text
    assert KEY not in caplog.text


async def test_a_body_of_another_type(client: Client) -> None:
    for one in giving(problems.UNSUPPORTED_TYPE):
        path = await addresses(client, one)
        response = await call(
            client, one, path=path, data=b"x", Content_Type="text/x-other", If_Match="*"
        )
        assert await is_problem(response, problems.UNSUPPORTED_TYPE), one
        assert one.body is not None
        if one.body.accept_header:
            assert response.headers[one.body.accept_header] == media_type(one)


async def test_a_body_that_is_too_large(client: Client) -> None:
    for one in giving(problems.BODY_TOO_LARGE):
        path = await addresses(client, one)
        response = await call(
            client, one, path=path, data=b"x" * 70_000, Content_Type=media_type(one), If_Match="*"
        )
        assert await is_problem(response, problems.BODY_TOO_LARGE), one


async def test_a_body_that_dawdles(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.web.bodies.TEXT_TIMEOUT_S", 0.01)
    monkeypatch.setattr("service.web.sessions.PICTURE_TIMEOUT_S", 0.01)
    monkeypatch.setattr("service.web.backgrounds.PICTURE_TIMEOUT_S", 0.01)
    forever = asyncio.Event()

    async def stuck() -> AsyncIterator[bytes]:
        yield b"{"
        await forever.wait()

    for one in giving(problems.BODY_TIMEOUT):
        path = await addresses(client, one)
        response = await call(
            client, one, path=path, data=stuck(), Content_Type=media_type(one), If_Match="*"
        )
        assert await is_problem(response, problems.BODY_TIMEOUT), one
        response.close()
    forever.set()


async def test_a_body_that_is_no_json(client: Client) -> None:
    for one in giving(problems.MALFORMED_JSON):
        path = await addresses(client, one)
        for data in (b"{", b"[]", b"\xff", b"[" * 60_000, b'{"a":' * 10_000, b'{"ttl_s": NaN}'):
            response = await call(client, one, path=path, data=data, Content_Type=media_type(one))
            assert await is_problem(response, problems.MALFORMED_JSON), (one, data[:20])


async def test_sdp_that_is_none(client: Client) -> None:
    for one in giving(problems.BAD_OFFER):
        path = await addresses(client, one)
        response = await call(
            client, one, path=path, data=b"hello", Content_Type=media_type(one), If_Match="*"
        )
        assert await is_problem(response, problems.BAD_OFFER), one


async def test_sessions_that_are_not_here(client: Client) -> None:
    """Of every call that names a session."""
    named = [one for one in giving(problems.UNKNOWN_SESSION) if one.who is Who.SESSION]
    for one in named:
        data = None if one.body is None else b"{}"
        headers = {} if one.body is None else {"Content_Type": media_type(one)}
        response = await call(client, one, data=data, If_Match="*", **headers)
        assert await is_problem(response, problems.UNKNOWN_SESSION), one


async def test_preflights(client: Client) -> None:
    for one in OPERATIONS:
        if one.method == CORS:
            response = await call(client, one, credential="", Origin="https://elsewhere.example")
            assert await is_problem(response, problems.FOREIGN_ORIGIN), one
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
