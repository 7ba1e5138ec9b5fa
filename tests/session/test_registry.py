"""Admission, look-up, the end and the drain of all sessions."""

from __future__ import annotations

import asyncio

import pytest

from service.errors import Refused, UnknownSession
from service.policy.effects import Color
from service.session.events import Event
from service.session.session import State
from service.session.spec import SessionSpec
from tests.peers import Camera, Client
from tests.rtc.pictures import moving_picture
from tests.session.stand import registry

pytestmark = pytest.mark.model

SPEC = SessionSpec(effect=Color("#00b140"))


async def test_a_burst_over_admits_nobody() -> None:
    async with registry(places=3) as (sessions, counts):
        for _ in range(3):
            sessions.create(SPEC)
        for _ in range(97):
            with pytest.raises(Refused) as refused:
                sessions.create(SPEC)
            assert refused.value.reason == "session_cap"
            assert refused.value.retry_after_s >= 1
        assert len(sessions.sessions()) == 3
        assert counts.decisions == {("admitted", ""): 3, ("rejected", "session_cap"): 97}
        assert sessions.states() == {"created": 3, "connecting": 0, "live": 0}


async def test_a_place_is_free_again_after_the_end() -> None:
    async with registry(places=1) as (sessions, _):
        for _ in range(3):
            session = sessions.create(SPEC)
            assert sessions.get(session.id) is session
            await sessions.end(session.id)
            with pytest.raises(UnknownSession):
                sessions.get(session.id)


async def test_a_named_session_is_opened_under_its_name() -> None:
    async with registry() as (sessions, _):
        assert sessions.create(SPEC, session_id="named").id == "named"


@pytest.mark.peer
async def test_draining_ends_everything_and_refuses() -> None:
    async with registry() as (sessions, counts):
        session = sessions.create(SPEC)
        client = Client(Camera(moving_picture))
        await client.accept((await session.offer(await client.offer())).sdp)
        await client.frames(2)
        sessions.create(SPEC)
        await sessions.drain()
        assert sessions.sessions() == []
        assert sessions.draining
        assert counts.ended == {"drained": 2}
        with pytest.raises(Refused, match="draining"):
            sessions.create(SPEC)
        await client.close()


@pytest.mark.peer
async def test_a_server_that_stops_waits_for_its_clients_to_move() -> None:
    async with registry() as (sessions, counts):
        session, unattended = sessions.create(SPEC), sessions.create(SPEC)
        client = Client(Camera(moving_picture))
        await client.accept((await session.offer(await client.offer())).sdp)
        await client.frames(2)
        listener = session.events.listen()
        moving = asyncio.create_task(sessions.let_move(30.0, asyncio.Event()))
        told = await listener.next()
        assert isinstance(told, Event)
        move = {"type": "session.move", "to": None, "within_s": 30.0}
        assert told.as_json().items() >= move.items()
        with pytest.raises(Refused, match="draining"):
            sessions.create(SPEC)
        # The call goes on; a session that nobody is at does not wait.
        await client.frames(5)
        assert sessions.sessions() == [session]
        assert unattended.state is State.ENDED
        assert not moving.done()
        session.end("moved")
        async with asyncio.timeout(10):
            await moving
        assert counts.ended == {"moved": 1, "drained": 1}
        await client.close()


@pytest.mark.peer
@pytest.mark.parametrize("hurried", [False, True])
async def test_it_does_not_wait_for_ever(hurried: bool) -> None:
    async with registry() as (sessions, counts):
        session = sessions.create(SPEC)
        client = Client(Camera(moving_picture))
        await client.accept((await session.offer(await client.offer())).sdp)
        hurry = asyncio.Event()
        if hurried:
            asyncio.get_running_loop().call_later(0.05, hurry.set)
        async with asyncio.timeout(10):
            await sessions.let_move(3600.0 if hurried else 0.05, hurry)
        assert sessions.sessions() == [session]
        await sessions.drain()
        assert counts.ended == {"drained": 1}
        await client.close()


async def test_ending_twice_at_once_is_one_end() -> None:
    async with registry() as (sessions, counts):
        session = sessions.create(SPEC)
        await asyncio.gather(sessions.end(session.id), sessions.end(session.id))
        assert counts.ended == {"deleted": 1}
