"""Events as a stream: what is told, who may listen, how many, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from service.session.events import EVENTS_KEPT, Kind
from service.web import events as streams
from tests.web.conftest import KEY, ORIGIN, Client, Stand, bearer, opened, problem
from tests.web.fakes import CREATED_AT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import ClientResponse

    from tests.web.fakes import WatchedEvents

PLATFORM = bearer(KEY)
PATH = "/v1/sessions/session-1/events"
OPENING = "retry: 2000"


async def block(response: ClientResponse) -> str:
    """The next event or comment, without the blank line that ends it; "" at the end."""
    lines = []
    async with asyncio.timeout(10):
        while (line := (await response.content.readline()).decode()) not in ("\n", ""):
            lines.append(line.rstrip("\n"))
    return "\n".join(lines)


async def event(response: ClientResponse) -> dict[str, Any]:
    """The next event, whose three fields must say the same."""
    fields = dict(line.split(": ", 1) for line in (await block(response)).split("\n"))
    data: dict[str, Any] = json.loads(fields["data"])
    assert fields["event"] == data["type"]
    assert fields.get("id") == (str(data["id"]) if "id" in data else None)
    return data


@asynccontextmanager
async def listening(client: Client, **headers: str) -> AsyncIterator[ClientResponse]:
    async with client.get(PATH, headers={**PLATFORM, **headers}) as response:
        assert response.status == 200
        assert await block(response) == OPENING
        yield response


def events_of(stand: Stand) -> WatchedEvents:
    return stand.registry.get("session-1").events


async def test_what_happens_until_the_end(client: Client, stand: Stand) -> None:
    answer = await opened(client)
    async with client.get(PATH, headers=bearer(answer["token"])) as response:
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Accel-Buffering"] == "no"
        assert await block(response) == OPENING
        events_of(stand).publish(Kind.LIVE)
        events_of(stand).publish(Kind.PERSON_AWAY, mid="0")
        events_of(stand).publish(Kind.EFFECT_CHANGED, effect={"color": "two\nlines"})
        first, second, third = [await event(response) for _ in range(3)]
        assert (first["type"], second["type"], second["mid"]) == (
            "session.live",
            "person.away",
            "0",
        )
        assert third["effect"] == {"color": "two\nlines"}
        assert first["id"] < second["id"] < third["id"]
        await client.delete("/v1/sessions/session-1", headers=PLATFORM)
        last = await event(response)
        assert (last["type"], last["cause"]) == ("session.ended", "deleted")
        assert await block(response) == ""
        assert response.content.at_eof()


async def test_what_was_before_is_told_again_on_request(client: Client, stand: Stand) -> None:
    await opened(client)
    for mid in "012":
        events_of(stand).publish(Kind.PERSON_AWAY, mid=mid)
    async with listening(client, **{"Last-Event-ID": "0"}) as response:
        known = [await event(response) for _ in range(3)]
        assert [each["mid"] for each in known] == ["0", "1", "2"]
    async with listening(client, **{"Last-Event-ID": str(known[1]["id"])}) as response:
        assert await event(response) == known[2]
    async with listening(client) as response:
        events_of(stand).publish(Kind.LIVE)
        assert (await event(response))["type"] == "session.live"


async def test_events_that_are_not_kept_any_more_are_told_of(client: Client, stand: Stand) -> None:
    await opened(client)
    for _ in range(EVENTS_KEPT + 1):
        events_of(stand).publish(Kind.LIVE)
    async with listening(client, **{"Last-Event-ID": "1"}) as response:
        assert await event(response) == {"type": "events.missed"}
        assert (await event(response))["type"] == "session.live"


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 17, "\u0661"])
async def test_an_id_that_is_none(client: Client, last: str) -> None:
    await opened(client)
    for path in (PATH, "/v1/events"):
        response = await client.get(path, headers={**PLATFORM, "Last-Event-ID": last})
        assert await problem(response) == (422, "invalid-field")
        assert (await response.json())["field"] == "Last-Event-ID"


async def test_no_such_session(client: Client) -> None:
    assert await problem(await client.get(PATH, headers=PLATFORM)) == (404, "unknown-session")


async def test_a_head_is_answered_and_listens_to_nothing(client: Client, stand: Stand) -> None:
    await opened(client)
    response = await client.head(PATH, headers=PLATFORM)
    assert response.status == 200
    assert response.content_type == "text/event-stream"
    assert events_of(stand).listening == 0


async def test_a_silent_stream_has_a_heartbeat(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "LOOK_S", 0.01)
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.03)
    await opened(client)
    async with listening(client) as response:
        assert [await block(response) for _ in range(2)] == [":", ":"]


async def test_one_that_has_gone_gives_its_place_back(
    client: Client, stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "LOOK_S", 0.01)
    monkeypatch.setattr(streams, "MAX_STREAMS_PER_SESSION", 2)
    await opened(client)
    async with listening(client), listening(client):
        refused = await client.get(PATH, headers=PLATFORM)
        assert await problem(refused) == (429, "too-many-listeners")
        assert refused.headers["Retry-After"] == "5"
        await events_of(stand).listened_to_by(2)
    await events_of(stand).listened_to_by(0)
    async with listening(client):
        pass


async def test_the_server_has_a_bound_of_its_own(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MAX_STREAMS", 1)
    await opened(client)
    await opened(client)
    async with listening(client):
        response = await client.get("/v1/sessions/session-2/events", headers=PLATFORM)
        assert await problem(response) == (429, "too-many-listeners")


async def test_one_that_reads_nothing_is_cut_off(
    client: Client, stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "WRITE_TIMEOUT_S", 0.2)
    await opened(client)
    reader, writer = await asyncio.open_connection(client.host, client.port, limit=1024)
    writer.write(f"GET {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())
    await events_of(stand).listened_to_by(1)
    # More than the buffers of both ends hold.
    for _ in range(8):
        events_of(stand).publish(Kind.EFFECT_CHANGED, effect={"name": "x" * (1 << 20)})
    await events_of(stand).listened_to_by(0)
    writer.close()
    del reader


async def test_one_that_falls_behind_hears_why_it_ends(
    client: Client, stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    await opened(client)
    async with listening(client) as response:
        # All at once: the stream's task gets no turn in between.
        for _ in range(100):
            events_of(stand).publish(Kind.LIVE)
        told = []
        while response.content.at_eof() is False and (text := await block(response)):
            told.append(text)
        assert "events.missed" in told[-1]
        assert len(told) < 100
    async with listening(client, **{"Last-Event-ID": told[-2].split("\n")[0][4:]}) as response:
        assert (await event(response))["type"] == "session.live"


async def test_streams_end_when_the_server_stops(stand: Stand) -> None:
    async with stand.client() as client:
        await opened(client)
        response = await client.get(PATH, headers=PLATFORM)
        assert await block(response) == OPENING
        async with asyncio.timeout(5):
            await client.server.close()
            assert await block(response) == ""
        assert events_of(stand).listening == 0


async def test_a_browser_of_an_allowed_origin_may_send_the_id(client: Client) -> None:
    await opened(client)
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization,last-event-id",
    }
    response = await client.options(PATH, headers=asked)
    assert response.status == 200
    async with listening(client, Origin=ORIGIN) as stream:
        assert stream.headers["Access-Control-Allow-Origin"] == ORIGIN


# ---------------------------------------------------------------- all sessions
ALL = "/v1/events"


async def test_a_platform_hears_all_sessions_in_one_stream(client: Client, stand: Stand) -> None:
    await opened(client)
    await opened(client)
    one, two = (stand.registry.get(f"session-{number}").events for number in (1, 2))
    async with client.get(ALL, headers=PLATFORM) as response:
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert await block(response) == OPENING
        one.publish(Kind.LIVE)
        two.publish(Kind.PERSON_AWAY, mid="0")
        first, second = await event(response), await event(response)
        assert (first["type"], first["session_id"]) == ("session.live", "session-1")
        assert second == {
            "id": first["id"] + 1,
            "type": "person.away",
            "at": CREATED_AT,
            "mid": "0",
            "session_id": "session-2",
            "metadata": {"of": "session-2"},
        }
        await client.delete("/v1/sessions/session-1", headers=PLATFORM)
        ended = await event(response)
        assert (ended["type"], ended["session_id"]) == ("session.ended", "session-1")
        two.publish(Kind.LIVE)
        assert (await event(response))["session_id"] == "session-2"
    async with client.get(ALL, headers={**PLATFORM, "Last-Event-ID": str(first["id"])}) as again:
        assert await block(again) == OPENING
        assert await event(again) == second
        assert await event(again) == ended, "of a session that is gone"


async def test_its_ids_are_those_of_the_sessions_own_stream(client: Client, stand: Stand) -> None:
    await opened(client)
    async with client.get(ALL, headers=PLATFORM) as all_of_them, listening(client) as alone:
        assert await block(all_of_them) == OPENING
        events_of(stand).publish(Kind.LIVE)
        assert (await event(all_of_them))["id"] == (await event(alone))["id"]


async def test_listeners_to_all_have_a_bound_of_their_own(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MAX_STREAMS_OF_ALL", 1)
    await opened(client)
    async with client.get(ALL, headers=PLATFORM) as response:
        assert await block(response) == OPENING
        refused = await client.get(ALL, headers=PLATFORM)
        assert await problem(refused) == (429, "too-many-listeners")
        assert refused.headers["Retry-After"] == "5"
        async with listening(client):
            pass


async def test_what_the_feed_does_not_know_is_told(client: Client, stand: Stand) -> None:
    before_it = str(int(CREATED_AT * 1000) - 1)
    async with client.get(ALL, headers={**PLATFORM, "Last-Event-ID": before_it}) as response:
        assert await block(response) == OPENING
        assert await event(response) == {"type": "events.missed"}
    response = await client.get(ALL, headers={**PLATFORM, "Last-Event-ID": "x"})
    assert await problem(response) == (422, "invalid-field")


async def test_the_stream_of_all_ends_when_the_server_stops(stand: Stand) -> None:
    async with stand.client() as client:
        response = await client.get(ALL, headers=PLATFORM)
        assert await block(response) == OPENING
        async with asyncio.timeout(5):
            await client.server.close()
            assert await block(response) == ""
    assert not stand.registry.feed._listeners
