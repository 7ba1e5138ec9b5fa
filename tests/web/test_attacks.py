"""The attacker's list over HTTP: what docs/security.md lists and no other test tries."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from service.web.bodies import SDP_LIMIT_BYTES
from tests.web.conftest import FRAGMENT, KEY, OFFER, SDP, Client, Stand, bearer, opened, problem
from tests.web.fakes import CREATED_AT
from tests.web.signing import ALGORITHMS, AUDIENCE, ISSUER, pem, private_key
from tests.web.test_platform_tokens_served import fixed_keys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECURITY = Path(__file__).parents[2] / "docs" / "security.md"
ROW = re.compile(r"^\| [^|]+ \| [^|]+ \| ((?:`[^`]+`(?:, )?)+) \|$", re.MULTILINE)
ELSEWHERE = "https://elsewhere.example.com"
PASSWORDS = "../" * 8 + "etc/passwd"


def test_the_list_names_tests_that_exist() -> None:
    section = SECURITY.read_text().partition("## The attacker's list")[2].partition("\n## ")[0]
    named = [test for row in ROW.findall(section) for test in re.findall(r"`([^`]+)`", row)]
    assert len(named) > 25
    assert len(ROW.findall(section)) == section.count("\n| ") - 1, "a row that is no row"
    for test in named:
        file, name = test.split(": ")
        assert f"def {name}(" in (SECURITY.parents[1] / "tests" / file).read_text(), test


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(header: dict[str, Any], key: bytes = b"", **changes: Any) -> str:
    """A platform's token whose header says what it likes, signed by HMAC with `key`, if at all."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "iat": int(CREATED_AT), "exp": int(CREATED_AT) + 60}
    body = f"{encoded(header)}.{encoded({**claims, **changes})}"
    mac = hmac.new(key, body.encode(), hashlib.sha256).digest() if key else b""
    return f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


@pytest.mark.parametrize(
    "credential",
    [
        forged({"alg": "none"}),
        forged({"alg": "nOnE"}),
        forged({}),
        *(
            forged({"alg": said}, pem(private_key(algorithm)).encode())
            for algorithm in ALGORITHMS
            for said in ("HS256", algorithm)
        ),
        forged({"alg": "HS256", "jku": ELSEWHERE}, b"k" * 32),
        forged({"alg": "HS256", "jwk": {"kty": "oct", "k": "a2tr"}}, b"kkk"),
    ],
)
async def test_forged_tokens(credential: str) -> None:
    """alg none, a public key as the secret of HS256, keys of the token's own."""
    stand = Stand(platform_signed=fixed_keys())
    async with stand.client(**bearer(credential)) as client:
        for method, path in (("POST", "/v1/sessions"), ("GET", "/v1/server")):
            assert await problem(await client.request(method, path)) == (401, "unauthorized")
    assert stand.registry.sessions() == []


@pytest.mark.parametrize("place", ["header", "cookie", "query", "body"])
async def test_a_credential_in_another_place(client: Client, place: str) -> None:
    """Where a page of another site, a log or a form could put one."""
    response = await client.post(
        "/v1/sessions" + (f"?access_token={KEY}&api_key={KEY}" if place == "query" else ""),
        json={"access_token": KEY} if place == "body" else {},
        headers={"X-API-Key": KEY} if place == "header" else {},
        cookies={"Authorization": f"Bearer {KEY}"} if place == "cookie" else {},
    )
    assert await problem(response) == (401, "unauthorized")


async def raw(client: Client, head: str, body: bytes = b"") -> bytes:
    """The whole answer to bytes that no client library would send."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body)
        answer = await reader.read()
        writer.close()
    return answer


@pytest.mark.parametrize(
    "path",
    [
        f"/v1/backgrounds/{PASSWORDS}",
        f"/v1/backgrounds/{PASSWORDS.replace('/', '%2f')}",
        f"/v1/backgrounds/{PASSWORDS.replace('.', '%2e').replace('/', '%5c')}",
        "/v1/backgrounds/attic%00.webp",
        "/v1/backgrounds/%252e%252e%252fattic",
        f"/{PASSWORDS}",
        "//etc/passwd",
        "/.%2e/.%2e/etc/passwd",
        "/client.js%00",
    ],
)
async def test_a_path_out_of_the_folder(client: Client, path: str) -> None:
    head = f"GET {path} HTTP/1.1\nHost: localhost\nAuthorization: Bearer {KEY}\nConnection: close"
    answer = await raw(client, head)
    assert answer.split()[1] in (b"404", b"400"), answer[:200]
    assert b"root:" not in answer


@pytest.mark.parametrize(
    "name", [PASSWORDS, "..", "attic/../attic", "attic\x00", "ATTIC", "a" * 65]
)
async def test_a_name_of_a_picture_that_is_a_path(client: Client, name: str) -> None:
    body = {"effect": {"type": "image", "background": name}}
    response = await client.post("/v1/sessions", json=body, headers=bearer(KEY))
    assert await problem(response) == (422, "invalid-field")
    assert (await response.json())["field"] == "effect.background"


@pytest.mark.parametrize("chunked", [True, False])
async def test_ten_megabytes_of_sdp(client: Client, stand: Stand, chunked: bool) -> None:
    """Refused by its length, or once there is more than may be: the rest is not waited for."""
    await opened(client)
    told = asyncio.Event()

    async def much() -> AsyncIterator[bytes]:
        yield OFFER.encode()
        if chunked:
            yield b"a=x\r\n" * (SDP_LIMIT_BYTES // 5)
        await told.wait()

    headers = {**SDP, **bearer(KEY)} | ({} if chunked else {"Content-Length": str(10 << 20)})
    for call, path in ((client.post, "/rtc"), (client.patch, "/rtc/peer-1")):
        kind = headers | ({} if path == "/rtc" else {**FRAGMENT, "If-Match": "*"})
        async with asyncio.timeout(10):
            response = await call(f"/v1/sessions/session-1{path}", data=much(), headers=kind)
        assert await problem(response) == (413, "body-too-large")
        assert response.headers["Connection"] == "close"
        response.close()
    told.set()
    assert stand.registry.get("session-1").offers == []


async def test_a_page_of_another_origin(client: Client) -> None:
    """With keys: whatever a form or a script may send without asking has no credential, and what it
    could send with one needs a preflight, which is refused; nothing lets it read an answer."""
    simple = {"Origin": ELSEWHERE, "Content-Type": "text/plain"}
    for method, path in (("POST", "/v1/sessions"), ("GET", "/v1/sessions"), ("GET", "/v1/server")):
        response = await client.request(method, path, data="{}", headers=simple)
        assert await problem(response) == (401, "unauthorized")
        assert not [name for name in response.headers if name.startswith("Access-Control-")]
    asks = {
        "Origin": ELSEWHERE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    response = await client.options("/v1/sessions", headers=asks)
    assert await problem(response) == (403, "foreign-origin")
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(
    "head",
    [
        "GET /v1/server HTTP/1.1\nHost: rebound.example.com",
        "GET /v1/server HTTP/1.1\nHost: 127.0.0.1.example.com",
        "GET /v1/server HTTP/1.1\nHost: localhost@rebound.example.com",
        "GET /v1/server HTTP/1.1\nHost: rebound.example.com#localhost",
        "GET /v1/server HTTP/1.1\nHost: localhost, rebound.example.com",
        "GET /v1/server HTTP/1.1\nHost: localhost\nHost: rebound.example.com",
        "GET http://rebound.example.com/v1/server HTTP/1.1\nHost: rebound.example.com",
        "GET /v1/server HTTP/1.1\nHost: 2130706433",
        "GET /v1/server HTTP/1.0",
        "GET /v1/server HTTP/1.1\nHost: localhost\nOrigin: null",
        "GET /v1/server HTTP/1.1\nHost: localhost\nOrigin: http://localhost.example.com",
        "GET /v1/server HTTP/1.1\nHost: rebound.example.com\nX-Forwarded-Host: localhost",
    ],
)
async def test_a_rebound_name_against_development_mode(development: Stand, head: str) -> None:
    async with development.client() as client:
        answer = await raw(client, head + "\nConnection: close")
        assert answer.split()[1] in (b"400", b"403", b"421"), answer[:300]
        assert b"cpu_load_ratio" not in answer


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: 2\nTransfer-Encoding: chunked",
        "Content-Length: 2\nContent-Length: 3",
        "Content-Length: +2",
        "Content-Length: -2",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "X: a\x00b",
        "X\x0b: a",
    ],
)
async def test_a_request_of_two_readings(client: Client, stand: Stand, headers: str) -> None:
    """A front and the service must not see two requests where the other sees one (smuggling)."""
    head = f"POST /v1/sessions HTTP/1.1\nHost: localhost\nAuthorization: Bearer {KEY}\n"
    smuggled = b"0\r\n\r\nPOST /v1/sessions HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = await raw(client, head + headers + "\nConnection: close", smuggled)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 ")), answer[:200]
    assert answer.count(b"HTTP/1.") == 1
    assert stand.registry.sessions() == []


@pytest.mark.parametrize("name", ["%0d%0aSet-Cookie:%20a=b", "%0aX-Injected:%20yes"])
async def test_lines_in_a_name_become_no_header(client: Client, name: str) -> None:
    answers = [
        await raw(
            client,
            f"{method} {path} HTTP/1.1\nHost: localhost\nAuthorization: Bearer {KEY}\n"
            "Connection: close\nContent-Length: 0",
        )
        for method, path in (
            ("GET", f"/v1/sessions/{name}"),
            ("GET", f"/v1/backgrounds/{name}"),
            ("GET", f"/v1/backgrounds/attic?size={name}"),
            ("GET", f"/v1/sessions?{name}=1"),
        )
    ]
    for answer in answers:
        head = answer.partition(b"\r\n\r\n")[0].lower()
        assert head.split()[1] in (b"404", b"422")
        assert b"set-cookie" not in head
        assert b"x-injected" not in head


async def test_numbers_that_are_slow_or_no_numbers(client: Client) -> None:
    """Thousands of digits, an exponent that no float holds, and what JSON does not have."""
    for number in ("9" * 60_000, "1e400", "-1e999", "NaN", "Infinity", "0x10", "01", "true", '"5"'):
        began = time.process_time()
        response = await client.post(
            "/v1/sessions",
            data=f'{{"ttl_s": {number}}}',
            headers={"Content-Type": "application/json", **bearer(KEY)},
        )
        status, kind = await problem(response)
        assert (status, kind) in [(422, "invalid-field"), (400, "malformed-json")], number
        assert time.process_time() - began < 2


async def test_the_same_member_twice_is_the_last_one_everywhere(client: Client) -> None:
    """RFC 8259 4 leaves it open: what is judged must be what is used."""
    body = '{"effect": {"type": "blur"}, "effect": {"type": "none"}}'
    response = await client.post(
        "/v1/sessions", data=body, headers={"Content-Type": "application/json", **bearer(KEY)}
    )
    assert await problem(response) == (403, "effect-not-allowed")
