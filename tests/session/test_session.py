"""The life of a session: its states, its effects, its peers and its end."""

from __future__ import annotations

import asyncio
import io
from typing import cast

import numpy as np
import pytest
from PIL import Image as PilImage

from service.errors import (
    BadOffer,
    InvalidField,
    NotAllowed,
    PictureError,
    StaleETag,
    UnknownBackground,
    UnknownPeer,
)
from service.policy.effects import Blur, Color, Image, Nothing
from service.session.session import (
    TRANSITIONS,
    IllegalTransition,
    Session,
    SessionSpec,
    State,
)
from tests.peers import Camera, Client
from tests.rtc.pictures import moving_picture
from tests.session.stand import registry

pytestmark = pytest.mark.model

GREEN = Color("#00b140")
SPEC = SessionSpec(effect=GREEN)


def png(rgb: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    PilImage.new("RGB", (64, 36), rgb).save(out, "PNG")
    return out.getvalue()


def state_of(session: Session) -> State:
    """The state now: a type checker takes an attribute for unchanged between two looks."""
    return session.state


@pytest.mark.peer
async def test_from_created_to_ended() -> None:
    async with registry() as (sessions, counts):
        session = sessions.create(SPEC)
        assert state_of(session) is State.CREATED
        client = Client(Camera(moving_picture))
        answer = await session.offer(await client.offer())
        assert state_of(session) is State.CONNECTING
        await client.accept(answer.sdp)
        await client.frames(3)
        assert state_of(session) is State.LIVE
        told = session.describe()
        assert told["state"] == "live"
        assert told["peer"] == "live"
        (track,) = cast("list[dict[str, object]]", told["tracks"])
        assert track["effect"] == {"type": "color", "color": "#00b140", "model": "hybrid",
                                   "edge": 0.5}  # fmt: skip
        assert set(track) >= {"mid", "width", "fps_out", "latency_ms", "stage_ms", "cpu_seconds",
                              "quality_level", "frames"}  # fmt: skip
        await sessions.end(session.id)
        assert state_of(session) is State.ENDED
        assert counts.ended == {"deleted": 1}
        with pytest.raises(UnknownPeer):
            await session.offer("v=0")
        await client.close()


@pytest.mark.peer
async def test_a_reload_replaces_the_peer_and_a_bad_offer_does_not() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(SPEC)
        first, second = Client(Camera(moving_picture)), Client(Camera(moving_picture))
        one = await session.offer(await first.offer())
        await first.accept(one.sdp)
        await first.frames(2)
        with pytest.raises(BadOffer):
            await session.offer("nonsense")
        await first.frames(2)
        two = await session.offer(await second.offer())
        assert (two.peer_id, two.etag) != (one.peer_id, one.etag)
        await second.accept(two.sdp)
        await second.frames(2)
        assert state_of(session) is State.LIVE
        with pytest.raises(UnknownPeer):
            await session.hang_up(one.peer_id)
        with pytest.raises(StaleETag):
            await session.trickle(two.peer_id, "", '"old"')
        await session.trickle(two.peer_id, "a=end-of-candidates\r\n", two.etag)
        await session.hang_up(two.peer_id)
        assert state_of(session) is State.CREATED
        assert session.describe()["tracks"] == []
        await first.close()
        await second.close()


@pytest.mark.peer
async def test_effects_change_live_for_all_tracks_or_one() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(SPEC)
        client = Client(Camera(moving_picture), Camera(moving_picture))
        answer = await session.offer(await client.offer())
        await client.accept(answer.sdp)
        await client.frames(4)
        await session.set_effect(Image("red"))
        await client.wait_for(lambda: is_red(client))
        assert session.effect == Image("red")
        await session.set_effect(Blur(0.2), mid="1")
        effects = [track_effect(session, number) for number in (0, 1)]
        assert effects == ["image", "blur"]
        with pytest.raises(InvalidField, match="mid"):
            await session.set_effect(GREEN, mid="7")
        await client.close()


def track_effect(session: Session, number: int) -> str:
    tracks = cast("list[dict[str, dict[str, str]]]", session.describe()["tracks"])
    return tracks[number]["effect"]["type"]


def is_red(client: Client) -> bool:
    pixel = client.video.frames[-1].to_ndarray(format="rgb24")[5, 5].astype(int)
    return bool(np.abs(pixel - [200, 0, 0]).max() < 24)


async def test_an_effect_that_cannot_be_had_changes_nothing() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(SPEC)
        with pytest.raises(NotAllowed):
            await session.set_effect(Nothing())
        with pytest.raises(UnknownBackground):
            await session.set_effect(Image("missing"))
        with pytest.raises(UnknownBackground):
            await session.set_effect(Image("session"))
        assert session.effect == GREEN


async def test_a_picture_of_its_own() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(SPEC)
        await session.set_picture(png((200, 0, 0)))
        await session.set_effect(Image("session"))
        with pytest.raises(PictureError):
            await session.set_picture(b"no picture")
        await session.set_picture(png((0, 0, 200)))
        assert session.effect == Image("session")


async def test_one_that_never_connects_ends_by_itself() -> None:
    async with registry(idle_ttl_s=0.05) as (sessions, counts):
        sessions.create(SPEC)
        async with asyncio.timeout(5):
            await asyncio.gather(*sessions._tasks.values())
        assert counts.ended == {"never_connected": 1}


@pytest.mark.peer
async def test_one_whose_peer_left_ends_after_a_while() -> None:
    async with registry(idle_ttl_s=0.2) as (sessions, counts):
        session = sessions.create(SPEC)
        client = Client(Camera(moving_picture))
        await client.accept((await session.offer(await client.offer())).sdp)
        await client.frames(3)
        await client.close()
        async with asyncio.timeout(10):
            await asyncio.gather(*sessions._tasks.values())
        assert counts.ended == {"idle": 1}


@pytest.mark.peer
async def test_its_time_is_bounded_while_it_is_live() -> None:
    async with registry() as (sessions, counts):
        session = sessions.create(SessionSpec(effect=GREEN, ttl_s=1))
        client = Client(Camera(moving_picture))
        await client.accept((await session.offer(await client.offer())).sdp)
        async with asyncio.timeout(10):
            await asyncio.gather(*sessions._tasks.values())
        assert counts.ended == {"expired": 1}
        await client.close()


async def test_illegal_transitions_change_nothing() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(SPEC)
        assert State.LIVE not in TRANSITIONS[State.CREATED]
        with pytest.raises(IllegalTransition):
            session._become(State.LIVE)
        assert state_of(session) is State.CREATED
