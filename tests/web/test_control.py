"""Messages of the data channel: the schema, policy, locks and problems of REST."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

from service.rtc.channel import Dropped
from service.session.events import Kind
from service.web.control import LEAST_PERIOD_MS
from tests.web.conftest import KEY, OFFER, SDP, Client, Stand, bearer, opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from service.rtc.channel import Channel


class FakeChannel:
    """A client at the other end of a channel."""

    def __init__(self) -> None:
        self.open = True
        self._in: asyncio.Queue[str | Dropped | None] = asyncio.Queue()
        self._out: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def receive(self) -> str | Dropped | None:
        return await self._in.get()

    def send(self, text: str) -> bool:
        self._out.put_nowait(json.loads(text))
        return True

    # The client's side.

    def tell(self, message: str | Dropped) -> None:
        self._in.put_nowait(message)

    def leave(self) -> None:
        self.open = False
        self._in.put_nowait(None)

    async def hear(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            return await self._out.get()

    async def ask(self, **fields: Any) -> dict[str, Any]:
        """The answer to a request, whose id it must have."""
        self.tell(json.dumps({"id": "q", **fields}))
        heard = await self.hear()
        assert heard.pop("re") == "q"
        return heard


@asynccontextmanager
async def talking(
    client: Client, stand: Stand, credential: str, session_id: str = "session-1"
) -> AsyncIterator[FakeChannel]:
    """The channel of a peer that was offered with this bearer."""
    response = await client.post(
        f"/v1/sessions/{session_id}/rtc", data=OFFER, headers={**SDP, **bearer(credential)}
    )
    assert response.status == 201
    control = stand.registry.get(session_id).control
    assert control is not None
    channel = FakeChannel()
    talk = asyncio.ensure_future(control(cast("Channel", channel)))
    try:
        yield channel
        channel.leave()
        async with asyncio.timeout(10):
            await talk
    finally:
        talk.cancel()


COLOR = {"type": "color", "color": "#274c77"}


async def test_an_effect_is_set_as_by_patch(client: Client, stand: Stand) -> None:
    token = (await opened(client, allowed_effects=["blur", "color"]))["token"]
    async with talking(client, stand, token) as channel:
        answer = await channel.ask(type="effect.set", effect=COLOR)
        assert answer["type"] == "answer"
        described = await (await client.get("/v1/sessions/session-1", headers=bearer(token))).json()
        assert answer["session"] == described
        assert described["effect"]["color"] == "#274c77"
        etag = described["etag"]
        answer = await channel.ask(type="effect.set", effect=COLOR, mid="0", if_match=etag)
        assert answer["type"] == "answer"
        assert await channel.ask(type="session.get") == {
            "type": "answer",
            "session": answer["session"],
        }


@pytest.mark.parametrize(
    "body",
    [
        {"effect": {"type": "blur", "strength": 7}},
        {"effect": {"type": "image", "background": "nowhere"}},
        {"effect": {"type": "image", "background": "session"}},
        {"effect": {"type": "none"}},
        {"effect": {"type": "blur", "model": "rvm"}},
        {"effect": COLOR},  # the lock
        {},
    ],
    ids=str,
)
async def test_problems_are_those_of_patch(
    client: Client, stand: Stand, body: dict[str, object]
) -> None:
    token = (await opened(client, lock="effect"))["token"]
    response = await client.patch("/v1/sessions/session-1", json=body, headers=bearer(token))
    over_http = await response.json()
    assert response.status >= 400
    async with talking(client, stand, token) as channel:
        answer = await channel.ask(type="effect.set", **body)
        assert answer == {"type": "problem", "problem": over_http}


async def test_a_platforms_own_peer_is_not_held_by_the_lock(client: Client, stand: Stand) -> None:
    await opened(client, lock="effect")
    async with talking(client, stand, KEY) as channel:
        assert (await channel.ask(type="effect.set", effect=COLOR))["type"] == "answer"


@pytest.mark.parametrize(
    ("message", "status", "field"),
    [
        ("{", 400, None),
        ("[]", 400, None),
        ('{"type": "ping"}', 422, "id"),
        ('{"id": true, "type": "ping"}', 422, "id"),
        ('{"id": "' + "x" * 65 + '", "type": "ping"}', 422, "id"),
        ('{"id": 1}', 422, "type"),
        ('{"id": 1, "type": "dance"}', 422, "type"),
        ('{"id": 1, "type": "ping", "colour": "red"}', 422, "colour"),
        ('{"id": 1, "type": "figures.watch", "every_ms": 100}', 422, "every_ms"),
        ('{"id": 1, "type": "figures.watch", "every_ms": true}', 422, "every_ms"),
        ('{"id": 1, "type": "events.watch", "after": -1}', 422, "after"),
        ('{"id": 1, "type": "effect.set", "effect": {}, "if_match": "no tag"}', 422, "if_match"),
        ('{"id": 1, "type": "effect.set", "effect": {}, "mid": 1}', 422, "mid"),
        (
            '{"id": 1, "type": "effect.set", "effect": {"type": "blur"}, "if_match": "\\"old\\""}',
            412,
            None,
        ),
        ('{"id": 1, "type": "effect.set", "effect": {"type": "blur"}, "mid": "9"}', 404, None),
    ],
)
async def test_bad_messages_are_answered(
    client: Client, stand: Stand, message: str, status: int, field: str | None
) -> None:
    await opened(client)
    async with talking(client, stand, KEY) as channel:
        channel.tell(message)
        heard = await channel.hear()
        assert heard["type"] == "problem"
        problem = heard["problem"]
        assert (problem["status"], problem.get("field")) == (status, field)
        assert (await channel.ask(type="ping")) == {"type": "answer"}


async def test_dropped_messages_are_told_of(client: Client, stand: Stand) -> None:
    await opened(client)
    async with talking(client, stand, KEY) as channel:
        channel.tell(Dropped())
        heard = await channel.hear()
        assert "re" not in heard
        assert heard["problem"]["type"] == "/problems/too-many-messages"


async def test_events_come_to_who_asks(client: Client, stand: Stand) -> None:
    await opened(client)
    events = stand.registry.get("session-1").events
    events.publish(Kind.LIVE)
    known = events.last_id
    events.publish(Kind.PERSON_AWAY, mid="0")
    async with talking(client, stand, KEY) as channel:
        assert await channel.ask(type="events.watch", after=known) == {"type": "answer"}
        heard = await channel.hear()
        assert (heard["type"], heard["event"]["type"]) == ("event", "person.away")
        events.publish(Kind.PERSON_BACK, mid="0")
        assert (await channel.hear())["event"]["mid"] == "0"
        events.publish(Kind.WAITING, cause="hung_up")
        waiting = (await channel.hear())["event"]
        assert (waiting["type"], waiting["cause"]) == ("session.waiting", "hung_up")
    await events.listened_to_by(0)


async def test_figures_come_to_who_asks_until_they_do_not(client: Client, stand: Stand) -> None:
    await opened(client)
    async with talking(client, stand, KEY) as channel:
        await channel.ask(type="figures.watch", every_ms=LEAST_PERIOD_MS)
        for _ in range(2):
            heard = await channel.hear()
            assert heard["type"] == "figures"
            assert heard["session"]["id"] == "session-1"
            assert 0 <= heard["server"]["capacity_ratio"] <= 1
        assert (await channel.ask(type="figures.watch", every_ms=0)) == {"type": "answer"}


async def test_a_token_opens_the_session_elsewhere_as_it_is_now(
    client: Client, stand: Stand
) -> None:
    first = await opened(client, allowed_effects=["blur", "color"], ttl_s=600)
    async with talking(client, stand, first["token"]) as channel:
        await channel.ask(type="effect.set", effect=COLOR)
        answer = await channel.ask(type="token.get")
    assert answer["expires_at"] == first["expires_at"]
    stand.registry.forget("session-1")
    async with talking(client, stand, answer["token"]) as channel:
        session = (await channel.ask(type="session.get"))["session"]
        assert session["effect"]["color"] == "#274c77"


async def test_leaving_is_no_deletion(client: Client, stand: Stand) -> None:
    token = (await opened(client))["token"]
    async with talking(client, stand, token) as channel:
        assert await channel.ask(type="session.leave") == {"type": "answer"}
        await asyncio.sleep(0)
        assert stand.registry.get("session-1").cause == "moved"
    stand.registry.forget("session-1")
    async with talking(client, stand, token):
        pass
