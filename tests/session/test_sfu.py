"""Sessions that are pulled from and pushed to another server: media, losses, tries, the end.

The other server is of stock aiortc peers (tests/far_server.py), reached over real HTTP; the
sessions are real.
"""

from __future__ import annotations

import asyncio
import ipaddress
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

import pytest
from aioice import stun

from service.errors import NotAllowed, Refused, StaleETag
from service.policy.admission import Admission
from service.policy.cost import CostModel
from service.policy.deliveries import Retrying
from service.policy.effects import Color, Nothing
from service.rtc.sender import Sender
from service.session.events import Closing, Event, Kind
from service.session.session import Session, State
from service.session.sfu import (
    FINAL,
    Cause,
    Endpoint,
    Exchange,
    Line,
    LineState,
    NotOpened,
    Opened,
    SfuSettings,
    Way,
)
from service.session.spec import SessionSpec
from service.web.sfu import Sfu
from tests.far_server import TOKEN, far_server
from tests.rtc.counts import Counts
from tests.session.stand import registry
from tests.session.test_audience import GREEN, SPEC, UNLOCKED, camera, is_green, is_raw, viewer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from service.session.registry import Registry
    from tests.session.stand import SessionCounts

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
QUICK = SfuSettings(silence_s=3.0, retrying=Retrying(0.1, 0.3, 20.0))

served = [pytest.mark.peer, pytest.mark.model]


@asynccontextmanager
async def sessions(
    settings: SfuSettings = QUICK,
    admission: Admission | None = None,
    *,
    asks_ice_servers: bool = False,
) -> AsyncIterator[tuple[Registry, SessionCounts]]:
    sfu = Sfu(networks=LOOPBACK, timeout_s=5.0, asks_ice_servers=asks_ice_servers)
    try:
        async with registry(exchanges=sfu, sfu=settings, admission=admission) as made:
            yield made
    finally:
        await sfu.close()


def told(session: Session, way: str) -> dict[str, Any]:
    line = session.describe()[way]
    assert isinstance(line, dict)
    return line


async def until(session: Session, way: str, *states: str, timeout_s: float = 30.0) -> None:
    """Until the pull or the push is in one of these states."""
    async with asyncio.timeout(timeout_s):
        while told(session, way)["state"] not in states:  # noqa: ASYNC110 (of few is told)
            await asyncio.sleep(0.02)


async def kinds(session: Session) -> list[tuple[str, object, object]]:
    """What the session's events told of its lines so far."""
    listener = session.events.listen(0)
    found = []
    while listener._waiting:
        event = await listener.next()
        assert not isinstance(event, Closing)
        if event.kind.value.startswith(("pull", "push")):
            about = event.details
            found.append((event.kind.value, about.get("cause"), about.get("retrying")))
    session.events.leave(listener)
    return found


def waits(session: Session) -> list[object]:
    """Why it had no source any more, each time; it was live again after each."""
    of_source = [one for one in session.events._kept if one.kind in (Kind.LIVE, Kind.WAITING)]
    assert [one.kind for one in of_source] == [
        Kind.LIVE if number % 2 == 0 else Kind.WAITING for number in range(len(of_source))
    ]
    assert of_source[-1].kind is Kind.LIVE
    return [one.details["cause"] for one in of_source if one.kind is Kind.WAITING]


class StunServer(asyncio.DatagramProtocol):
    """Tells whoever asks where it is seen."""

    def __init__(self) -> None:
        self.asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked += 1
        answer = stun.Message(
            stun.Method.BINDING, stun.Class.RESPONSE, stun.parse_message(data).transaction_id
        )
        answer.attributes["XOR-MAPPED-ADDRESS"] = addr
        self._transport.sendto(bytes(answer), addr)


class TestMedia:
    pytestmark = served

    async def test_pulled_and_pushed_with_nothing_raw_and_left_at_the_end(self) -> None:
        async with far_server() as far, sessions() as (made, counts):
            session = made.create(
                SPEC, pull=Endpoint(far.whep, TOKEN), push=Endpoint(far.whip, TOKEN)
            )
            await far.frames(10)
            # Everything that ever came out, the first one too, and a viewer's besides.
            assert far.video.frames
            assert session.describe()["viewers"] == [], "a push is none of them"
            assert all(map(is_green, far.video.frames))
            async with viewer(session) as (watching, _):
                await watching.frames(5)
                assert all(map(is_green, watching.video.frames))
            assert session.state is State.LIVE
            assert (told(session, "pull")["state"], told(session, "pull")["attempts"]) == (
                "live",
                1,
            )
            push = told(session, "push")
            assert (push["state"], push["last_cause"], push["sent"]["state"]) == (
                "live",
                None,
                "live",
            )
            assert push["sent"]["frames"]["sent"] > 0
            assert made.viewers_cpu_s > 0
            assert made.lines() == {("pull", "live"): 1, ("push", "live"): 1}
            assert await kinds(session) == [
                ("pull.live", None, None),
                ("push.live", None, None),
            ]
            with pytest.raises(NotAllowed, match="pulled"):
                await session.offer("v=0")
            await made.end(session.id)
            assert far.count("DELETE") == 2
            assert far.made == {}
            assert {bearer for _, _, bearer in far.asked} == {f"Bearer {TOKEN}"}
            assert counts.raw == 0
            assert counts.sfu_attempts == {("pull", "live"): 1, ("push", "live"): 1}
            assert counts.sfu_losses == {}

    async def test_a_camera_is_pushed_once_it_is_live(self) -> None:
        async with far_server() as far, sessions() as (made, _):
            session = made.create(SPEC, push=Endpoint(far.whip, TOKEN))
            await asyncio.sleep(0)
            assert told(session, "push")["state"] == "waiting"
            assert far.asked == []
            async with camera(session, sends_only=False) as sender:
                await far.frames(5)
                await sender.frames(2)
            assert all(map(is_green, far.video.frames))
            # The camera comes again, and the push is still there.
            async with camera(session):
                await far.frames(5)
            assert far.count("POST") == 1

    async def test_the_end_tells_of_what_encoding_for_viewers_and_a_push_used_too(self) -> None:
        async with far_server() as far, sessions() as (made, counts):
            session = made.create(SPEC, push=Endpoint(far.whip, TOKEN))
            seen: list[tuple[Any, float, list[Any]]] = []

            def hook(event: Event) -> None:
                if event.kind is Kind.ENDED:
                    now: dict[str, Any] = session.describe()
                    present = [*now["tracks"], *now["viewers"], now["push"]["sent"]]
                    used = [one["cpu_seconds"] for one in present]
                    seen.append((event.details["cpu_seconds"], counts.stages_cpu_s["encode"], used))

            made.feed.hook(hook)
            async with camera(session), viewer(session) as (stays, _):
                async with viewer(session) as (leaves, seated):
                    await leaves.frames(5)
                    gone = session.audience._watching[seated.viewer_id].viewer
                    await session.audience.leave(seated.viewer_id)
                await stays.frames(5)
                await far.frames(5)
                await made.end(session.id)
            ((ended_s, encoded_s, (track_s, *viewers_s)),) = seen
            assert len(viewers_s) == 2
            assert min(track_s, *viewers_s, gone.cpu_seconds) > 0
            # What the session's JSON tells of those present, each rounded to a millisecond, and
            # one who left. The track of what is sent only encodes nothing: all of that is theirs.
            watched_s = sum(viewers_s) + gone.cpu_seconds
            assert ended_s == pytest.approx(track_s + watched_s, abs=0.003)
            assert encoded_s == pytest.approx(watched_s, abs=0.002)

    async def test_a_server_that_ends_and_comes_again(self) -> None:
        async with far_server() as far, sessions() as (made, counts):
            session = made.create(
                SPEC, pull=Endpoint(far.whep, TOKEN), push=Endpoint(far.whip, TOKEN)
            )
            async with viewer(session) as (watching, _):
                await far.frames(5)
                await far.stop()
                await until(session, "pull", "retrying", "connecting")
                # There is nothing to push while nothing is pulled.
                await until(session, "push", "waiting")
                await until(session, "pull", "retrying")
                assert session.state is State.CREATED
                await far.start()
                await far.frames(10, timeout_s=60)
                await watching.frames(5)
                assert all(map(is_green, far.video.frames + watching.video.frames))
            pull = told(session, "pull")
            assert (pull["state"], pull["attempts"] >= 2) == ("live", True)
            assert pull["last_cause"] in ("left", "silent", "unreachable")
            assert counts.sfu_losses["pull", "left"] + counts.sfu_losses["pull", "silent"] == 1
            assert counts.sfu_attempts["pull", "live"] == 2
            of_pull = [one for one in await kinds(session) if one[0].startswith("pull")]
            assert [kind for kind, _, _ in of_pull] == ["pull.live", "pull.lost", "pull.live"]
            assert of_pull[1][2] is True
            assert waits(session) in (["left"], ["silent"])
            assert counts.raw == 0

    async def test_a_server_that_sends_nothing_is_tried_again_and_given_up(self) -> None:
        settings = SfuSettings(silence_s=1.0, retrying=Retrying(0.05, 0.1, 2.0))
        async with far_server(plays=False) as far, sessions(settings) as (made, counts):
            session = made.create(SPEC, pull=Endpoint(far.whep, TOKEN))
            await until(session, "pull", "failed")
            assert told(session, "pull")["last_cause"] == "silent"
            assert counts.sfu_attempts["pull", "silent"] >= 2
            assert far.made == {}, "each was left"
            # It is nobody's now, and ends when it has been so for a while.
            assert not session.attended
            assert await kinds(session) == [
                ("pull.lost", "silent", True),
                ("pull.lost", "silent", False),
            ]

    @pytest.mark.parametrize("pulled", [True, False])
    async def test_the_camera_is_pushed_as_chosen_and_never_once_an_effect_is_on(
        self, pulled: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with far_server() as far, sessions() as (made, counts):
            session = made.create(
                replace(UNLOCKED, effect=Nothing()),
                pull=Endpoint(far.whep, TOKEN) if pulled else None,
                push=Endpoint(far.whip, TOKEN),
            )
            raw_allowed: list[bool] = []
            send_frame = Sender.send_frame

            def listen(self: Sender, payloads: list[bytes], *, raw: bool, **when: int) -> None:
                if raw:
                    raw_allowed.append(session.effect == Nothing())
                send_frame(self, payloads, raw=raw, **when)

            monkeypatch.setattr(Sender, "send_frame", listen)

            async def shows(*, raw: bool) -> None:
                await far.frames(1)
                await far.until(lambda: is_raw(far.video.frames[-1]) is raw)

            async with nullcontext() if pulled else camera(session):
                await far.frames(10)
                assert all(map(is_raw, far.video.frames)), "the camera, from the first one on"
                for effect in (GREEN, Nothing(), GREEN):
                    await session.scene.set_effect(effect)
                    await shows(raw=effect == Nothing())
                await far.frames(10)
                # Each change is seen once: nothing of before comes after it.
                seen = [is_raw(frame) for frame in far.video.frames]
                assert [key for key, _ in groupby(seen)] == [True, False] * 2
                assert all(map(is_green, far.video.frames[-10:]))
                # Changes that overtake pictures on their way.
                for number in range(20):
                    await session.scene.set_effect(GREEN if number % 2 else Nothing())
                    await asyncio.sleep(number % 7 * 0.011)
                await shows(raw=False)
                await far.frames(10)
                assert all(map(is_green, far.video.frames[-10:]))
            assert len(raw_allowed) > 10
            assert all(raw_allowed)
            assert counts.raw == 0
            assert far.count("POST") == (2 if pulled else 1), "one push all the time"

    async def test_sound_goes_through(self) -> None:
        spec = SessionSpec(effect=Color("#00b140"), audio=True)
        async with far_server() as far, sessions() as (made, _):
            far.speaks = True
            made.create(spec, pull=Endpoint(far.whep, TOKEN), push=Endpoint(far.whip, TOKEN))
            await far.until(lambda: far.audio.total > 20 and far.video.total > 5)
            assert all(map(is_green, far.video.frames))

    async def test_a_server_that_takes_no_audio(self) -> None:
        """As servers refuse a section: its port is 0, and it names no codec and no transport."""

        def refused(sdp: str) -> str:
            video, audio, _ = sdp.partition("m=audio")
            assert audio
            mid = "a=group:BUNDLE 0 1"
            assert mid in video
            return (
                video.replace(mid, "a=group:BUNDLE 0")
                + "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\na=mid:1\r\n"
            )

        spec = SessionSpec(effect=Color("#00b140"), audio=True)
        async with far_server() as far, sessions() as (made, _):
            far.rewrite = refused
            session = made.create(
                spec, pull=Endpoint(far.whep, TOKEN), push=Endpoint(far.whip, TOKEN)
            )
            await far.frames(5)
            assert (told(session, "pull")["state"], told(session, "push")["state"]) == ("live",) * 2

    async def test_a_stun_server_that_is_named_is_asked(self) -> None:
        server = StunServer()
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: server, local_addr=("127.0.0.1", 0)
        )
        port = transport.get_extra_info("sockname")[1]
        async with far_server() as far, sessions(asks_ice_servers=True) as (made, _):
            far.link = f'<stun:127.0.0.1:{port}>; rel="ice-server"'
            made.create(SPEC, pull=Endpoint(far.whep, TOKEN), push=Endpoint(far.whip, TOKEN))
            await far.frames(3)
            assert [method for method, _, _ in far.asked] == ["OPTIONS", "POST"] * 2
            assert server.asked >= 2
        transport.close()

    async def test_an_answer_that_takes_nothing(self) -> None:
        settings = SfuSettings(retrying=Retrying(0.05, 0.1, 0.5))
        async with far_server() as far, sessions(settings) as (made, counts):
            far.rewrite = lambda sdp: sdp.replace("a=sendonly", "a=inactive")
            session = made.create(SPEC, pull=Endpoint(far.whep, TOKEN))
            await until(session, "pull", "failed")
            assert told(session, "pull")["last_cause"] == "bad_answer"
            assert far.made == {}, "each was left"
            assert counts.sfu_attempts["pull", "bad_answer"] == told(session, "pull")["attempts"]

    async def test_a_push_that_fails_leaves_the_session_as_it_is(self) -> None:
        settings = SfuSettings(retrying=Retrying(0.05, 0.1, 0.5))
        async with far_server() as far, sessions(settings) as (made, _):
            far.rewrite = lambda sdp: sdp.replace("a=recvonly", "a=inactive")
            session = made.create(
                SPEC, pull=Endpoint(far.whep, TOKEN), push=Endpoint(far.whip, TOKEN)
            )
            await until(session, "push", "failed")
            assert told(session, "push")["last_cause"] == "bad_answer"
            assert told(session, "push")["sent"] is None
            async with viewer(session) as (watching, _):
                await watching.frames(5)
            assert len(far.made) == 1
            assert far.video.total == 0

    async def test_a_fault_ends_a_line_until_its_endpoint_is_replaced(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken(self: Line) -> None:
            raise RuntimeError("unforeseen")

        async with far_server() as far, sessions() as (made, _):
            with monkeypatch.context() as patched:
                patched.setattr(Line, "_try_on", broken)
                session = made.create(SPEC, pull=Endpoint(far.whep, TOKEN))
                await until(session, "pull", "failed")
                assert not session.attended
            await session.set_endpoints({Way.PULL: Endpoint(far.whep, TOKEN)})
            await until(session, "pull", "live")

    async def test_a_session_that_ends_while_it_is_tried(self) -> None:
        settings = SfuSettings(retrying=Retrying(30.0, 30.0, 300.0))
        async with far_server() as far, sessions(settings) as (made, _):
            session = made.create(SPEC, pull=Endpoint(far.url + "/nothing", TOKEN))
            await until(session, "pull", "retrying")
            assert told(session, "pull")["last_cause"] == "not_found"
            assert session.attended
            async with asyncio.timeout(5):
                await made.end(session.id)

    @pytest.mark.parametrize("way", [Way.PULL, Way.PUSH])
    async def test_a_bearer_that_expired_is_replaced(self, way: Way) -> None:
        async with far_server() as far, sessions() as (made, counts):
            session = made.create(
                SPEC, pull=Endpoint(far.whep, TOKEN), push=Endpoint(far.whip, TOKEN)
            )
            await far.frames(5)
            before = session.etag
            # While it is live another bearer changes nothing but the next try.
            url = far.whep if way is Way.PULL else far.whip
            await session.set_endpoints({way: Endpoint(url, "expires")})
            assert session.etag != before
            with pytest.raises(StaleETag):
                await session.set_endpoints({way: Endpoint(far.whip, "x")}, expected=[before])
            await far.frames(5)
            assert far.count("POST") == 2
            await far.stop()
            await until(session, way, "retrying", "connecting", "waiting", "failed")
            far.token = "the-next-bearer"
            await far.start()
            await until(session, "pull", "failed")
            assert told(session, "pull")["last_cause"] == "unauthorized"
            await session.set_endpoints(
                {
                    Way.PULL: Endpoint(far.whep, far.token),
                    Way.PUSH: Endpoint(far.whip, far.token),
                }
            )
            assert session.attended
            await far.frames(5)
            assert all(map(is_green, far.video.frames))
            assert told(session, "push")["state"] == told(session, "pull")["state"] == "live"
            assert counts.raw == 0
            await made.end(session.id)
            assert far.made == {}, "left with the bearer that is good now"
            assert far.asked[-1][2] == f"Bearer {far.token}"

    async def test_another_address_is_gone_to_at_once(self) -> None:
        async with far_server() as far, far_server() as other, sessions() as (made, counts):
            other.token = "of-the-other"
            session = made.create(
                SPEC, pull=Endpoint(far.whep, TOKEN), push=Endpoint(far.whip, TOKEN)
            )
            await far.frames(5)
            await session.set_endpoints({Way.PUSH: Endpoint(other.whip, other.token)})
            await other.frames(5)
            assert all(map(is_green, other.video.frames))
            assert len(far.made) == 1, "what was pushed there was left"
            await session.set_endpoints({Way.PULL: Endpoint(other.whep, other.token)})
            await other.until(lambda: len(other.made) == 2)
            await until(session, "pull", "live")
            await other.frames(5)
            assert far.made == {}
            assert {bearer for _, _, bearer in far.asked} == {f"Bearer {TOKEN}"}
            assert {bearer for _, _, bearer in other.asked} == {"Bearer of-the-other"}
            assert counts.sfu_losses == {}
            assert [kind for kind, _, _ in await kinds(session)] == [
                "pull.live",
                "push.live",
                "push.live",
                "pull.live",
            ]
            assert waits(session) == ["replaced"]
            assert counts.raw == 0

    @pytest.mark.parametrize("in_time", [True, False])
    async def test_a_session_that_ends_while_it_is_answered(
        self, in_time: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("service.session.sfu.LATE_ANSWER_S", 5.0 if in_time else 0.1)
        async with far_server() as far, sessions() as (made, _):
            far.answers.clear()
            session = made.create(SPEC, pull=Endpoint(far.whep, TOKEN))
            await far.until(lambda: len(far.made) == 1)
            ending = asyncio.create_task(made.end(session.id))
            await asyncio.sleep(0.1)
            if in_time:
                far.answers.set()
            async with asyncio.timeout(4):
                await ending
            if in_time:
                assert (far.count("DELETE"), far.made) == (1, {}), "what came late was left"

    async def test_a_push_is_admitted_like_a_viewer(self) -> None:
        cost = CostModel(1.0)
        admission = Admission(quota_cores=1.05, cost=cost, max_sessions=4, planned_share=1.0)
        async with far_server() as far, sessions(admission=admission) as (made, counts):
            with pytest.raises(Refused, match="cpu_budget"):
                made.create(SPEC, push=Endpoint(far.whip, TOKEN))
            assert made.sessions() == []
            assert (admission.sessions, admission.viewers) == (0, 0)
            assert counts.decisions["rejected", "cpu_budget"] == 1
        admission = Admission(quota_cores=4, cost=cost, max_sessions=4, planned_share=1.0)
        async with far_server() as far, sessions(admission=admission) as (made, _):
            session = made.create(SPEC, push=Endpoint(far.whip, TOKEN))
            assert admission.viewers == 1
            await made.end(session.id)
            assert admission.viewers == 0


# What a line does by itself, without media.


class Far:
    """Answers offers as it was told; then with a resource."""

    def __init__(self, *outcomes: Cause | tuple[Cause, int]) -> None:
        self.outcomes = list(outcomes)
        self.left: list[str] = []
        self.opened = 0

    async def open(self, endpoint: Endpoint, offer: str) -> Opened:
        assert (endpoint.url, offer) == ("https://sfu.test/whep", "our offer")
        if self.outcomes:
            outcome = self.outcomes.pop(0)
            cause, after_s = outcome if isinstance(outcome, tuple) else (outcome, 0)
            raise NotOpened(cause, retry_after_s=after_s)
        self.opened += 1
        return Opened("an answer", f"resource {self.opened}")

    async def ice_servers(self, endpoint: Endpoint) -> tuple[()]:
        return ()

    async def leave(self, endpoint: Endpoint, resource: str) -> None:
        self.left.append(resource)


class Stand:
    """A line whose time is told to it, and whose connections end as they are told."""

    def __init__(
        self,
        far: Far,
        *,
        ends: list[str] | None = None,
        give_up_s: float = 60.0,
        way: Way = Way.PULL,
        ready: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.now_s = 0.0
        self.waits: list[float] = []
        self.told: list[tuple[str, dict[str, object]]] = []
        self.counts = Counts()
        self.ends = ends or []
        self.lives_s = 0.0
        self.far = far
        self.line = Line(
            way,
            Endpoint("https://sfu.test/whep", "a bearer"),
            session_id="a-session",
            exchanges=far,
            settings=SfuSettings(retrying=Retrying(1.0, 8.0, give_up_s)),
            counters=self.counts,
            connect=self.connect,
            hang_up=lambda: None,
            ready=ready,
            tell=lambda kind, **details: self.told.append((kind.value, details)),
            clock=lambda: self.now_s,
            chance=lambda: 0.0,
        )

    async def connect(self, exchange: Exchange) -> str:
        assert await exchange.answer("our offer") == "an answer"
        self.line.is_live()
        self.line.is_live()  # said again it says nothing new
        self.now_s += self.lives_s
        return self.ends.pop(0)

    async def run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)
            self.now_s += seconds

        with monkeypatch.context() as patched:
            patched.setattr(self.line, "_pause", sleep)
            await self.line.run()


async def test_what_is_replaced_is_tried_at_once() -> None:
    stand = Stand(Far(Cause.SERVER_ERROR, Cause.UNAUTHORIZED, Cause.REJECTED))
    stand.line._retrying = Retrying(1000.0, 1000.0, 5000.0)
    opened = stand.far.open

    async def refusing(endpoint: Endpoint, offer: str) -> Opened:
        if stand.line.attempts == 2:  # a new bearer comes while the old one is refused
            stand.line.replace(Endpoint(endpoint.url, "a third bearer"))
        return await opened(endpoint, offer)

    stand.far.open = refusing  # type: ignore[method-assign]
    running = asyncio.create_task(stand.line.run())
    async with asyncio.timeout(5):
        while stand.line.describe()["state"] != "retrying":  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0)
        stand.line.replace(Endpoint("https://sfu.test/whep", "another bearer"))
        await running
    assert (stand.line.attempts, stand.line.cause) == (3, Cause.REJECTED)
    assert stand.line.over
    stand.line.replace(Endpoint("https://sfu.test/whep", "a fourth bearer"))
    assert stand.line.describe()["state"] == "connecting"
    await stand.line.replaced()


@pytest.mark.parametrize("cause", list(Cause))
async def test_which_causes_are_final(cause: Cause, monkeypatch: pytest.MonkeyPatch) -> None:
    stand = Stand(Far(cause, Cause.REJECTED))
    await stand.run(monkeypatch)
    assert stand.line.attempts == (1 if cause in FINAL else 2)
    assert stand.line.state is LineState.FAILED
    assert stand.line.over
    assert stand.counts.sfu_attempts["pull", cause] >= 1
    last = cause if cause in FINAL else Cause.REJECTED
    assert stand.told[-1] == ("pull.lost", {"cause": last.value, "retrying": False})


async def test_waits_grow_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    stand = Stand(Far(*[Cause.UNREACHABLE] * 50), give_up_s=60.0)
    await stand.run(monkeypatch)
    assert stand.waits[:5] == [1.0, 2.0, 4.0, 8.0, 8.0]
    assert 60.0 <= stand.now_s < 70.0
    assert [details["retrying"] for _, details in stand.told] == [True, False]


async def test_a_server_asks_to_be_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    stand = Stand(Far((Cause.SERVER_ERROR, 30), Cause.REJECTED))
    await stand.run(monkeypatch)
    assert stand.waits == [30.0]


async def test_what_was_live_begins_anew_and_what_flaps_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand = Stand(Far(), ends=["silent", "left", "failed"])
    stand.far.outcomes = []
    stand.lives_s = 100.0

    async def connect(exchange: Exchange) -> str:
        if not stand.ends:
            raise NotOpened(Cause.UNAUTHORIZED)
        stand.lives_s = 100.0 if len(stand.ends) == 3 else 0.5
        return await stand.connect(exchange)

    stand.line._connect = connect
    await stand.run(monkeypatch)
    assert stand.waits == [1.0, 2.0, 4.0]
    assert stand.far.left == ["resource 1", "resource 2", "resource 3"]
    assert stand.counts.sfu_losses == {
        ("pull", "silent"): 1,
        ("pull", "left"): 1,
        ("pull", "ice_failed"): 1,
    }
    assert [kind for kind, _ in stand.told] == ["pull.live", "pull.lost"] * 3 + ["pull.lost"]
    assert stand.line.describe()["last_cause"] == "unauthorized"


async def test_a_push_that_is_lost_waits_for_video(monkeypatch: pytest.MonkeyPatch) -> None:
    video = asyncio.Event()
    video.set()
    # What ends it is that the session's source went away, as far as the push can see.
    stand = Stand(Far(), ends=["silent"], way=Way.PUSH, ready=video.wait)
    states: list[str] = []

    async def connect(exchange: Exchange) -> str:
        states.append(stand.line.state.value)
        if not stand.ends:
            raise NotOpened(Cause.UNAUTHORIZED)
        cause = await stand.connect(exchange)
        video.clear()
        return cause

    stand.line._connect = connect
    running = asyncio.create_task(stand.run(monkeypatch))
    async with asyncio.timeout(5):
        while stand.waits != [1.0]:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (stand.line.state, stand.line.cause) == (LineState.WAITING, Cause.SILENT)
        assert stand.told == [
            ("push.live", {}),
            ("push.lost", {"cause": "silent", "retrying": True}),
        ]
        stand.now_s += 1000.0  # nothing was tried meanwhile: not given up for it
        video.set()
        await running
    assert states == ["connecting", "connecting"]
    assert stand.line.attempts == 2


async def test_a_fault_is_a_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    stand = Stand(Far(Cause.REJECTED))
    connect = stand.line._connect

    async def broken(exchange: Exchange) -> str:
        stand.line._connect = connect
        raise RuntimeError("unforeseen")

    stand.line._connect = broken
    await stand.run(monkeypatch)
    assert stand.counts.sfu_attempts["pull", "fault"] == 1


async def test_a_fault_of_its_own_is_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    stand = Stand(Far(Cause.UNREACHABLE))

    def tell(kind: object, **details: object) -> None:
        raise RuntimeError("unforeseen")

    stand.line._tell = tell
    with pytest.raises(RuntimeError, match="unforeseen"):
        await stand.run(monkeypatch)
    assert stand.line.over


def test_nothing_secret_is_shown() -> None:
    endpoint = Endpoint("https://sfu.test/whep/secret", "bearer")
    assert repr(endpoint) == "Endpoint()"
    assert "secret" not in repr(Opened("v=0", "https://sfu.test/secret"))
