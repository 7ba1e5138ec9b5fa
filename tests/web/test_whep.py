"""WHEP over HTTP: who may watch, what is answered, and every status."""

from __future__ import annotations

import pytest

from tests.web.conftest import FRAGMENT, KEY, OFFER, SDP, Client, Stand, bearer, opened, problem
from tests.web.fakes import ETAG

WHEP = "/v1/whep/session-1"


@pytest.mark.parametrize("credential", ["token", "viewer_token", "key"])
async def test_watch_trickle_leave(client: Client, stand: Stand, credential: str) -> None:
    answer = await opened(client)
    assert answer["whep_url"] == WHEP
    own = bearer({**answer, "key": KEY}[credential])
    response = await client.post(WHEP, data=OFFER, headers={**SDP, **own})
    assert (response.status, response.content_type) == (201, "application/sdp")
    assert await response.text() == "v=0 answer"
    assert response.headers["ETag"] == ETAG
    location = response.headers["Location"]
    assert location == f"{WHEP}/viewer-1"
    audience = stand.registry.get("session-1").audience

    response = await client.patch(
        location, data="a=candidate", headers={**FRAGMENT, **own, "If-Match": ETAG}
    )
    assert (response.status, await response.read()) == (204, b"")
    assert audience.fragments == ["a=candidate"]
    assert (await client.get(location)).status == 204
    assert (await client.delete(location, headers=own)).status == 200
    assert audience.viewers == []
    assert await problem(await client.delete(location, headers=own)) == (404, "unknown-peer")


async def test_a_viewers_token_is_good_for_watching_alone(client: Client, stand: Stand) -> None:
    viewer = bearer((await opened(client))["viewer_token"])
    await opened(client)
    one = "/v1/sessions/session-1"
    calls = [
        ("GET", one),
        ("PATCH", one),
        ("DELETE", one),
        ("GET", f"{one}/events"),
        ("PUT", f"{one}/background"),
        ("PATCH", f"{one}/tracks/0"),
        ("POST", f"{one}/rtc"),
        ("PATCH", f"{one}/rtc/peer-1"),
        ("DELETE", f"{one}/rtc/peer-1"),
        ("POST", "/v1/whip"),
        ("POST", "/v1/whep/session-2"),
        ("POST", "/v1/sessions"),
        ("GET", "/v1/sessions"),
        ("POST", "/v1/sessions/end"),
        ("GET", "/v1/events"),
    ]
    for method, path in calls:
        response = await client.request(method, path, headers=viewer)
        assert await problem(response) == (403, "forbidden"), (method, path)
    # It opens no session again, and ends with the session's time.
    stand.registry.forget("session-1")
    response = await client.post(WHEP, data=OFFER, headers={**SDP, **viewer})
    assert await problem(response) == (404, "unknown-session")
    stand.now += 3600
    response = await client.post(WHEP, data=OFFER, headers={**SDP, **viewer})
    assert await problem(response) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        ("hello", SDP, (400, "bad-offer")),
        ("ports are taken", SDP, (503, "no-media-port")),
        (f"{OFFER}a=sendonly\r\n", SDP, (422, "unsupported-offer")),
        (OFFER, {"Content-Type": "text/plain"}, (415, "unsupported-media-type")),
        (OFFER, {**SDP, "Accept": "text/html"}, (406, "not-acceptable")),
        ("v=0" + " " * (32 << 10), SDP, (413, "body-too-large")),
    ],
)
async def test_offers_that_are_not_answered(
    client: Client, body: str, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    await opened(client)
    response = await client.post(WHEP, data=body.encode(), headers={**bearer(KEY), **headers})
    assert await problem(response) == expected


async def test_there_is_room_for_a_few(client: Client) -> None:
    await opened(client)
    for _ in range(2):
        response = await client.post(WHEP, data=OFFER, headers={**SDP, **bearer(KEY)})
        assert response.status == 201
    response = await client.post(WHEP, data=OFFER, headers={**SDP, **bearer(KEY)})
    assert await problem(response) == (503, "no-capacity")
    assert response.headers["Retry-After"] == "5"
    assert (await response.json())["reason"] == "viewer_cap"


async def test_a_patch_names_the_viewer_and_its_ice_session(client: Client) -> None:
    await opened(client)
    own = bearer(KEY)
    response = await client.post(WHEP, data=OFFER, headers={**SDP, **own})
    location = response.headers["Location"]

    async def patched(path: str, fragment: str, **headers: str) -> tuple[int, str]:
        sent = {**FRAGMENT, **own, **headers}
        return await problem(await client.patch(path, data=fragment, headers=sent))

    assert await patched(location, "") == (428, "if-match-required")
    assert await patched(location, "", **{"If-Match": '"old"'}) == (412, "stale-etag")
    restart = {"If-Match": "*"}
    assert await patched(location, "a=ice-ufrag:new", **restart) == (422, "unsupported-offer")
    assert await patched(f"{WHEP}/viewer-9", "", **{"If-Match": ETAG}) == (404, "unknown-peer")
    of_another_type = {"Content-Type": "application/sdp", "If-Match": ETAG}
    assert await patched(location, "", **of_another_type) == (415, "unsupported-media-type")


async def test_strangers_and_sessions_that_are_not_there(client: Client) -> None:
    response = await client.post(WHEP, data=OFFER, headers=SDP)
    assert await problem(response) == (401, "unauthorized")
    response = await client.post(WHEP, data=OFFER, headers={**SDP, **bearer(KEY)})
    assert await problem(response) == (404, "unknown-session")
    response = await client.request("PUT", WHEP, headers=bearer(KEY))
    assert await problem(response) == (405, "method-not-allowed")
