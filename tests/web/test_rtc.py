"""SDP over HTTP: the exchange of RFC 9725, and sessions that are opened again by their token."""

from __future__ import annotations

import logging

import pytest
from multidict import CIMultiDict

from service.policy.rules import Rules, Tenants
from service.web.rtc import ice_server_links
from service.web.spec import MAX_TTL_S, parse_spec, spec_json
from tests.web.conftest import FRAGMENT, KEY, OFFER, SDP, Client, Stand, bearer, opened, problem
from tests.web.fakes import CREATED_AT, ETAG

RTC = "/v1/sessions/session-1/rtc"


async def test_offer_trickle_hang_up(client: Client, stand: Stand) -> None:
    own = bearer((await opened(client))["token"])
    response = await client.post(RTC, data=OFFER, headers={**SDP, **own})
    assert response.status == 201
    assert response.content_type == "application/sdp"
    assert await response.text() == "v=0 answer"
    assert response.headers["ETag"] == ETAG
    assert response.headers["Cache-Control"] == "no-store"
    location = response.headers["Location"]
    assert location == f"{RTC}/peer-1"

    fragment = "a=ice-ufrag:old\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n"
    response = await client.patch(
        location, data=fragment, headers={**FRAGMENT, **own, "If-Match": ETAG}
    )
    assert (response.status, await response.read()) == (204, b"")
    assert stand.registry.get("session-1").fragments == [fragment]

    response = await client.delete(location, headers=own)
    assert (response.status, await response.read()) == (200, b"")
    # The session lives on, and a platform may offer too.
    response = await client.post(RTC, data=OFFER, headers={**SDP, **bearer(KEY)})
    assert response.headers["Location"] == f"{RTC}/peer-2"


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        ("hello", "application/sdp", (400, "bad-offer")),
        ("", "application/sdp", (400, "bad-offer")),
        ("background is gone", "application/sdp", (422, "invalid-field")),
        ("v=0\r\nm=audio 9", "application/sdp", (422, "unsupported-offer")),
        (OFFER, "application/json", (415, "unsupported-media-type")),
        (OFFER, "", (415, "unsupported-media-type")),
        ("v=0" + " " * (32 << 10), "application/sdp", (413, "body-too-large")),
    ],
)
async def test_offers_that_are_not_answered(
    client: Client, body: str, content_type: str, expected: tuple[int, str]
) -> None:
    await opened(client)
    headers = {**bearer(KEY), **({"Content-Type": content_type} if content_type else {})}
    response = await client.post(
        RTC,
        data=body.encode(),
        headers=headers,
        skip_auto_headers=["Content-Type"],
    )
    assert await problem(response) == expected
    if expected[0] == 415:
        assert response.headers["Accept-Post"] == "application/sdp"


async def test_the_longest_offer_and_none_that_finds_a_port(client: Client) -> None:
    await opened(client)
    headers = {**SDP, **bearer(KEY)}
    response = await client.post(RTC, data=OFFER.ljust(32 << 10), headers=headers)
    assert response.status == 201
    response = await client.post(RTC, data="ports are taken", headers=headers)
    assert await problem(response) == (503, "no-media-port")
    assert response.headers["Retry-After"] == "5"


async def test_a_patch_names_the_ice_session_that_it_means(client: Client) -> None:
    await opened(client)
    own = bearer(KEY)
    location = (await client.post(RTC, data=OFFER, headers={**SDP, **own})).headers["Location"]

    async def patched(path: str, fragment: str, **headers: str) -> tuple[int, str]:
        sent = {**FRAGMENT, **own, **headers}
        return await problem(await client.patch(path, data=fragment, headers=sent))

    assert await patched(location, "") == (428, "if-match-required")
    assert await patched(location, "", **{"If-Match": '"old"'}) == (412, "stale-etag")
    restart = "a=ice-ufrag:new\r\n"
    for if_match in (ETAG, "*", '"*"'):
        got = await patched(location, restart, **{"If-Match": if_match})
        assert got == (422, "unsupported-offer")
    assert await patched(f"{RTC}/peer-9", "", **{"If-Match": ETAG}) == (404, "unknown-peer")
    response = await client.patch(location, data="", headers={**SDP, **own, "If-Match": ETAG})
    assert await problem(response) == (415, "unsupported-media-type")
    assert response.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"


@pytest.mark.parametrize(
    "lines", [[ETAG], ["*"], ['"*"'], [f'"old", {ETAG}'], [f'{ETAG},"new"'], ['"old"', ETAG]]
)
async def test_if_match_may_be_a_list_in_one_line_or_several(
    client: Client, stand: Stand, lines: list[str]
) -> None:
    await opened(client)
    own = bearer(KEY)
    location = (await client.post(RTC, data=OFFER, headers={**SDP, **own})).headers["Location"]
    headers = CIMultiDict({**FRAGMENT, **own})
    for line in lines:
        headers.add("If-Match", line)
    response = await client.patch(location, data="a=ice-ufrag:old\r\n", headers=headers)
    assert response.status == 204
    assert stand.registry.get("session-1").fragments == ["a=ice-ufrag:old\r\n"]


async def test_hanging_up_twice(client: Client) -> None:
    await opened(client)
    location = (await client.post(RTC, data=OFFER, headers={**SDP, **bearer(KEY)})).headers[
        "Location"
    ]
    assert (await client.delete(location, headers=bearer(KEY))).status == 200
    response = await client.delete(location, headers=bearer(KEY))
    assert await problem(response) == (404, "unknown-peer")


async def test_ice_servers_are_links_and_json(stand: Stand) -> None:
    stand.ice_servers = [
        {"urls": ["stun:stun.example.com"]},
        {
            "urls": ["turn:t.example.com?transport=udp", "turns:t.example.com"],
            "username": "user",
            "credential": 'pass"word\\',
        },
    ]
    async with stand.client() as client:
        assert (await opened(client))["ice_servers"] == stand.ice_servers
        response = await client.post(RTC, data=OFFER, headers={**SDP, **bearer(KEY)})
        secret = (
            '; rel="ice-server"; username="user"; credential="pass\\"word\\\\"; '
            'credential-type="password"'
        )
        assert response.headers.getall("Link") == [
            '<stun:stun.example.com>; rel="ice-server"',
            f"<turn:t.example.com?transport=udp>{secret}",
            f"<turns:t.example.com>{secret}",
        ]
    assert ice_server_links({"urls": []}) == []


async def test_a_token_opens_its_session_again_on_another_server(
    client: Client, stand: Stand
) -> None:
    answer = await opened(
        client,
        effect={"type": "color", "color": "#123456"},
        allowed_effects=["color"],
        ttl_s=600,
        metadata={"meeting": "42"},
    )
    spec = stand.registry.get("session-1").spec
    stand.registry.forget("session-1")
    stand.now += 100
    response = await client.post(RTC, data=OFFER, headers={**SDP, **bearer(answer["token"])})
    assert response.status == 201
    again = stand.registry.get("session-1")
    assert (again.spec.effect, again.spec.allowed_effects) == (spec.effect, spec.allowed_effects)
    assert again.spec.metadata == spec.metadata
    # Its time goes on, and is not begun anew.
    assert again.spec.ttl_s == 500


async def test_what_a_token_does_not_open_again(client: Client, stand: Stand) -> None:
    token = (await opened(client, ttl_s=60))["token"]
    own, offer = bearer(token), {**SDP, **bearer(token)}
    stand.registry.forget("session-1")
    # Only an offer opens a session, and only for the holder of its token.
    assert await problem(await client.get("/v1/sessions/session-1", headers=own)) == (
        404,
        "unknown-session",
    )
    response = await client.post(RTC, data=OFFER, headers={**SDP, **bearer(KEY)})
    assert await problem(response) == (404, "unknown-session")
    # There must be room.
    stand.registry.room = 0
    response = await client.post(RTC, data=OFFER, headers=offer)
    assert await problem(response) == (503, "no-capacity")
    stand.registry.room = 1
    # One that was deleted stays deleted.
    assert (await client.post(RTC, data=OFFER, headers=offer)).status == 201
    assert (await client.delete("/v1/sessions/session-1", headers=own)).status == 204
    response = await client.post(RTC, data=OFFER, headers=offer)
    assert await problem(response) == (404, "unknown-session")
    # And an expired token is none.
    stand.now = CREATED_AT + 60
    response = await client.post(RTC, data=OFFER, headers=offer)
    assert await problem(response) == (401, "unauthorized")


async def test_a_token_opens_nothing_that_its_tenant_may_not_have_any_more(stand: Stand) -> None:
    """The rules are those of the server where it is opened again."""
    spec = spec_json(parse_spec({"effect": {"type": "color", "color": "#00ff00"}}))
    token = stand.tokens.mint("elsewhere", spec, now=CREATED_AT, expires_at=CREATED_AT + 60)
    stand.tenants = Tenants(Rules(allowed_effects=frozenset({"blur"})))
    async with stand.client() as client:
        response = await client.post(
            "/v1/sessions/elsewhere/rtc", data=OFFER, headers={**SDP, **bearer(token)}
        )
        assert await problem(response) == (403, "effect-not-allowed")
    assert stand.registry.sessions() == []


@pytest.mark.parametrize("by_platform", [True, False])
async def test_what_is_deleted_after_it_idled_out_stays_deleted(
    client: Client, stand: Stand, by_platform: bool
) -> None:
    token = (await opened(client, ttl_s=MAX_TTL_S))["token"]
    foreign = (await opened(client))["token"]
    stand.registry.forget("session-1")
    response = await client.delete("/v1/sessions/session-1", headers=bearer(foreign))
    assert await problem(response) == (403, "forbidden")
    # Nobody who may had deleted it: its token opens it.
    offer = {**SDP, **bearer(token)}
    assert (await client.post(RTC, data=OFFER, headers=offer)).status == 201
    stand.registry.forget("session-1")
    deleter = bearer(KEY if by_platform else token)
    response = await client.delete("/v1/sessions/session-1", headers=deleter)
    assert await problem(response) == (404, "unknown-session")
    for later_s in (0, MAX_TTL_S - 1):
        stand.now = CREATED_AT + later_s
        response = await client.post(RTC, data=OFFER, headers=offer)
        assert await problem(response) == (404, "unknown-session")


async def test_a_fault_is_a_500_and_its_log_has_no_secret(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = (await opened(client))["token"]
    response = await client.post(RTC, data="fault", headers={**SDP, **bearer(token)})
    assert await problem(response) == (500, "internal")
    assert "unforeseen" not in await response.text()
    (record,) = [one for one in caplog.records if one.name == "service.web.problems"]
    assert record.getMessage() == "a request failed: POST /v1/sessions/{session_id}/rtc"
    assert token not in caplog.text
    assert "session-1" not in record.getMessage()
