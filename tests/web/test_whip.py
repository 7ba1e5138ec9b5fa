"""WHIP over HTTP (RFC 9725): who may send, what is answered, and every status."""

from __future__ import annotations

import pytest
from aiohttp import hdrs

from service.policy.effects import ALL
from service.policy.rules import Rules, Tenants
from service.rtc.offer import Use
from service.web.spec import parse_spec, spec_json
from tests.web.conftest import (
    FRAGMENT,
    KEY,
    OFFER,
    ORIGIN,
    SDP,
    Client,
    Stand,
    bearer,
    opened,
    problem,
)
from tests.web.fakes import CREATED_AT, ETAG

WHIP = "/v1/whip"


async def test_a_platform_key_opens_a_session(client: Client, stand: Stand) -> None:
    response = await client.post(WHIP, data=OFFER, headers={**SDP, **bearer(KEY)})
    assert (response.status, response.content_type) == (201, "application/sdp")
    assert await response.text() == "v=0 answer"
    assert response.headers["ETag"] == ETAG
    location = response.headers["Location"]
    assert location == "/v1/sessions/session-1/rtc/peer-1"
    session = stand.registry.get("session-1")
    assert session.uses == [Use.INGEST], "nothing goes back to the sender"
    links = response.headers.getall("Link")
    assert links == ['</v1/whep/session-1>; rel="related"; title="whep"']

    own = bearer(KEY)
    response = await client.patch(location, data="", headers={**FRAGMENT, **own, "If-Match": ETAG})
    assert response.status == 204
    assert (await client.get(location, headers=own)).status == 204
    assert (await client.delete(location, headers=own)).status == 200
    assert session.peer_id is None


async def test_a_token_sends_to_its_own_session(client: Client, stand: Stand) -> None:
    await opened(client)
    token = (await opened(client, effect={"type": "color", "color": "#00b140"}))["token"]
    response = await client.post(WHIP, data=OFFER, headers={**SDP, **bearer(token)})
    assert response.headers["Location"] == "/v1/sessions/session-2/rtc/peer-1"
    assert len(stand.registry.sessions()) == 2
    # This server is gone, and the token comes to another one: the session is opened again.
    stand.registry.forget("session-2")
    response = await client.post(WHIP, data=OFFER, headers={**SDP, **bearer(token)})
    assert response.headers["Location"] == "/v1/sessions/session-2/rtc/peer-1"
    assert stand.registry.get("session-2").spec.effect.__class__.__name__ == "Color"
    # Deleted on purpose: not again.
    await client.delete("/v1/sessions/session-2", headers=bearer(KEY))
    response = await client.post(WHIP, data=OFFER, headers={**SDP, **bearer(token)})
    assert await problem(response) == (404, "unknown-session")


@pytest.mark.parametrize(
    ("effect", "rules", "expected"),
    [
        ({"type": "color", "color": "#00ff00"}, frozenset({"blur"}), (403, "effect-not-allowed")),
        ({"type": "blur", "model": "rvm"}, frozenset(ALL), (422, "model-unavailable")),
    ],
)
async def test_what_a_token_may_not_open_is_not_opened(
    stand: Stand, effect: dict[str, str], rules: frozenset[str], expected: tuple[int, str]
) -> None:
    spec = spec_json(parse_spec({"effect": effect}))
    token = stand.tokens.mint("elsewhere", spec, now=CREATED_AT, expires_at=CREATED_AT + 60)
    stand.tenants = Tenants(Rules(allowed_effects=rules))
    async with stand.client() as client:
        response = await client.post(WHIP, data=OFFER, headers={**SDP, **bearer(token)})
        assert await problem(response) == expected


async def test_ice_servers_and_the_viewers_address_are_links() -> None:
    stand = Stand(ice_servers=[{"urls": ["stun:stun.example.com"]}])
    async with stand.client() as client:
        response = await client.post(WHIP, data=OFFER, headers={**SDP, **bearer(KEY)})
        assert response.headers.getall("Link") == [
            '<stun:stun.example.com>; rel="ice-server"',
            '</v1/whep/session-1>; rel="related"; title="whep"',
        ]


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        ("hello", "application/sdp", (400, "bad-offer")),
        ("v=0\r\nm=audio 9", "application/sdp", (422, "unsupported-offer")),
        ("background is gone", "application/sdp", (422, "invalid-field")),
        ("ports are taken", "application/sdp", (503, "no-media-port")),
        (OFFER, "application/json", (415, "unsupported-media-type")),
        ("v=0" + " " * (32 << 10), "application/sdp", (413, "body-too-large")),
    ],
)
async def test_what_is_not_answered_leaves_no_session(
    client: Client, stand: Stand, body: str, content_type: str, expected: tuple[int, str]
) -> None:
    headers = {**bearer(KEY), "Content-Type": content_type}
    response = await client.post(WHIP, data=body.encode(), headers=headers)
    assert await problem(response) == expected
    assert {one.cause for one in stand.registry.sessions()} <= {"never_connected"}
    if expected[0] == 415:
        assert response.headers["Accept-Post"] == "application/sdp"


@pytest.mark.parametrize(
    ("accept", "fits"),
    [
        ("application/sdp", True),
        ("*/*", True),
        ("text/html, application/*;q=0.5", True),
        ("application/sdp;q=nonsense", True),
        ("application/json", False),
        ("*/*, application/sdp;q=0", False),
        ("application/sdp;q=0", False),
    ],
)
async def test_an_answer_that_accept_leaves_out(client: Client, accept: str, fits: bool) -> None:
    headers = {**SDP, **bearer(KEY), "Accept": accept}
    response = await client.post(WHIP, data=OFFER, headers=headers)
    if fits:
        assert response.status == 201
    else:
        assert await problem(response) == (406, "not-acceptable")


async def test_no_credential_no_room_and_no_such_method(client: Client, stand: Stand) -> None:
    response = await client.post(WHIP, data=OFFER, headers=SDP)
    assert await problem(response) == (401, "unauthorized")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    stand.registry.room = 0
    response = await client.post(WHIP, data=OFFER, headers={**SDP, **bearer(KEY)})
    assert await problem(response) == (503, "no-capacity")
    assert response.headers["Retry-After"] == "7"
    for method in (hdrs.METH_PUT, hdrs.METH_PATCH, hdrs.METH_DELETE):
        response = await client.request(method, WHIP, headers=bearer(KEY))
        assert await problem(response) == (405, "method-not-allowed")
        assert "POST" in response.headers["Allow"]


@pytest.mark.parametrize("path", [WHIP, "/v1/whep/session-1"])
async def test_get_and_options_of_an_endpoint(client: Client, path: str) -> None:
    response = await client.get(path)
    assert (response.status, await response.read()) == (204, b"")
    response = await client.options(path)
    assert response.status == 204
    assert response.headers["Accept-Post"] == "application/sdp"
    preflight = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    response = await client.options(path, headers=preflight)
    assert response.status == 200
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert response.headers["Accept-Post"] == "application/sdp"
