"""Those who watch a session, with real peers: who sees what, how many, and at whose cost."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from service.errors import BadOffer, Refused, UnknownPeer, UnknownSession, UnsupportedOffer
from service.policy.admission import Admission
from service.policy.cost import CostModel
from service.policy.effects import Blur, Color, Nothing
from service.rtc.codecs import Encoder
from service.rtc.offer import Use
from service.rtc.sender import Sender
from service.session import audience
from service.session.spec import SessionSpec
from tests.peers import Camera, Client, Tone, loudest_hz
from tests.rtc.pictures import luma, moving_picture
from tests.session.stand import registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiortc import MediaStreamTrack

    from service.session.audience import Seated
    from service.session.session import Session

pytestmark = [pytest.mark.peer, pytest.mark.model]

GREEN = Color("#00b140")
SPEC = SessionSpec(effect=GREEN, audio=False)
UNLOCKED = replace(SPEC, allowed_effects=frozenset({"none", "blur", "color"}))
GREEN_YUV = (111, 105, 58)
"""#00b140 in limited-range BT.601."""


@asynccontextmanager
async def camera(
    session: Session,
    *microphones: MediaStreamTrack,
    sends_only: bool = True,
    codec: str | None = None,
) -> AsyncIterator[Client]:
    """A stock peer that sends to the session."""
    client = Client(Camera(moving_picture), *microphones, codec=codec, keep=2000)
    if sends_only:
        for transceiver in client.connection.getTransceivers():
            transceiver.direction = "sendonly"
    use = Use.INGEST if sends_only else Use.RETURNED
    answer = await session.offer(await client.offer(), use=use)
    assert ("a=recvonly" in answer.sdp) == sends_only
    await client.accept(answer.sdp)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def viewer(
    session: Session, *, listens: bool = False
) -> AsyncIterator[tuple[Client, Seated]]:
    """A stock peer that watches the session."""
    client = Client(keep=2000)
    client.connection.addTransceiver("video", direction="recvonly")
    if listens:
        client.connection.addTransceiver("audio", direction="recvonly")
    try:
        seated = await session.audience.offer(await client.offer())
        assert "a=sendonly" in seated.sdp
        await client.accept(seated.sdp)
        yield client, seated
    finally:
        await client.close()


def background(frame: av.VideoFrame) -> tuple[int, ...]:
    """Mean Y, U, V of the upper left corner, where nobody is."""
    planes = [np.frombuffer(bytes(p), np.uint8).reshape(-1, p.line_size) for p in frame.planes]
    return tuple(int(plane[:16, :16].mean()) for plane in planes)


def is_green(frame: av.VideoFrame) -> bool:
    return all(abs(a - b) <= 6 for a, b in zip(background(frame), GREEN_YUV, strict=True))


async def hears(client: Client, hz: float) -> None:
    """Until a second of sound, in frames of 20 ms, is that tone."""

    def heard() -> bool:
        frames = client.audio.frames[-50:]
        return len(frames) == 50 and abs(loudest_hz(frames) - hz) < 5

    await client.wait_for(heard, audio=True)


def is_raw(frame: av.VideoFrame) -> bool:
    """Whether the edges of the square that moves through the camera's picture are there."""
    rows = luma(frame)[45:75].astype(int).mean(axis=0)
    return bool(np.abs(rows[2:] - rows[:-2]).max() > 18)


async def shows(client: Client, *, raw: bool) -> None:
    """Until it shows the camera as it came, or does not."""
    await client.frames(1)
    await client.wait_for(lambda: is_raw(client.video.frames[-1]) is raw)


async def test_what_is_sent_only_is_watched_and_not_sent_back() -> None:
    async with registry() as (sessions, counts):
        session = sessions.create(SPEC)
        async with viewer(session) as (early, _), camera(session) as sender:
            await early.frames(5)
            async with viewer(session) as (late, seated):
                await late.frames(5)
                assert all(map(is_green, early.video.frames + late.video.frames))
                assert sender.video.total == 0
                assert sessions.viewers == 2
                told = session.describe()["viewers"]
                assert isinstance(told, list)
                assert [one["state"] for one in told] == ["live", "live"]
                assert (told[0]["width"], told[0]["height"]) == (320, 180)
                assert told[0]["frames"]["sent"] >= 5
                assert told[0]["cpu_seconds"] > 0
                await session.audience.leave(seated.viewer_id)
                with pytest.raises(UnknownPeer):
                    await session.audience.leave(seated.viewer_id)
            await early.frames(2)
            assert counts.viewer_frames["sent"] >= 10
            assert counts.frames["sent"] > 0
            assert sessions.viewers_cpu_s == session.audience.cpu_seconds > 0
            await sessions.end(session.id)
            assert len(session.audience) == 0
        assert counts.raw == 0


async def test_a_viewer_stays_while_the_camera_comes_again() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(SPEC)
        async with viewer(session) as (watching, _):
            async with camera(session, sends_only=False) as sender:
                await watching.frames(3)
                await sender.frames(3)  # a browser gets its own picture back all the same
            async with camera(session):
                await watching.frames(10)
                assert all(map(is_green, watching.video.frames))


@pytest.mark.parametrize("codec", ["VP8", "H264"])
@pytest.mark.parametrize("sends_only", [True, False])
async def test_without_an_effect_the_camera_is_watched_as_it_came(
    sends_only: bool, codec: str
) -> None:
    async with registry() as (sessions, counts):
        session = sessions.create(replace(UNLOCKED, effect=Nothing()))
        async with (
            viewer(session) as (early, _),
            viewer(session) as (other, _),
            camera(session, sends_only=sends_only, codec=codec) as sender,
        ):
            await early.frames(10)
            await other.frames(10)
            for client in (early, other) if sends_only else (early, other, sender):
                assert all(map(is_raw, client.video.frames))
                assert np.abs(luma(client.video.frames[-1])[100:, 20:300].mean() - 120) < 4
            assert counts.viewer_frames["sent"] >= 20
            assert counts.frames["sent"] > 0
        assert counts.raw == 0, "no effect was on"


async def test_nothing_of_the_camera_is_sent_once_an_effect_is_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with registry() as (sessions, counts):
        session = sessions.create(UNLOCKED)
        raw_allowed: list[bool] = []
        send_frame = Sender.send_frame

        def listen(self: Sender, payloads: list[bytes], *, raw: bool, **when: int) -> None:
            if raw:
                raw_allowed.append(session.effect == Nothing())
            send_frame(self, payloads, raw=raw, **when)

        monkeypatch.setattr(Sender, "send_frame", listen)
        async with (
            viewer(session) as (one, _),
            viewer(session) as (other, _),
            camera(session, sends_only=False) as sender,
        ):
            everybody = (one, other, sender)
            for effect in (GREEN, Nothing(), Blur(), Nothing(), GREEN, Nothing(), GREEN):
                await session.scene.set_effect(effect)
                for client in everybody:
                    await shows(client, raw=effect == Nothing())
            for client in everybody:
                # Each change is seen once: what came after it is not what was there before.
                seen = [is_raw(frame) for frame in client.video.frames]
                assert [key for key, _ in groupby(seen)] == [False, True] * 3 + [False]
            # Changes that overtake pictures on their way.
            for number in range(40):
                await session.scene.set_effect(GREEN if number % 2 else Nothing())
                await asyncio.sleep(number % 7 * 0.011)
            for client in everybody:
                await shows(client, raw=False)
                await client.frames(10)
                assert all(map(is_green, client.video.frames[-10:]))
        assert len(raw_allowed) > 30
        assert all(raw_allowed)
        assert counts.raw == 0


@pytest.mark.parametrize("sends_only", [True, False])
async def test_viewers_hear_the_session(sends_only: bool) -> None:
    async with registry() as (sessions, _):
        session = sessions.create(replace(SPEC, audio=True))
        async with viewer(session, listens=True) as (one, _), viewer(session) as (deaf, _):
            async with camera(session, Tone(440), sends_only=sends_only) as sender:
                await hears(one, 440)
                await one.frames(3)
                if not sends_only:
                    await hears(sender, 440)
                async with viewer(session, listens=True) as (late, _):
                    await hears(late, 440)
                await deaf.frames(3)
            # Another stream, with another origin of time: it goes on, and so does its sound.
            async with camera(session, Tone(1000)):
                await hears(one, 1000)
                assert all(map(is_green, one.video.frames))
        assert deaf.audio.total == 0


async def test_viewers_hear_the_first_microphone_alone() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(replace(SPEC, audio=True))
        async with (
            viewer(session, listens=True) as (one, _),
            camera(session, Tone(440), Tone(1000), sends_only=False) as sender,
        ):
            await hears(one, 440)
            await sender.frames(3)


async def test_what_a_session_does_not_take_is_not_heard() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(SPEC)
        async with (
            viewer(session, listens=True) as (one, seated),
            camera(session, Tone(440), sends_only=False),
        ):
            assert "a=inactive" in seated.sdp.partition("m=audio")[2]
            await one.frames(15)
            assert one.audio.total == 0


async def test_another_camera_under_an_effect_covers_the_one_before_it() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(replace(UNLOCKED, effect=Nothing()))
        async with viewer(session) as (watching, _):
            async with camera(session):
                await shows(watching, raw=True)
            await session.scene.set_effect(GREEN)
            async with camera(session):
                await shows(watching, raw=False)
                seen = [is_raw(frame) for frame in watching.video.frames]
                assert [key for key, _ in groupby(seen)] == [True, False]


async def test_a_fault_of_one_viewer_is_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    async with registry() as (sessions, counts):
        session = sessions.create(SPEC)
        async with camera(session), viewer(session) as (well, _), viewer(session) as (ill, _):
            await ill.frames(2)
            screens = [one.viewer._screen for one in session.audience._watching.values()]
            assert screens[1] is not None
            broken = screens[1]._encoder
            encode = Encoder.encode

            def fails(self: Encoder, frame: av.VideoFrame, **how: object) -> list[bytes]:
                if self is broken:
                    raise av.ArgumentError(22, "injected")
                return encode(self, frame, **how)  # type: ignore[arg-type]

            monkeypatch.setattr(Encoder, "encode", fails)
            await well.frames(10)
            dropped = session.audience.describe()[1]["frames"]
            assert isinstance(dropped, dict)
            assert dropped["dropped"] >= 5
            monkeypatch.undo()
            await ill.frames(5)
            assert counts.dropped["fault"] == 0


async def test_there_are_so_many_seats_and_so_much_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audience, "MAX_VIEWERS", 1)
    cost = CostModel(1.0)
    admission = Admission(quota_cores=1.5, cost=cost, max_sessions=2, planned_share=1.0)
    async with registry(admission=admission) as (sessions, counts):
        session = sessions.create(SPEC)
        with pytest.raises(BadOffer):
            await session.audience.offer("no SDP")
        for direction in ("sendonly", "inactive"):
            client = Client()
            client.connection.addTransceiver("video", direction=direction)
            with pytest.raises((UnsupportedOffer, BadOffer)):
                await session.audience.offer(await client.offer())
            await client.close()
        assert admission.viewers == 0, "an offer that is not answered holds nothing"
        async with viewer(session) as (_, seated):
            assert (admission.sessions, admission.viewers) == (1, 1)
            with pytest.raises(Refused, match="viewer: viewer_cap") as refused:
                await session.audience.offer("whatever")
            assert refused.value.retry_after_s == audience.RETRY_S
            monkeypatch.setattr(audience, "MAX_VIEWERS", 9)
            with pytest.raises(Refused, match="viewer: cpu_budget"):
                await session.audience.offer("whatever")
            await session.audience.leave(seated.viewer_id)
        assert admission.viewers == 0
        assert counts.viewers_refused == ["viewer_cap", "cpu_budget"]


async def test_viewers_end_with_their_session() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(SPEC)
        async with viewer(session) as (watching, _), camera(session):
            await watching.frames(2)
            closed = asyncio.Event()
            watching.connection.on("connectionstatechange", closed.set)
            await sessions.end(session.id)
            assert len(session.audience) == 0
            with pytest.raises(UnknownSession):
                sessions.get(session.id)
            async with asyncio.timeout(10):
                await closed.wait()
            assert watching.connection.connectionState == "closed"
            with pytest.raises(UnknownSession):
                async with viewer(session):
                    pass
