"""What nobody who uses a session changes: locked effects, its pictures, its logo, its end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from service.errors import InvalidField, NotAllowed
from service.frame.logo import Logo
from service.policy.effects import ALL, Blur, Color, Image
from service.policy.policy_file import Corner, LogoSpec
from service.policy.rules import Lock
from service.session.spec import SessionSpec
from tests.peers import Camera, Client
from tests.rtc.pictures import moving_picture
from tests.session.stand import registry

pytestmark = pytest.mark.model

GREEN = Color("#00b140")
WHITE = Logo(
    np.full((64, 64, 4), 255, np.uint8),
    LogoSpec(Path("unread.png"), Corner.TOP_LEFT, width=0.2, margin=0.0),
)


async def test_a_lock_holds_whoever_is_bound_by_it() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(SessionSpec(effect=GREEN, lock=Lock.BACKGROUND))
        await session.scene.set_effect(Color("#00b140", edge=0.1), bound=True)
        for effect in (Blur(), Color("#00b141")):
            with pytest.raises(NotAllowed, match="background is locked"):
                await session.scene.set_effect(effect, bound=True)
        await session.scene.set_effect(Blur())
        # What is held now is what the platform set last.
        with pytest.raises(NotAllowed):
            await session.scene.set_effect(GREEN, bound=True)
        await session.scene.set_effect(Blur(edge=0.9), bound=True)
        assert session.effect == Blur(edge=0.9)


async def test_a_change_by_the_platform_is_not_undone_by_one_that_waited() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(SessionSpec(effect=GREEN, lock=Lock.BACKGROUND))
        results = await asyncio.gather(
            session.scene.set_effect(Image("red")),
            session.scene.set_effect(Color("#00b140", edge=0.1), bound=True),
            return_exceptions=True,
        )
        assert results[0] is None
        assert isinstance(results[1], NotAllowed)
        assert session.effect == Image("red")


@pytest.mark.peer
async def test_the_lock_of_each_track() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(SessionSpec(effect=GREEN, lock=Lock.BACKGROUND))
        client = Client(Camera(moving_picture))
        await client.accept((await session.offer(await client.offer())).sdp)
        (mid,) = session.tracks
        await session.scene.set_effect(Image("red"), mid=mid)
        with pytest.raises(NotAllowed):
            await session.scene.set_effect(GREEN, mid=mid, bound=True)
        # Nor by way of all tracks at once, whose own background it would be.
        with pytest.raises(NotAllowed):
            await session.scene.set_effect(GREEN, bound=True)
        await session.scene.set_effect(Image("red", edge=0.1), mid=mid, bound=True)
        await client.close()


async def test_only_its_own_backgrounds() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(
            SessionSpec(effect=GREEN, backgrounds=frozenset({"red"}), allowed_effects=ALL)
        )
        await session.scene.set_effect(Image("red"))
        for name in ("blue", "session"):
            with pytest.raises(NotAllowed, match=f"'{name}' is not allowed; these are: red"):
                await session.scene.set_effect(Image(name))


async def test_a_logo_that_is_not_here_opens_nothing() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(SessionSpec(effect=GREEN, logo="acme"))
        with pytest.raises(InvalidField, match="logo must be one that this server has"):
            await session.offer("v=0")


@pytest.mark.peer
async def test_the_logo_is_in_what_comes_back() -> None:
    async with registry(logos={"acme": WHITE}) as (sessions, _):
        session = sessions.create(SessionSpec(effect=GREEN, logo="acme"))
        client = Client(Camera(moving_picture))
        await client.accept((await session.offer(await client.offer())).sdp)
        await client.frames(3)
        await session.scene.set_effect(Color("#b10040"))
        await client.frames(20)
        for frame in client.video.frames:
            corner = frame.to_ndarray(format="yuv420p")[4:24, 4:24]
            assert int(corner.mean()) > 220
        await client.close()


@pytest.mark.peer
async def test_a_live_session_ends_with_its_time() -> None:
    async with registry() as (sessions, counts):
        session = sessions.create(SessionSpec(effect=GREEN, ttl_s=2))
        client = Client(Camera(moving_picture))
        await client.accept((await session.offer(await client.offer())).sdp)
        await client.frames(3)
        async with asyncio.timeout(20):
            while sessions.sessions():  # noqa: ASYNC110 (nothing tells when one is gone)
                await asyncio.sleep(0.05)
        assert counts.ended == {"expired": 1}
        await client.close()
