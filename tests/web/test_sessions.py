"""Sessions over HTTP: the status table, and that a request that fails changes nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import ClientSession, web

from service.policy.effects import ALLOWED_BY_DEFAULT, Blur, Color, Image
from service.session.spec import AwaySpec, SessionSpec
from tests.web.conftest import KEY, OTHER_KEY, Client, Stand, bearer, opened, problem
from tests.web.fakes import CREATED_AT

PLATFORM = bearer(KEY)
PNG = {"Content-Type": "image/png", **PLATFORM}


async def test_a_session_with_nothing_said_is_blurred(client: Client, stand: Stand) -> None:
    response = await client.post("/v1/sessions", headers=PLATFORM)
    assert response.status == 201
    body = await response.json()
    assert body.pop("token").count(".") == 2
    assert body.pop("viewer_token").count(".") == 2
    assert body == {
        "id": "session-1",
        "rtc_url": "/v1/sessions/session-1/rtc",
        "whep_url": "/v1/whep/session-1",
        "expires_at": CREATED_AT + 3600,
        "ice_servers": [],
        "effect": {
            "type": "blur",
            "strength": 0.6,
            "falloff": 0.0,
            "model": "hybrid",
            "edge": 0.5,
            "people": "everyone",
            "light_wrap": 0.0,
            "framing": 0.0,
            "light": 0.0,
        },
    }
    assert response.headers["Location"] == "/v1/sessions/session-1"
    assert response.headers["Cache-Control"] == "no-store"
    assert stand.registry.get("session-1").spec == SessionSpec(
        effect=Blur(), allowed_effects=ALLOWED_BY_DEFAULT
    )


async def test_a_session_with_everything_said(client: Client, stand: Stand) -> None:
    await opened(
        client,
        effect={"type": "image", "background": "attic", "fit": "contain"},
        allowed_effects=["image", "none"],
        audio=False,
        max_width=640,
        max_height=360,
        max_fps=15,
        ttl_s=600,
        metadata={"meeting": "42"},
    )
    spec = stand.registry.get("session-1").spec
    assert isinstance(spec.effect, Image)
    assert spec.allowed_effects == {"image", "none"}
    assert (spec.audio, spec.max_width, spec.max_height, spec.max_fps) == (False, 640, 360, 15)
    assert (spec.ttl_s, spec.metadata) == (600, {"meeting": "42"})


async def test_the_token_says_what_is_needed_to_open_the_session_again(
    client: Client, stand: Stand
) -> None:
    answer = await opened(client, ttl_s=60, metadata={"meeting": "42"})
    grant = stand.tokens.verify(answer["token"], now=CREATED_AT)
    assert (grant.session_id, grant.expires_at) == ("session-1", CREATED_AT + 60)
    assert grant.spec["metadata"] == {"meeting": "42"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"effect": {"type": "blur", "strength": 2}}, "effect.strength"),
        ({"effect": "blur"}, "effect"),
        ({"effect": {"type": "image", "background": "cellar"}}, "effect.background"),
        ({"effect": {"type": "image", "background": "session"}}, "effect.background"),
        ({"allowed_effects": ["image"]}, "effect"),
        ({"allowed_effects": []}, "allowed_effects"),
        ({"allowed_effects": "blur"}, "allowed_effects"),
        ({"allowed_effects": ["sepia"]}, "allowed_effects"),
        ({"allowed_effects": [["blur"]]}, "allowed_effects"),
        ({"audio": 1}, "audio"),
        ({"max_width": 63}, "max_width"),
        ({"max_width": 1921}, "max_width"),
        ({"max_height": "720"}, "max_height"),
        ({"max_fps": True}, "max_fps"),
        ({"max_fps": 29.97}, "max_fps"),
        ({"ttl_s": 9}, "ttl_s"),
        ({"ttl_s": 86_401}, "ttl_s"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {"": "a"}}, "metadata"),
        ({"metadata": {"a": "x" * 257}}, "metadata"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"metadata": {str(n): "x" * 256 for n in range(8)}}, "metadata"),
        ({"metadata": {str(n): "\u2603" * 57 for n in range(6)}}, "metadata"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_bad_field_is_named_and_opens_nothing(
    client: Client, stand: Stand, body: dict[str, Any], field: str
) -> None:
    response = await client.post("/v1/sessions", json=body, headers=PLATFORM)
    assert await problem(response) == (422, "invalid-field")
    assert (await response.json())["field"] == field
    assert stand.registry.sessions() == []


async def test_none_must_be_allowed_by_name(client: Client) -> None:
    body: dict[str, Any] = {"effect": {"type": "none"}}
    response = await client.post("/v1/sessions", json=body, headers=PLATFORM)
    assert await problem(response) == (403, "effect-not-allowed")
    body["allowed_effects"] = ["none", "blur"]
    response = await client.post("/v1/sessions", json=body, headers=PLATFORM)
    assert response.status == 201


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b"{", {"Content-Type": "application/json"}, (400, "malformed-json")),
        (b"[]", {"Content-Type": "application/json"}, (400, "malformed-json")),
        (b'{"ttl_s": NaN}', {"Content-Type": "application/json"}, (400, "malformed-json")),
        (b"\xff", {"Content-Type": "application/json"}, (400, "malformed-json")),
        (b"[" * 60_000, {"Content-Type": "application/json"}, (400, "malformed-json")),
        (b"{}", {"Content-Type": "text/plain"}, (415, "unsupported-media-type")),
        (
            b"{}",
            {"Content-Type": "application/json", "Content-Encoding": "gzip"},
            (415, "unsupported-media-type"),
        ),
        (b" " * 65_537, {"Content-Type": "application/json"}, (413, "body-too-large")),
    ],
)
async def test_bodies_that_are_not_taken(
    client: Client, body: bytes, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    response = await client.post("/v1/sessions", data=body, headers={**headers, **PLATFORM})
    assert await problem(response) == expected


async def test_a_body_that_grows_past_the_limit_is_cut_off(client: Client) -> None:
    async def endless() -> Any:
        for _ in range(10_000):
            yield b" " * 1024

    response = await client.post(
        "/v1/sessions", data=endless(), headers={"Content-Type": "application/json", **PLATFORM}
    )
    assert await problem(response) == (413, "body-too-large")


async def test_a_body_that_dawdles_is_given_up(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.web.bodies.TEXT_TIMEOUT_S", 0.01)
    forever = asyncio.Event()

    async def stuck() -> Any:
        yield b"{"
        await forever.wait()

    response = await client.post(
        "/v1/sessions", data=stuck(), headers={"Content-Type": "application/json", **PLATFORM}
    )
    assert await problem(response) == (408, "body-timeout")
    forever.set()


async def test_a_body_that_breaks_off_is_the_callers_fault(client: Client) -> None:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    head = (
        "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    writer.write(head.encode() + b"not a chunk\r\n")
    await writer.drain()
    assert (await reader.readline()).split()[1] == b"400"
    writer.close()
    await writer.wait_closed()


async def test_no_room(client: Client, stand: Stand) -> None:
    stand.registry.room = 0
    response = await client.post("/v1/sessions", headers=PLATFORM)
    assert await problem(response) == (503, "no-capacity")
    assert response.headers["Retry-After"] == "7"
    assert (await response.json())["reason"] == "cpu_budget"


async def test_idempotency_key(client: Client, stand: Stand) -> None:
    async def post(key: str, body: dict[str, Any], credential: str = KEY) -> Any:
        return await client.post(
            "/v1/sessions", json=body, headers={"Idempotency-Key": key, **bearer(credential)}
        )

    first = await (await post("a", {"ttl_s": 60})).json()
    again = await post("a", {"ttl_s": 60})
    assert (again.status, await again.json()) == (201, first)
    assert await problem(await post("a", {"ttl_s": 61})) == (422, "idempotency-key-reused")
    assert len(stand.registry.sessions()) == 1
    # Another key, and the same key of another platform, are other requests.
    assert (await (await post("b", {"ttl_s": 60})).json())["id"] == "session-2"
    assert (await (await post("a", {"ttl_s": 60}, OTHER_KEY)).json())["id"] == "session-3"
    assert await problem(await post("", {})) == (422, "invalid-field")
    assert await problem(await post("k" * 256, {})) == (422, "invalid-field")
    # Not for ever.
    stand.now += 601
    assert (await (await post("a", {"ttl_s": 60})).json())["id"] == "session-4"


async def test_a_refusal_is_not_kept_for_the_key(client: Client, stand: Stand) -> None:
    headers = {"Idempotency-Key": "a", **PLATFORM}
    stand.registry.room = 0
    assert (await client.post("/v1/sessions", headers=headers)).status == 503
    stand.registry.room = 1
    assert (await client.post("/v1/sessions", headers=headers)).status == 201


async def test_list_and_get(client: Client, stand: Stand) -> None:
    stand.ice_servers = [{"urls": ["stun:stun.example.com"]}]
    async with stand.client() as other:
        answer = await opened(other)
        await opened(other)
        listed = await (await other.get("/v1/sessions", headers=PLATFORM)).json()
        assert [each["id"] for each in listed["sessions"]] == ["session-1", "session-2"]
        for credential in (KEY, answer["token"]):
            response = await other.get("/v1/sessions/session-1", headers=bearer(credential))
            body = await response.json()
            assert (body["id"], body["state"]) == ("session-1", "created")
            assert body["ice_servers"] == [{"urls": ["stun:stun.example.com"]}]


async def test_an_away_background_must_be_in_the_library(client: Client, stand: Stand) -> None:
    await opened(client, away={"after_s": 60, "background": "attic"})
    assert stand.registry.get("session-1").spec.away == AwaySpec(60, "attic")
    body = {"away": {"background": "cellar"}}
    response = await client.post("/v1/sessions", json=body, headers=PLATFORM)
    assert await problem(response) == (422, "invalid-field")
    assert (await response.json())["field"] == "away.background"


async def test_a_request_that_comes_again_while_its_model_loads_opens_one_session(
    client: Client, stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = asyncio.Barrier(2)

    async def require(_: str) -> None:
        await both.wait()

    monkeypatch.setattr(stand.models, "require", require)
    headers = {**PLATFORM, "Idempotency-Key": "one"}
    answers = await asyncio.gather(
        *(client.post("/v1/sessions", headers=headers) for _ in range(2))
    )
    assert [answer.status for answer in answers] == [201, 201]
    one, other = [(await answer.json())["id"] for answer in answers]
    assert one == other
    assert len(stand.registry.sessions()) == 1


async def test_patch_changes_the_effect(client: Client, stand: Stand) -> None:
    answer = await opened(client)
    session = stand.registry.get("session-1")
    for credential, color in ((KEY, "#000001"), (answer["token"], "#000002")):
        response = await client.patch(
            "/v1/sessions/session-1",
            json={"effect": {"type": "color", "color": color}},
            headers=bearer(credential),
        )
        assert response.status == 200
        assert (await response.json())["effect"]["color"] == color
        assert session.effect == Color(color)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (422, "invalid-field")),
        ({"effect": None}, (422, "invalid-field")),
        ({"effect": {"type": "blur"}, "audio": True}, (422, "invalid-field")),
        ({"effect": {"type": "blur", "edge": -1}}, (422, "invalid-field")),
        ({"effect": {"type": "none"}}, (403, "effect-not-allowed")),
        ({"effect": {"type": "image", "background": "cellar"}}, (422, "invalid-field")),
        ({"effect": {"type": "image", "background": "session"}}, (422, "invalid-field")),
    ],
)
async def test_a_bad_patch_changes_nothing(
    client: Client, stand: Stand, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    await opened(client)
    for path in ("/v1/sessions/session-1", "/v1/sessions/session-1/tracks/0"):
        response = await client.patch(path, json=body, headers=PLATFORM)
        assert await problem(response) == expected
    session = stand.registry.get("session-1")
    assert session.effect == Blur()
    assert session.track_effects == {}


async def test_patch_of_one_track(client: Client, stand: Stand) -> None:
    await opened(client)
    body = {"effect": {"type": "blur", "strength": 1}}
    response = await client.patch("/v1/sessions/session-1/tracks/0", json=body, headers=PLATFORM)
    assert response.status == 200
    assert stand.registry.get("session-1").track_effects == {"0": Blur(1.0)}
    response = await client.patch("/v1/sessions/session-1/tracks/7", json=body, headers=PLATFORM)
    assert await problem(response) == (404, "unknown-track")


async def test_delete(client: Client, stand: Stand) -> None:
    answer = await opened(client)
    await opened(client)
    for session, credential in (("session-1", answer["token"]), ("session-2", KEY)):
        response = await client.delete(f"/v1/sessions/{session}", headers=bearer(credential))
        assert (response.status, await response.read()) == (204, b"")
    assert stand.registry.ended == [("session-1", "deleted"), ("session-2", "deleted")]
    response = await client.delete("/v1/sessions/session-2", headers=PLATFORM)
    assert await problem(response) == (404, "unknown-session")


async def test_a_picture_for_one_session(client: Client, stand: Stand) -> None:
    await opened(client)
    path = "/v1/sessions/session-1/background"
    response = await client.put(path, data=b"RIFF picture", headers=PNG)
    assert (response.status, await response.json()) == (200, {"background": "session"})
    session = stand.registry.get("session-1")
    assert session.picture == b"RIFF picture"
    response = await client.patch(
        "/v1/sessions/session-1",
        data=json.dumps({"effect": {"type": "image", "background": "session"}}),
        headers={"Content-Type": "application/json", **PLATFORM},
    )
    assert response.status == 200
    assert session.effect == Image("session")


async def test_pictures_that_arrive_at_once_are_bounded(client: Client, stand: Stand) -> None:
    for _ in range(6):
        await opened(client)
    finish = asyncio.Event()

    def put(number: int, data: Any) -> Any:
        return client.put(f"/v1/sessions/session-{number}/background", data=data, headers=PNG)

    async def slow(sent: asyncio.Event) -> Any:
        yield b"RIFF"
        sent.set()
        await finish.wait()

    async def arriving(number: int) -> asyncio.Task[Any]:
        sent = asyncio.Event()
        task = asyncio.create_task(put(number, slow(sent)))
        await sent.wait()
        return task

    async def refused(number: int) -> None:
        # An answer comes though the body never ends: it is not waited for.
        response = await put(number, slow(asyncio.Event()))
        assert await problem(response) == (429, "too-many-uploads")
        assert response.headers["Retry-After"] == "1"
        assert stand.registry.get(f"session-{number}").picture is None

    uploads = [await arriving(1)]
    await refused(1)
    assert (await put(2, b"RIFF")).status == 200
    uploads += [await arriving(number) for number in (3, 4, 5)]
    await refused(6)
    finish.set()
    assert [(await upload).status for upload in uploads] == [200] * 4
    assert (await put(6, b"RIFF")).status == 200


async def test_a_film_that_there_is_no_memory_for(client: Client) -> None:
    await opened(client)
    response = await client.put(
        "/v1/sessions/session-1/background",
        data=b"no room for this film",
        headers=PNG | {"Content-Type": "video/mp4"},
    )
    assert (response.status, response.headers["Retry-After"]) == (503, "60")
    body = await response.json()
    assert (body["type"], body["reason"]) == ("/problems/no-capacity", "film_memory")


@pytest.mark.parametrize("path", ["", "/tracks/0"])
async def test_an_effect_whose_film_there_is_no_memory_for(
    client: Client, stand: Stand, path: str
) -> None:
    """A film of the library, which is decoded when it is first shown."""
    session_id = (await opened(client))["id"]
    stand.registry.get(session_id).film_memory_full = True
    response = await client.patch(
        f"/v1/sessions/{session_id}{path}",
        json={"effect": {"type": "image", "background": "attic"}},
        headers=bearer(KEY),
    )
    assert await problem(response) == (503, "no-capacity")
    assert (await response.json())["reason"] == "film_memory"
    assert response.headers["Retry-After"] == "60"


async def test_pictures_that_are_not_taken(client: Client) -> None:
    await opened(client)
    path = "/v1/sessions/session-1/background"
    response = await client.put(path, data=b"MZ", headers=PNG)
    assert await problem(response) == (422, "bad-picture")
    response = await client.put(path, data=b"R" * 4097, headers=PNG)
    assert await problem(response) == (413, "body-too-large")
    response = await client.put(
        path, data=b"GIF", headers={"Content-Type": "image/gif", **PLATFORM}
    )
    assert await problem(response) == (415, "unsupported-media-type")


async def test_whoever_went_away_while_a_model_was_loaded_gets_no_session(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a server of the fleet that asked this one, and asks another one when this one is slow."""
    asked, loaded, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def require(_: str) -> None:
        asked.set()
        await loaded.wait()
        asyncio.get_running_loop().call_soon(done.set)

    monkeypatch.setattr(stand.models, "require", require)
    # As the service runs it: aiohttp's TestServer would cancel the handler.
    runner = web.AppRunner(stand.app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/sessions"
    headers = {**PLATFORM, "Idempotency-Key": "once"}
    async with asyncio.timeout(20), ClientSession() as http:
        post = asyncio.ensure_future(http.post(url, headers=headers))
        await asked.wait()
        post.cancel()
        await asyncio.gather(post, return_exceptions=True)
        await asyncio.sleep(0.1)  # until the server has heard of it
        loaded.set()
        await done.wait()
        assert stand.registry.sessions() == []
        # It may come again, and is opened then.
        async with http.post(url, headers=headers) as answer:
            assert (answer.status, len(stand.registry.sessions())) == (201, 1)
    await runner.cleanup()
