"""The life of a session: its states, its effects, its peers and its end."""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from typing import cast

import numpy as np
import pytest
from PIL import Image as PilImage

from service.errors import (
    BadOffer,
    InvalidField,
    ModelUnavailable,
    NotAllowed,
    PictureError,
    StaleETag,
    UnknownBackground,
    UnknownPeer,
    UnsupportedOffer,
)
from service.frame.look import Away, Look
from service.frame.picture import Picture
from service.frame.pipeline import Pipeline
from service.policy.effects import EFFECT_TYPES, Blur, Color, Image, Nothing
from service.rtc.ice import IceConnection
from service.session.events import Closing, Kind
from service.session.looks import Looks
from service.session.session import TRANSITIONS, IllegalTransition, Session, State
from service.session.spec import AwaySpec, SessionSpec
from tests.peers import Camera, Client, LossyRelay
from tests.rtc.pictures import moving_picture
from tests.session.stand import OnePicture, registry

pytestmark = pytest.mark.model

GREEN = Color("#00b140")
SPEC = SessionSpec(effect=GREEN)


def png(rgb: tuple[int, int, int]) -> bytes:
    out = io.BytesIO()
    PilImage.new("RGB", (64, 36), rgb).save(out, "PNG")
    return out.getvalue()


def told(session: Session) -> list[dict[str, object]]:
    """What has happened in it, without ids and times."""
    events = [event.as_json() for event in session.events._kept]
    return [{k: v for k, v in event.items() if k not in ("id", "at")} for event in events]


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
                                   "edge": 0.5, "people": "everyone",
                                   "light_wrap": 0.0, "framing": 0.0, "light": 0.0}  # fmt: skip
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
        await session.trickle(two.peer_id, "a=end-of-candidates\r\n", f'"other", {two.etag}')
        with pytest.raises(UnsupportedOffer, match="ICE restart"):
            await session.trickle(two.peer_id, "a=ice-ufrag:new\r\na=ice-pwd:x\r\n", "*")
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
        await session.scene.set_effect(Image("red"))
        await client.wait_for(lambda: is_red(client))
        assert session.effect == Image("red")
        await session.scene.set_effect(Blur(0.2), mid="1")
        effects = [track_effect(session, number) for number in (0, 1)]
        assert effects == ["image", "blur"]
        with pytest.raises(InvalidField, match="mid"):
            await session.scene.set_effect(GREEN, mid="7")
        await client.close()


def track_effect(session: Session, number: int) -> str:
    tracks = cast("list[dict[str, dict[str, str]]]", session.describe()["tracks"])
    return tracks[number]["effect"]["type"]


def is_red(client: Client) -> bool:
    pixel = client.video.frames[-1].to_ndarray(format="rgb24")[5, 5].astype(int)
    return bool(np.abs(pixel - [200, 0, 0]).max() < 24)


class Gate:
    """Holds an offer back where it gathers its candidates."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.open = asyncio.Event(), asyncio.Event()

        async def wait(*_: object) -> list[object]:
            self.reached.set()
            await self.open.wait()
            return []

        monkeypatch.setattr(IceConnection, "_server_candidates", wait)


@pytest.mark.peer
async def test_an_effect_set_during_an_offer_is_the_new_peers_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = Gate(monkeypatch)
    spec = SessionSpec(effect=Nothing(), allowed_effects=frozenset(EFFECT_TYPES))
    async with registry() as (sessions, counts):
        session = sessions.create(spec)
        client = Client(Camera(moving_picture))
        offering = asyncio.create_task(session.offer(await client.offer()))
        await gate.reached.wait()
        await session.scene.set_effect(Image("red"))
        gate.open.set()
        await client.accept((await offering).sdp)
        await client.frames(5)
        assert is_red(client)
        assert counts.raw == 0
        await client.close()


@pytest.mark.peer
@pytest.mark.parametrize("how", ["deleted", "drained"])
async def test_a_session_that_ends_during_an_offer_leaves_nothing(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    async with registry() as (sessions, _):
        before = asyncio.all_tasks()
        session = sessions.create(SPEC)
        client = Client(Camera(moving_picture))
        offering = asyncio.create_task(session.offer(await client.offer()))
        await gate.reached.wait()
        await (sessions.end(session.id) if how == "deleted" else sessions.drain())
        gate.open.set()
        with pytest.raises(UnknownPeer):
            await offering
        await client.close()
        left = asyncio.all_tasks() - before
        if left:
            _, left = await asyncio.wait(left, timeout=2)
        assert not left


async def test_an_idle_session_does_not_end_under_an_offer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = Gate(monkeypatch)
    async with registry(idle_ttl_s=0.05) as (sessions, _):
        session = sessions.create(SPEC)
        client = Client(Camera(moving_picture))
        offering = asyncio.create_task(session.offer(await client.offer()))
        await gate.reached.wait()
        assert session._overdue(time.monotonic() + 10) is None
        gate.open.set()
        await offering
        assert state_of(session) is State.CONNECTING
        await client.close()


async def test_of_two_effects_at_once_the_later_one_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = asyncio.Event()
    get = OnePicture.get

    async def slowly(self: OnePicture, name: str) -> Picture:
        await slow.wait()
        return await get(self, name)

    monkeypatch.setattr(OnePicture, "get", slowly)
    async with registry() as (sessions, _):
        session = sessions.create(SPEC)
        first = asyncio.create_task(session.scene.set_effect(Image("red")))
        await asyncio.sleep(0)
        second = asyncio.create_task(session.scene.set_effect(Blur(0.5)))
        await asyncio.sleep(0)
        slow.set()
        await asyncio.gather(first, second)
        assert session.effect == Blur(0.5)


async def test_an_effect_that_cannot_be_had_changes_nothing() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(SPEC)
        with pytest.raises(ModelUnavailable, match="models fetch rvm"):
            await session.scene.set_effect(Color("#00b140", model="rvm"))
        with pytest.raises(NotAllowed):
            await session.scene.set_effect(Nothing())
        with pytest.raises(UnknownBackground):
            await session.scene.set_effect(Image("missing"))
        with pytest.raises(UnknownBackground):
            await session.scene.set_effect(Image("session"))
        assert session.effect == GREEN
        assert [event["type"] for event in told(session)] == ["session.created"]


async def test_a_first_effect_that_cannot_be_had_is_refused_and_can_be_mended() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(SessionSpec(effect=Blur(model="rvm")))
        client = Client(Camera(moving_picture))
        offer = await client.offer()
        with pytest.raises(ModelUnavailable):
            await session.offer(offer)
        assert state_of(session) is State.CREATED
        await session.scene.set_effect(Blur())
        await session.offer(offer)
        assert state_of(session) is State.CONNECTING
        await client.close()


async def test_away_is_part_of_every_look() -> None:
    spec = SessionSpec(effect=GREEN, away=AwaySpec(9, "red"))
    async with registry() as (sessions, _):
        session = sessions.create(spec)
        assert session.describe()["away"] == {"after_s": 9, "background": "red"}
        await session.scene.set_picture(png((0, 0, 200)))
        for effect in (Blur(), Image("session"), Nothing(), GREEN):
            with contextlib.suppress(NotAllowed):
                await session.scene.set_effect(effect)
            assert session.scene.looks is not None
            away = session.scene.looks.all.away
            assert away.after_s == 9
            assert away.picture is not None
            assert away.picture.rgb[0, 0].tolist() == [200, 0, 0]


async def test_an_away_background_that_is_gone_is_named() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(SessionSpec(effect=GREEN, away=AwaySpec(9, "missing")))
        with pytest.raises(InvalidField, match=r"away\.background names no picture: 'missing'"):
            await session.scene.set_effect(Blur())


@pytest.mark.peer
async def test_its_events_from_live_to_ended() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(SPEC)
        listener = session.events.listen()
        client = Client(Camera(moving_picture))
        await client.accept((await session.offer(await client.offer())).sdp)
        await client.frames(3)
        await session.scene.set_effect(Color("#000000"))
        await session.scene.set_effect(Color("#010101"), mid="0")
        (track,) = cast("list[dict[str, object]]", session.describe()["tracks"])
        assert (track["person"], track["person_changed_at"]) == ("in_view", None)
        assert session._peer is not None
        session._peer.tracks["0"]._see(True)
        (track,) = cast("list[dict[str, object]]", session.describe()["tracks"])
        assert track["person"] == "away"
        assert abs(cast("float", track["person_changed_at"]) - time.time()) < 60
        session._peer.tracks["0"]._see(True)
        session._peer.tracks["0"]._see(None)
        session._peer.tracks["0"]._see(False)
        await sessions.end(session.id)
        await client.close()
        kinds = [(event["type"], event.get("mid")) for event in told(session)]
        assert kinds == [
            ("session.created", None),
            ("session.live", None),
            ("effect.changed", None),
            ("effect.changed", "0"),
            ("person.away", "0"),
            ("person.back", "0"),
            ("session.ended", None),
        ]
        assert cast("dict[str, object]", told(session)[3]["effect"])["color"] == "#010101"
        created, ended = told(session)[0], told(session)[-1]
        assert created["reopened"] is False
        assert created["expires_at"] == round(session.expires_at, 3)
        assert ended["cause"] == "deleted"
        assert 0 < cast("float", ended["duration_s"]) < 60
        for _ in kinds[1:]:
            assert not isinstance(await listener.next(), Closing)
        assert await listener.next() is Closing.ENDED


def lives(session: Session) -> list[object]:
    """`live`, and the cause of each wait after that."""
    of_peers = [one for one in told(session) if one["type"] in ("session.live", "session.waiting")]
    return [one.get("cause", "live") for one in of_peers]


@pytest.mark.peer
@pytest.mark.parametrize("cause", ["hung_up", "left", "silent", "fault"])
async def test_a_live_session_without_its_peer_waits_and_says_why(
    cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("injected")

    relay = LossyRelay()
    async with registry(end_after_s=2.0) as (sessions, _):
        session = sessions.create(SPEC)
        client = Client(Camera(moving_picture))
        try:
            answer = await session.offer(relay.hide(await client.offer()))
            await client.accept(await relay.between(answer.sdp))
            await client.frames(3)
            assert lives(session) == ["live"]
            task = session._peer_task
            assert task is not None
            if cause == "hung_up":
                await session.hang_up(answer.peer_id)
            elif cause == "left":
                await client.close()
            elif cause == "silent":
                relay.cut = True
            else:
                monkeypatch.setattr("service.rtc.link.Link._judge_silence", fails)
            async with asyncio.timeout(15):
                await task
            assert state_of(session) is State.CREATED
            assert lives(session) == ["live", cause]
            assert told(session)[-1] == {"type": "session.waiting", "cause": cause}
        finally:
            await client.close()
            relay.close()
        await sessions.end(session.id)
        assert lives(session) == ["live", cause], "its end tells of itself"


@pytest.mark.peer
async def test_one_that_was_never_live_or_ends_live_does_not_wait() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(SPEC)
        answer = await session.offer(await (absent := Client(Camera(moving_picture))).offer())
        await session.hang_up(answer.peer_id)
        await absent.close()
        assert lives(session) == []
        client = Client(Camera(moving_picture))
        await client.accept((await session.offer(await client.offer())).sdp)
        await client.frames(3)
        await sessions.end(session.id)
        await client.close()
        assert lives(session) == ["live"]


@pytest.mark.peer
async def test_a_peer_that_takes_anothers_place_does_not_let_it_wait() -> None:
    async with registry(connect_timeout_s=1.0) as (sessions, _):
        session = sessions.create(SPEC)
        for _ in range(2):
            client = Client(Camera(moving_picture))
            await client.accept((await session.offer(await client.offer())).sdp)
            await client.frames(3)
        assert lives(session) == ["live", "live"]
        with pytest.raises(BadOffer):
            await session.offer("no SDP")
        assert lives(session) == ["live", "live"], "the peer goes on"
        # But one that takes it and never connects does.
        absent = Client(Camera(moving_picture))
        await session.offer(await absent.offer())
        assert lives(session) == ["live", "live"]
        task = session._peer_task
        assert task is not None
        async with asyncio.timeout(15):
            await task
        assert lives(session) == ["live", "live", "connect_timeout"]
        await absent.close()
        await client.close()


@pytest.mark.peer
@pytest.mark.parametrize("at_once", [True, False])
async def test_an_offer_that_is_given_up_when_the_peer_before_it_has_gone(
    at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled while it waits for that end, or when it has just come."""
    async with registry() as (sessions, _):
        session = sessions.create(SPEC)
        client = Client(Camera(moving_picture))
        await client.accept((await session.offer(await client.offer())).sdp)
        await client.frames(3)
        end_peer = session._end_peer
        ending = asyncio.Event()

        async def end(cause: str) -> None:
            if at_once:
                assert session._peer is not None
                session._peer.close(cause)
            else:
                await end_peer(cause)
            ending.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(session, "_end_peer", end)
        other = Client(Camera(moving_picture))
        task = session._peer_task
        assert task is not None
        offering = asyncio.create_task(session.offer(await other.offer()))
        async with asyncio.timeout(15):
            await ending.wait()
            offering.cancel()
            await asyncio.wait({offering})
            await task
        monkeypatch.undo()
        assert offering.cancelled()
        assert state_of(session) is State.CREATED
        assert lives(session) == ["live", "replaced"]
        await other.close()
        await client.close()


@pytest.mark.peer
async def test_its_end_tells_what_all_of_its_peers_used() -> None:
    async with registry() as (sessions, counts):
        session = sessions.create(SPEC)
        for _ in range(2):
            client = Client(Camera(moving_picture))
            answer = await session.offer(await client.offer())
            await client.accept(answer.sdp)
            await client.frames(5)
            first = session.describe()
            await session.hang_up(answer.peer_id)
            await client.close()
        (track,) = cast("list[dict[str, object]]", first["tracks"])
        await sessions.end(session.id)
        ended = told(session)[-1]
        assert ended["frames"] == {
            "received": counts.frames["received"],
            "processed": counts.frames["processed"],
            "dropped": counts.dropped.total(),
            "sent": counts.frames["sent"],
            "raw": 0,
        }
        assert counts.frames["sent"] >= 10
        assert cast("float", ended["cpu_seconds"]) > cast("float", track["cpu_seconds"]) > 0


@pytest.mark.peer
async def test_errors_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("injected")

    async with registry(connect_timeout_s=0.3) as (sessions, counts):
        session = sessions.create(SPEC)
        heard: list[tuple[object, object]] = []
        sessions.feed.hook(
            lambda event: (
                heard.append((event.details.get("code"), event.mid))
                if event.kind is Kind.ERROR
                else None
            )
        )
        absent = Client(Camera(moving_picture))
        await session.offer(await absent.offer())
        assert session._peer_task is not None
        await session._peer_task
        await absent.close()
        assert heard == [("connect_timeout", None)]

        monkeypatch.setattr(Pipeline, "process", fails)
        client = Client(Camera(moving_picture))
        await client.accept((await session.offer(await client.offer())).sdp)
        await client.frames(10)
        assert counts.dropped["frame_error"] >= 10
        assert counts.raw == 0
        assert heard[1:] == [("frames", "0")], "once, not for each frame"

        monkeypatch.setattr("service.rtc.link.Link._judge_silence", fails)
        await session._peer_task
        assert heard[2:] == [("peer_fault", None)]
        await client.close()


@pytest.mark.parametrize("name", ["session", "attic"])
def test_a_new_picture_is_shown_wherever_the_old_one_was(name: str) -> None:
    old, new = (Picture(np.full((2, 2, 3), n, np.uint8), str(n)) for n in (1, 2))
    away = Away(7.0, old)
    looks = Looks(Look(Image(name), old, away))
    looks.set_one("1", Look(Blur()))
    looks.set_one("2", Look(Image("red"), old))
    assert looks.pictures() == {name: {"1"}, "red": {"1"}}
    looks.show(name, new)
    assert looks.all.picture is new
    assert looks.all.away is away
    assert looks.wanted("0").picture is new
    assert looks.wanted("1").effect == Blur()
    assert looks.wanted("2").picture is old
    assert looks.pictures(away="red") == {name: {"2"}, "red": {"1"}}
    looks.show("red", new, away="red")
    assert looks.all.away == Away(7.0, new)
    assert looks.wanted("2").picture is new
    looks.forget_tracks()
    assert looks.wanted("1") is looks.all


async def test_a_picture_of_its_own() -> None:
    async with registry() as (sessions, _):
        session = sessions.create(SPEC)
        await session.scene.set_picture(png((200, 0, 0)))
        await session.scene.set_effect(Image("session"))
        shown = session.scene.looks
        assert shown is not None
        assert shown.all.picture is not None
        assert shown.all.picture.rgb[0, 0].tolist() == [200, 0, 0]
        with pytest.raises(PictureError):
            await session.scene.set_picture(b"no picture")
        assert shown.all.picture.rgb[0, 0].tolist() == [200, 0, 0]
        await session.scene.set_picture(png((0, 0, 200)))
        assert shown.all.picture.rgb[0, 0].tolist() == [0, 0, 200]


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
async def test_one_whose_peer_fell_silent_is_idle_since_it_was_heard_last() -> None:
    """As when a browser is killed: it is noticed late, and that counts."""
    relay = LossyRelay()
    async with registry(idle_ttl_s=4.0, end_after_s=3.0) as (sessions, counts):
        session = sessions.create(SPEC)
        client = Client(Camera(moving_picture))
        try:
            answer = await session.offer(relay.hide(await client.offer()))
            await client.accept(await relay.between(answer.sdp))
            await client.frames(3)
            relay.cut = True
            cut_s = time.monotonic()
            async with asyncio.timeout(20):
                await asyncio.gather(*sessions._tasks.values())
            assert 3.9 <= time.monotonic() - cut_s < 3.0 + 4.0 - 0.5
            assert counts.ended == {"idle": 1}
        finally:
            await client.close()
            relay.close()


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
