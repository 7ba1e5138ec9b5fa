"""A platform's own tokens at the API: what they open, what they reach, and the attacks on them."""

from __future__ import annotations

import ipaddress
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from service.policy.effects import Color, Image, effect_json
from service.policy.keys import parse_pem
from service.policy.logins import BURST
from service.policy.platform_tokens import PlatformTokens
from service.policy.rules import Lock, Rules, Tenants
from service.policy.tokens import Tokens
from service.web.access import FixedKeys, KeySource, PlatformSigned
from service.web.jwks import MIN_INTERVAL_S, Jwks
from service.web.spec import MAX_TTL_S
from tests.web.conftest import KEY, OFFER, OTHER_KEY, SDP, Client, Stand, bearer, opened, problem
from tests.web.fakes import CREATED_AT
from tests.web.signing import (
    ALGORITHMS,
    AUDIENCE,
    ISSUER,
    Clock,
    KeyServer,
    jwk,
    pem,
    private_key,
    signed,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOBBY = {"type": "image", "background": "attic"}
NAMED = "session-named-by-platform"


def platform_signed(source: KeySource) -> PlatformSigned:
    tokens = PlatformTokens(keys=source.keys, issuer=ISSUER, audience=AUDIENCE, leeway_s=5)
    return PlatformSigned(tokens, source)


def fixed_keys() -> PlatformSigned:
    text = "".join(pem(private_key(algorithm)) for algorithm in ALGORITHMS)
    return platform_signed(FixedKeys(parse_pem(text)))


@dataclass
class Signed(Stand):
    """The application of a platform that signs tokens."""

    platform_signed: PlatformSigned | None = field(default_factory=fixed_keys)


def token(asks: object = None, **changes: Any) -> str:
    return signed(asks, now=CREATED_AT, **changes)


@pytest.fixture
def stand() -> Signed:
    return Signed()


async def post(client: Client, credential: str, **body: Any) -> tuple[int, dict[str, Any]]:
    response = await client.post("/v1/sessions", json=body, headers=bearer(credential))
    return response.status, await response.json()


# ---------------------------------------------------------------- what they open and reach
@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_token_opens_its_one_session(client: Client, stand: Signed, algorithm: str) -> None:
    asks = {"tenant": "acme", "max_width": 640, "metadata": {"meeting": "7"}, "ttl_s": 600}
    mine = token(asks, algorithm=algorithm)
    status, answer = await post(client, mine, effect={"type": "color", "color": "#00b140"})
    assert status == 201
    spec = stand.registry.get(answer["id"]).spec
    assert (spec.tenant, spec.max_width, spec.ttl_s) == ("acme", 640, 600)
    assert spec.metadata == {"meeting": "7"}
    assert answer["effect"]["type"] == "color"
    # Sent again, it finds the same session, and changes nothing of it.
    status, again = await post(client, mine, effect={"type": "blur"})
    assert (status, again["id"], again["effect"]["type"]) == (200, answer["id"], "color")
    assert len(stand.registry.sessions()) == 1
    # Both its own token and the one that was minted for it reach the session and no other.
    path = f"/v1/sessions/{answer['id']}"
    for credential in (mine, answer["token"], again["token"]):
        assert (await client.get(path, headers=bearer(credential))).status == 200
        response = await client.get("/v1/sessions/session-1", headers=bearer(credential))
        assert await problem(response) == (403, "forbidden")
        response = await client.get("/v1/sessions", headers=bearer(credential))
        assert await problem(response) == (403, "forbidden")


async def test_a_named_session_is_opened_by_its_offer_too(client: Client, stand: Signed) -> None:
    response = await client.post(
        f"/v1/sessions/{NAMED}/rtc",
        data=OFFER,
        headers={**SDP, **bearer(token({"session": NAMED, "effect": LOBBY}))},
    )
    assert response.status == 201
    assert stand.registry.get(NAMED).effect == Image("attic")


async def test_a_minted_token_opens_nothing(client: Client) -> None:
    minted = (await opened(client))["token"]
    response = await client.post("/v1/sessions", headers=bearer(minted))
    assert await problem(response) == (403, "forbidden")


async def test_a_deleted_session_stays_deleted(client: Client) -> None:
    mine = token({"session": NAMED})
    status, answer = await post(client, mine)
    assert status == 201
    response = await client.delete(f"/v1/sessions/{NAMED}", headers=bearer(KEY))
    assert response.status == 204
    response = await client.post("/v1/sessions", headers=bearer(mine))
    assert await problem(response) == (404, "unknown-session")
    for credential in (mine, answer["token"]):
        response = await client.post(
            f"/v1/sessions/{NAMED}/rtc", data=OFFER, headers={**SDP, **bearer(credential)}
        )
        assert await problem(response) == (404, "unknown-session")


@pytest.mark.parametrize("many", [False, True])
async def test_a_deleted_session_stays_deleted_for_as_long_as_any_token_is_good(
    client: Client, stand: Signed, many: bool
) -> None:
    """Of a platform whose clock is ahead, and whose token lasts the whole day."""
    ahead_s = 4
    issued_at = int(CREATED_AT) + ahead_s
    asks = {"session": NAMED, "ttl_s": MAX_TTL_S}
    mine = signed(asks, now=issued_at, exp=issued_at + MAX_TTL_S)
    assert (await post(client, mine))[0] == 201
    if many:
        response = await client.post("/v1/sessions/end", json={"ids": [NAMED]}, headers=bearer(KEY))
        assert await response.json() == {"ended": [NAMED], "unknown": [], "more": False}
    else:
        response = await client.delete(f"/v1/sessions/{NAMED}", headers=bearer(KEY))
        assert response.status == 204
    stand.now += MAX_TTL_S + ahead_s - 2
    response = await client.post("/v1/sessions", headers=bearer(mine))
    assert await problem(response) == (404, "unknown-session")


@pytest.mark.parametrize(
    ("asks", "late_s", "ttl_s"),
    [
        ({"ttl_s": 600}, 0, 600),
        ({"ttl_s": 600}, 50, 550),
        ({"ttl_s": 600, "ends_with_token": True}, 0, 60),
        ({"ttl_s": 600, "ends_with_token": True}, 50, 10),
        ({"ttl_s": 600, "ends_with_token": True}, 57, 3),
        ({"ttl_s": 20, "ends_with_token": True}, 0, 20),
    ],
)
async def test_a_session_has_the_time_that_its_token_gives(
    client: Client, stand: Signed, asks: dict[str, Any], late_s: int, ttl_s: int
) -> None:
    mine = token(asks)
    stand.now += late_s
    status, answer = await post(client, mine)
    assert status == 201
    assert stand.registry.get(answer["id"]).spec.ttl_s == ttl_s
    # The token that was minted for it can open it again, as another server's would have to.
    stand.registry.forget(answer["id"])
    response = await client.post(
        answer["rtc_url"], data=OFFER, headers={**SDP, **bearer(answer["token"])}
    )
    assert response.status == (201 if answer["expires_at"] > stand.now else 401)


async def test_time_does_not_begin_anew(client: Client, stand: Signed) -> None:
    mine = token({"ttl_s": 10})
    stand.now += 10
    response = await client.post("/v1/sessions", headers=bearer(mine))
    assert await problem(response) == (401, "unauthorized")


# ---------------------------------------------------------------- what a browser can't get round
@pytest.mark.parametrize(
    ("asks", "body", "status", "field"),
    [
        ({"max_width": 640}, {"max_width": 641}, 422, "max_width"),
        ({"max_height": 360}, {"max_height": 720}, 422, "max_height"),
        ({"max_fps": 15}, {"max_fps": 16}, 422, "max_fps"),
        ({"ttl_s": 60}, {"ttl_s": 61}, 422, "ttl_s"),
        ({"max_width": 640}, {"max_width": 320}, 201, None),
        ({"audio": False}, {"audio": True}, 422, "audio"),
        ({}, {"allowed_effects": ["none"]}, 422, "allowed_effects"),
        ({}, {"tenant": "other"}, 422, "tenant"),
        ({}, {"lock": "nothing"}, 422, "lock"),
        ({}, {"logo": None}, 422, "logo"),
        ({}, {"backgrounds": None}, 422, "backgrounds"),
        ({}, {"metadata": {"user": "ceo"}}, 422, "metadata"),
        ({}, {"session": NAMED}, 422, "session"),
        ({}, {"effect": {"type": "none"}}, 403, None),
        ({"allowed_effects": ["blur"]}, {"effect": LOBBY}, 403, None),
        ({"effect": LOBBY, "lock": "effect"}, {"effect": {"type": "blur"}}, 403, None),
        ({"effect": LOBBY, "lock": "effect"}, {"effect": {**LOBBY, "edge": 0.1}}, 403, None),
        ({"effect": LOBBY, "lock": "effect"}, {"effect": LOBBY}, 201, None),
        ({"effect": LOBBY, "lock": "background"}, {"effect": {**LOBBY, "edge": 0.1}}, 201, None),
        ({"effect": LOBBY, "lock": "background"}, {"effect": {"type": "blur"}}, 403, None),
        ({"lock": "background"}, {"effect": {"type": "blur", "strength": 0}}, 403, None),
        ({"effect": LOBBY, "lock": "effect"}, {"away": {"background": "library-warm"}}, 403, None),
        (
            {"backgrounds": ["attic"]},
            {"effect": {**LOBBY, "background": "library-warm"}},
            403,
            None,
        ),
        ({"backgrounds": ["attic"]}, {"away": {"background": "library-warm"}}, 422, None),
        ({"max_width": 9000}, {}, 422, "max_width"),
        ({"everything": True}, {}, 422, "everything"),
    ],
)
async def test_the_body_stays_within_the_claims(
    client: Client,
    stand: Signed,
    asks: dict[str, Any],
    body: dict[str, Any],
    status: int,
    field: str,
) -> None:
    answered, answer = await post(client, token(asks), **body)
    assert answered == status, answer
    if status != 201:
        assert stand.registry.sessions() == []
    if field is not None:
        assert answer["field"] == field


@pytest.mark.parametrize("by", ["offer", "minted", "post", "asking"])
@pytest.mark.parametrize("lock", ["effect", "background", "nothing"])
async def test_what_a_platform_changed_holds_where_the_session_is_opened_again(
    client: Client, stand: Signed, lock: str, by: str
) -> None:
    """Whoever leaves, and comes back with the first token, has not got round it."""
    mine = token({"session": NAMED, "effect": LOBBY, "lock": lock})
    _, answer = await post(client, mine)
    path, green = f"/v1/sessions/{NAMED}", {"type": "color", "color": "#00b140"}
    stand.now += 5
    response = await client.patch(path, json={"effect": green}, headers=bearer(KEY))
    assert response.status == 200
    for _ in range(2):  # and again after that
        await stand.registry.end(NAMED, "idle")
        if by in ("offer", "minted"):
            credential = mine if by == "offer" else answer["token"]
            response = await client.post(
                f"{path}/rtc", data=OFFER, headers={**SDP, **bearer(credential)}
            )
            assert response.status == 201
        else:
            status, again = await post(
                client, mine, **({"effect": LOBBY} if by == "asking" else {})
            )
            assert status == 201
            assert again["effect"] == effect_json(stand.registry.get(NAMED).effect)
        # What the lock does not keep from its holder is the holder's choice, as by PATCH.
        free = by == "asking" and lock == "nothing"
        assert stand.registry.get(NAMED).effect == (Image("attic") if free else Color("#00b140"))


async def test_a_platforms_later_token_says_what_its_session_begins_with(
    client: Client, stand: Signed
) -> None:
    asks = {"session": NAMED, "effect": LOBBY, "lock": "effect"}
    await post(client, token(asks))
    effect = {"type": "color", "color": "#00b140"}
    await client.patch(f"/v1/sessions/{NAMED}", json={"effect": effect}, headers=bearer(KEY))
    await stand.registry.end(NAMED, "idle")
    stand.now += 1
    status, answer = await post(client, signed(asks, now=stand.now))
    assert (status, answer["effect"]["type"]) == (201, "image")


async def test_what_its_holder_changed_ends_with_the_session(client: Client, stand: Signed) -> None:
    mine = token({"session": NAMED, "effect": LOBBY})
    await post(client, mine)
    change = {"effect": {"type": "color", "color": "#00b140"}}
    response = await client.patch(f"/v1/sessions/{NAMED}", json=change, headers=bearer(mine))
    assert response.status == 200
    # And so does what a platform changes of one track, which is a peer's.
    await client.patch(f"/v1/sessions/{NAMED}/tracks/0", json=change, headers=bearer(KEY))
    await stand.registry.end(NAMED, "idle")
    assert (await post(client, mine))[1]["effect"]["type"] == "image"


@pytest.mark.parametrize(
    ("lock", "effect", "status"),
    [
        ("nothing", {"type": "blur"}, 200),
        ("background", {**LOBBY, "edge": 0.1, "people": 2}, 200),
        ("background", {**LOBBY, "fit": "contain"}, 403),
        ("background", {"type": "blur"}, 403),
        ("background", {"type": "image", "background": "library-warm"}, 403),
        ("effect", {**LOBBY, "edge": 0.1}, 403),
        ("effect", LOBBY, 200),
    ],
)
@pytest.mark.parametrize("suffix", ["", "/tracks/0"])
async def test_a_locked_effect_is_changed_by_the_platform_alone(
    client: Client, lock: str, effect: dict[str, Any], status: int, suffix: str
) -> None:
    status_opened, answer = await post(client, token({"effect": LOBBY, "lock": lock}))
    assert status_opened == 201
    path = f"/v1/sessions/{answer['id']}{suffix}"
    for credential in (answer["token"], token({"effect": LOBBY, "lock": lock})):
        response = await client.patch(path, json={"effect": effect}, headers=bearer(credential))
        assert response.status == status
        if status == 403:
            assert await problem(response) == (403, "effect-not-allowed")
    response = await client.patch(path, json={"effect": {"type": "blur"}}, headers=bearer(KEY))
    assert response.status == 200


@pytest.mark.parametrize(
    ("asks", "by_token", "by_key"),
    [
        ({}, 200, 200),
        ({"effect": LOBBY, "lock": "background"}, 403, 200),
        ({"effect": LOBBY, "backgrounds": ["attic"]}, 403, 403),
        ({"effect": LOBBY, "backgrounds": ["attic", "session"]}, 200, 200),
    ],
)
async def test_a_picture_of_ones_own(
    client: Client, asks: dict[str, Any], by_token: int, by_key: int
) -> None:
    _, answer = await post(client, token(asks))
    path = f"/v1/sessions/{answer['id']}/background"
    for credential, status in ((answer["token"], by_token), (KEY, by_key)):
        headers = {**bearer(credential), "Content-Type": "image/webp"}
        response = await client.put(path, data=b"RIFF", headers=headers)
        assert response.status == status


TENANTS = Tenants(
    Rules(),
    {
        "acme": Rules(
            effect=Image("attic"),
            lock=Lock.BACKGROUND,
            backgrounds=frozenset({"attic"}),
            allowed_effects=frozenset({"image"}),
            logo="acme",
            limits={"max_width": 640, "ttl_s": 600},
        )
    },
    logos=("acme", "other"),
)


@pytest.mark.parametrize("by_key", [True, False])
@pytest.mark.parametrize(
    ("asks", "status"),
    [
        ({}, 201),
        ({"max_width": 640}, 201),
        ({"effect": {**LOBBY, "edge": 0.2}}, 201),
        ({"logo": "acme"}, 201),
        ({"max_width": 641}, 422),
        ({"effect": {"type": "blur"}}, 403),
        ({"effect": {**LOBBY, "background": "library-warm"}}, 403),
        ({"allowed_effects": ["image", "none"]}, 403),
        ({"backgrounds": ["attic", "session"]}, 403),
        ({"logo": "other"}, 403),
        ({"tenant": "acme2"}, 422),
    ],
)
async def test_a_tenants_rules_hold_platform_and_token(
    stand: Signed, asks: dict[str, Any], status: int, by_key: bool
) -> None:
    stand.tenants = TENANTS
    asks = {"tenant": "acme", **asks}
    async with stand.client() as client:
        answered, answer = await (
            post(client, KEY, **asks) if by_key else post(client, token(asks))
        )
        assert answered == status, answer
        if status != 201:
            return
        spec = stand.registry.get(answer["id"]).spec
        assert (spec.logo, spec.lock, spec.max_width) == ("acme", Lock.BACKGROUND, 640)
        assert spec.allowed_effects == {"image"}
        assert spec.ttl_s == 600
        # Not even the platform leaves its operator's rules, and none shows the room.
        for effect in ({"type": "blur"}, {"type": "none"}, {**LOBBY, "fit": "contain"}):
            response = await client.patch(
                f"/v1/sessions/{answer['id']}", json={"effect": effect}, headers=bearer(KEY)
            )
            assert response.status == 403


async def test_a_logo_leaves_no_picture_without_it(stand: Signed) -> None:
    stand.tenants = Tenants(logos=("acme",))
    async with stand.client() as client:
        status, answer = await post(client, KEY, logo="acme", allowed_effects=["blur", "none"])
        assert (status, answer["field"]) == (422, "allowed_effects")
        status, answer = await post(client, KEY, logo="unknown")
        assert (status, answer["field"]) == (422, "logo")


async def test_a_token_of_another_tenant(client: Client) -> None:
    assert (await post(client, token({"session": NAMED, "tenant": "acme"})))[0] == 201
    foreign = token({"session": NAMED, "tenant": "evil"})
    for method, path in (
        ("GET", f"/v1/sessions/{NAMED}"),
        ("PATCH", f"/v1/sessions/{NAMED}"),
        ("DELETE", f"/v1/sessions/{NAMED}"),
        ("POST", f"/v1/sessions/{NAMED}/rtc"),
        ("POST", "/v1/sessions"),
    ):
        response = await client.request(method, path, headers=bearer(foreign))
        assert await problem(response) == (403, "forbidden")


# ---------------------------------------------------------------- attacks
@pytest.mark.parametrize(
    "credential",
    [
        token(aud="another"),
        token(iss="https://evil.example.com"),
        signed(now=CREATED_AT - 600),
        token(nbf=int(CREATED_AT) + 60),
        token(number=5),
        token({"session": "short"}),
    ],
)
async def test_tokens_that_are_not_good(client: Client, stand: Signed, credential: str) -> None:
    for method, path in (
        ("POST", "/v1/sessions"),
        ("GET", f"/v1/sessions/{NAMED}"),
        ("GET", "/v1/server"),
    ):
        response = await client.request(method, path, headers=bearer(credential))
        assert await problem(response) == (401, "unauthorized")
        assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
    assert stand.registry.sessions() == []


async def test_a_token_in_a_url_is_no_credential(client: Client) -> None:
    for name in ("access_token", "token", "authorization"):
        for credential in (KEY, token()):
            response = await client.get(f"/v1/server?{name}={credential}")
            assert await problem(response) == (401, "unauthorized")


async def test_a_token_that_is_too_long(client: Client) -> None:
    response = await client.get("/v1/server", headers=bearer("x" * 8100))
    assert await problem(response) == (401, "unauthorized")
    # Longer than a header line may be: HTTP itself refuses it, before anything reads a token.
    response = await client.get("/v1/server", headers=bearer("x" * 100_000))
    assert response.status == 400


async def test_without_an_issuer_no_platforms_token_is_good(stand: Signed) -> None:
    stand.platform_signed = None
    async with stand.client() as client:
        response = await client.post("/v1/sessions", headers=bearer(token()))
        assert await problem(response) == (401, "unauthorized")


async def test_no_credential_is_ever_logged(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = token(number=5)
    for credential in (KEY, KEY + "x", wrong, token()):
        await client.get("/v1/server", headers=bearer(credential))
        await client.post("/v1/sessions", headers=bearer(credential))
    assert KEY not in caplog.text
    assert wrong[:20] not in caplog.text


# ---------------------------------------------------------------- failed logins
async def fail(client: Client, times: int) -> list[int]:
    return [
        (await client.get("/v1/server", headers=bearer(f"guess-number-{number:05}"))).status
        for number in range(times)
    ]


async def test_guesses_are_slowed_down(client: Client, stand: Signed) -> None:
    assert await fail(client, BURST + 5) == [401] * BURST + [429] * 5
    response = await client.get("/v1/server", headers=bearer("one-guess-more-here"))
    assert await problem(response) == (429, "failed-logins")
    assert response.headers["Retry-After"] == "3"
    # A guess that happens to be right is not told from the others.
    response = await client.get("/v1/server", headers=bearer(KEY))
    assert await problem(response) == (429, "failed-logins")
    stand.clock.s += 3
    assert (await client.get("/v1/server", headers=bearer(KEY))).status == 200


async def test_others_behind_the_same_address_do_not_lock_out_who_was_here(
    client: Client, stand: Signed
) -> None:
    assert (await client.get("/v1/server", headers=bearer(KEY))).status == 200
    minted = (await opened(client))["token"]
    assert (await fail(client, BURST + 1))[-1] == 429
    assert (await client.get("/v1/server", headers=bearer(KEY))).status == 200
    assert (await client.get("/v1/server", headers=bearer(OTHER_KEY))).status == 429
    # A signature can't be guessed: a good token is good from anywhere.
    for credential in (minted, token()):
        assert (await client.get("/v1/server", headers=bearer(credential))).status == 200
    assert (await client.get("/healthz")).status == 200


# ---------------------------------------------------------------- keys by JWKS
@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    async with KeyServer().running() as running:
        yield running


def by_jwks(server: KeyServer, clock: Clock) -> PlatformSigned:
    return platform_signed(
        Jwks(server.url, networks=(ipaddress.ip_network("127.0.0.0/8"),), now=clock)
    )


async def test_the_platforms_keys_are_rotated(server: KeyServer) -> None:
    clock = Clock()
    stand = Signed(platform_signed=by_jwks(server, clock))
    server.publish(jwk("ES256", "a"))
    async with stand.client() as client:
        old, new = token(kid="a"), token(kid="b", number=1)
        assert (await post(client, old))[0] == 201
        assert server.asked == 1
        # Names that nobody has cost one fetch in an interval, whoever invents them.
        for number in range(5):
            response = await client.get("/v1/server", headers=bearer(token(kid=f"x{number}")))
            assert await problem(response) == (401, "unauthorized")
        assert server.asked == 1
        server.publish(jwk("ES256", "a"), jwk("ES256", "b", 1))
        clock.s += MIN_INTERVAL_S
        assert (await post(client, new))[0] in (200, 201)
        assert (await post(client, old))[0] in (200, 201)
        assert server.asked == 2
        # Withdrawn: once it is fetched again, what it signed is good no more.
        server.publish(jwk("ES256", "b", 1))
        clock.s += MIN_INTERVAL_S
        await client.get("/v1/server", headers=bearer(token(kid="x")))
        response = await client.get("/v1/server", headers=bearer(old))
        assert await problem(response) == (401, "unauthorized")


async def test_keys_that_cannot_be_had_are_not_the_tokens_fault(server: KeyServer) -> None:
    server.status = 500
    stand = Signed(platform_signed=by_jwks(server, Clock()))
    async with stand.client() as client:
        response = await client.post("/v1/sessions", headers=bearer(token(kid="a")))
        assert await problem(response) == (503, "keys-unavailable")
        assert response.headers["Retry-After"] == "15"
        # Nobody else waits for that server.
        await opened(client)
        forged = Tokens([b"x" * 32]).mint("s", {}, now=CREATED_AT, expires_at=CREATED_AT + 60)
        response = await client.get("/v1/server", headers=bearer(forged))
        assert await problem(response) == (401, "unauthorized")
    assert server.asked == 1
