"""Who may do what: keys, tokens, other origins, and development mode."""

from __future__ import annotations

import pytest

from service.policy.tokens import Tokens
from tests.web.conftest import (
    KEY,
    OFFER,
    ORIGIN,
    OTHER_KEY,
    SDP,
    Client,
    Stand,
    bearer,
    opened,
    problem,
)
from tests.web.fakes import CREATED_AT

PLATFORM_CALLS = [
    ("POST", "/v1/sessions"),
    ("GET", "/v1/sessions"),
    ("POST", "/v1/sessions/end"),
    ("GET", "/v1/events"),
]
SESSION_CALLS = [
    ("GET", "/v1/sessions/{id}"),
    ("PATCH", "/v1/sessions/{id}"),
    ("PATCH", "/v1/sessions/{id}/tracks/0"),
    ("DELETE", "/v1/sessions/{id}"),
    ("GET", "/v1/sessions/{id}/events"),
    ("PUT", "/v1/sessions/{id}/background"),
    ("POST", "/v1/sessions/{id}/rtc"),
    ("PATCH", "/v1/sessions/{id}/rtc/peer"),
    ("DELETE", "/v1/sessions/{id}/rtc/peer"),
]
SHARED_CALLS = [
    ("GET", "/v1/backgrounds"),
    ("GET", "/v1/backgrounds/attic"),
    ("GET", "/v1/models"),
    ("GET", "/v1/server"),
]
OPEN_CALLS = [("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")]


@pytest.mark.parametrize(("method", "path"), PLATFORM_CALLS + SESSION_CALLS + SHARED_CALLS)
async def test_without_a_good_credential_nothing_is_told(
    client: Client, method: str, path: str
) -> None:
    await opened(client)
    forged = Tokens([b"x" * 32]).mint("session-1", {}, now=CREATED_AT, expires_at=CREATED_AT + 60)
    for session in ("session-1", "no-such-session"):
        for headers in (
            {},
            bearer("wrong-platform-key"),
            bearer(""),
            bearer("a.b.c"),
            bearer(forged),
            bearer("\u00e9\u2603"),
            {"Authorization": f"Basic {KEY}"},
            {"Authorization": KEY},
        ):
            response = await client.request(method, path.format(id=session), headers=headers)
            assert await problem(response) == (401, "unauthorized")
            assert response.headers["WWW-Authenticate"].startswith('Bearer realm="backcloth"')


@pytest.mark.parametrize(("method", "path"), OPEN_CALLS)
async def test_probes_are_open(client: Client, method: str, path: str) -> None:
    assert (await client.request(method, path)).status == 200


@pytest.mark.parametrize("key", [KEY, OTHER_KEY])
async def test_every_key_is_good(client: Client, key: str) -> None:
    assert (await client.get("/v1/sessions", headers=bearer(key))).status == 200
    lower = {"Authorization": f"bearer {key}"}
    assert (await client.get("/v1/sessions", headers=lower)).status == 200


@pytest.mark.parametrize(("method", "path"), PLATFORM_CALLS)
async def test_a_token_is_no_platform_key(client: Client, method: str, path: str) -> None:
    token = (await opened(client))["token"]
    response = await client.request(method, path, headers=bearer(token))
    assert await problem(response) == (403, "forbidden")


@pytest.mark.parametrize(("method", "path"), SESSION_CALLS)
async def test_a_token_finds_out_nothing_of_other_sessions(
    client: Client, method: str, path: str
) -> None:
    token = (await opened(client))["token"]
    await opened(client)
    answers = []
    for session in ("session-2", "no-such-session", "session-%F0%9F%A7%B5"):
        response = await client.request(method, path.format(id=session), headers=bearer(token))
        assert await problem(response) == (403, "forbidden")
        answers.append(await response.read())
    assert len(set(answers)) == 1


async def test_an_unknown_session_of_a_platform(client: Client) -> None:
    for method, path in SESSION_CALLS:
        response = await client.request(
            method,
            path.format(id="no-such-session"),
            data=OFFER if path.endswith("rtc") else b"{}",
            headers={
                **bearer(KEY),
                "Content-Type": {
                    "PUT": "image/png",
                    "POST": "application/sdp",
                    "PATCH": "application/trickle-ice-sdpfrag"
                    if "rtc" in path
                    else "application/json",
                }.get(method, "application/json"),
                "If-Match": "*",
            },
        )
        assert await problem(response) == (404, "unknown-session")


async def test_an_expired_token(client: Client, stand: Stand) -> None:
    token = (await opened(client, ttl_s=60))["token"]
    assert (await client.get("/v1/sessions/session-1", headers=bearer(token))).status == 200
    stand.now += 60
    response = await client.get("/v1/sessions/session-1", headers=bearer(token))
    assert await problem(response) == (401, "unauthorized")
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]


async def test_every_answer_carries_the_security_headers(client: Client) -> None:
    await opened(client)
    for method, path in (
        ("GET", "/healthz"),
        ("GET", "/nothing/here"),
        ("PUT", "/v1/sessions"),
        ("GET", "/v1/sessions"),
    ):
        response = await client.request(method, path)
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Permissions-Policy"] == "camera=(self), microphone=(self)"
        assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["Vary"] == "Origin"
        assert response.headers["Server"] == "backcloth"


async def test_what_the_router_refuses(client: Client) -> None:
    assert await problem(await client.get("/v2/sessions")) == (404, "not-found")
    assert await problem(await client.get("/v1/sessions/")) == (404, "not-found")
    response = await client.put("/v1/sessions")
    assert await problem(response) == (405, "method-not-allowed")
    assert {"GET", "HEAD", "POST"} <= set(response.headers["Allow"].split(","))


# ---------------------------------------------------------------- other origins (CORS)
@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/v1/sessions", "authorization,content-type,idempotency-key"),
        ("PATCH", "/v1/sessions/session-1", "authorization,content-type"),
        ("PATCH", "/v1/sessions/session-1", "authorization,content-type,if-match"),
        ("DELETE", "/v1/sessions/session-1", "authorization"),
        ("DELETE", "/v1/sessions/session-1", "authorization,if-match"),
        ("GET", "/v1/sessions/session-1/events", "authorization,last-event-id"),
        ("PATCH", "/v1/sessions/session-1/tracks/0", "authorization,content-type"),
        ("PATCH", "/v1/sessions/session-1/tracks/0", "authorization,content-type,if-match"),
        ("PUT", "/v1/sessions/session-1/background", "authorization,content-type"),
        ("POST", "/v1/sessions/session-1/rtc", "authorization,content-type"),
        ("PATCH", "/v1/sessions/session-1/rtc/peer", "authorization,content-type,if-match"),
        ("DELETE", "/v1/sessions/session-1/rtc/peer", "authorization"),
        ("GET", "/v1/backgrounds", "authorization"),
    ],
)
async def test_preflights_of_an_allowed_origin(
    client: Client, method: str, path: str, headers: str
) -> None:
    response = await client.options(
        path,
        headers={
            "Origin": ORIGIN,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": headers,
        },
    )
    assert response.status == 200
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert response.headers["Access-Control-Allow-Methods"] == method
    allowed = response.headers["Access-Control-Allow-Headers"].lower().split(",")
    assert set(allowed) == set(headers.split(","))
    assert "Access-Control-Allow-Credentials" not in response.headers


@pytest.mark.parametrize(
    ("origin", "method", "headers"),
    [
        ("https://evil.example.com", "POST", "authorization"),
        ("null", "POST", "authorization"),
        (ORIGIN, "PUT", "authorization"),
        (ORIGIN, "POST", "x-other"),
    ],
)
async def test_preflights_that_fail(client: Client, origin: str, method: str, headers: str) -> None:
    response = await client.options(
        "/v1/sessions",
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": headers,
        },
    )
    assert await problem(response) == (403, "foreign-origin")
    assert "Access-Control-Allow-Origin" not in response.headers


async def test_an_allowed_origin_may_read_answers_and_errors(client: Client) -> None:
    await opened(client)
    for headers in (bearer(KEY), {}):
        response = await client.post(
            "/v1/sessions/session-1/rtc",
            data=OFFER,
            headers={**SDP, **headers, "Origin": ORIGIN},
        )
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        exposed = set(response.headers["Access-Control-Expose-Headers"].split(","))
        assert {"Location", "ETag", "Link"} <= exposed
    response = await client.get(
        "/v1/sessions", headers={**bearer(KEY), "Origin": "https://evil.example.com"}
    )
    assert "Access-Control-Allow-Origin" not in response.headers


# ---------------------------------------------------------------- development mode
@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "localhost"])
async def test_development_mode_asks_for_no_credential(development: Stand, host: str) -> None:
    async with development.client(Host=host) as client:
        response = await client.post("/v1/sessions")
        assert response.status == 201
        session = (await response.json())["id"]
        assert (await client.get(f"/v1/sessions/{session}")).status == 200
        assert (await (await client.get("/v1/server")).json())["development"] is True


async def test_development_mode_still_checks_a_token_that_is_sent(development: Stand) -> None:
    async with development.client() as client:
        first = await (await client.post("/v1/sessions")).json()
        second = await (await client.post("/v1/sessions")).json()
        path = f"/v1/sessions/{second['id']}"
        assert (await client.get(path, headers=bearer(second["token"]))).status == 200
        assert (await client.get(path, headers=bearer(first["token"]))).status == 403
        assert (await client.get(path, headers=bearer("a.b.c"))).status == 401


@pytest.mark.parametrize(
    "host",
    [
        "evil.example.com",
        "localhost.evil.example.com",
        "127.0.0.1.evil.example.com",
        "192.168.1.7:8080",
        "0.0.0.0:8080",
        "[::",
        "",
    ],
)
async def test_development_mode_answers_to_this_machine_only(development: Stand, host: str) -> None:
    async with development.client(Host=host) as client:
        for path in ("/", "/v1/sessions", "/healthz"):
            assert await problem(await client.get(path)) == (421, "foreign-host")


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:8080", True),
        ("https://localhost:8080", True),
        (ORIGIN, True),
        ("http://localhost:9090", False),
        ("http://127.0.0.1:8080", False),
        ("http://evil.example.com", False),
        ("null", False),
        ("", False),
    ],
)
async def test_development_mode_takes_only_its_own_page(
    development: Stand, origin: str, allowed: bool
) -> None:
    async with development.client(Host="localhost:8080", Origin=origin) as client:
        response = await client.post("/v1/sessions")
        if allowed:
            assert response.status == 201
        else:
            assert await problem(response) == (403, "foreign-origin")
            assert development.registry.sessions() == []


async def test_with_keys_any_host_is_served(client: Client) -> None:
    response = await client.get(
        "/v1/sessions", headers={**bearer(KEY), "Host": "backcloth.example.com"}
    )
    assert response.status == 200
