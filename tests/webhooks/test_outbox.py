"""The outbox against real receivers: at least once, in order, bounded, and never in the way."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from service.policy.deliveries import Deliveries, Retrying
from service.session.events import Feed, Kind
from service.webhooks.outbox import Outbox
from tests.running import free_port
from tests.webhooks.platform import Platform, Received, accept, event, receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from service.webhooks.message import Message
    from service.webhooks.receiver import Receiver

QUICK = Retrying(first_s=0.02, longest_s=0.1, give_up_s=60.0)


class Counts(Counter[str]):
    """Outcomes, in place of Prometheus."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()

    def webhook(self, outcome: str, n: int = 1) -> None:
        self[outcome] += n
        self._changed.set()

    async def reach(self, outcome: str, count: int) -> None:
        async with asyncio.timeout(20):
            while self[outcome] < count:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def outbox(
    to: Receiver, *, most: int = 1000, retrying: Retrying = QUICK, at_once: int = 4
) -> AsyncIterator[tuple[Outbox, Counts]]:
    """One that runs."""
    counts = Counts()
    deliveries: Deliveries[Message] = Deliveries(most=most, retrying=retrying, chance=lambda: 0.5)
    out = Outbox(receiver=to, deliveries=deliveries, at_once=at_once, counters=counts)
    running = asyncio.create_task(out.run())
    try:
        yield out, counts
    finally:
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled()


def numbers(platform: Platform, session: str) -> list[int]:
    """Of a session's accepted messages, each once, in the order of the first time."""
    first = {one.id: one for one in reversed(platform.accepted)}
    ids = [one for one in platform.ids() if first[one].data["session_id"] == session]
    return [first[one].data["event_id"] for one in ids]


async def test_everything_arrives_in_order_for_each_session() -> None:
    platform = Platform()
    async with platform.serving() as url, outbox(receiver(url)) as (out, counts):
        for number in range(60):
            out.take(event(number, session=f"s{number % 3}"))
        await platform.until(lambda: len(platform.accepted) == 60)
        for session in range(3):
            assert numbers(platform, f"s{session}") == list(range(session, 60, 3))
        await out.flush(5)
        assert out.waiting == 0
    assert counts == {"delivered": 60}


async def test_a_receiver_that_is_away_for_a_while_misses_nothing() -> None:
    """It is not there, then it fails, hangs and loses answers, and then it is well."""
    port = free_port()
    calls = 0

    async def sick(request: web.Request, received: Received) -> web.StreamResponse:
        nonlocal calls
        calls += 1
        if calls % 4 == 0:
            return web.Response(status=500)
        if calls % 4 == 1:
            await asyncio.sleep(30)
        if calls % 4 == 2:
            # It has the message, and the service never hears of it.
            platform.accepted.append(received)
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=503)

    platform = Platform(sick)
    async with outbox(receiver(f"http://127.0.0.1:{port}/hooks", timeout_s=0.2)) as (out, counts):
        for number in range(40):
            out.take(event(number, session=f"s{number % 4}"))
        await counts.reach("retried", 8)
        async with platform.serving(port):
            await platform.until(lambda: calls >= 20)
        await counts.reach("retried", 40)
        platform.answer = accept
        async with platform.serving(port):
            for number in range(40, 60):
                out.take(event(number, session=f"s{number % 4}"))
            await platform.until(lambda: len(platform.ids()) == 60)
            await out.flush(10)
            assert out.waiting == 0
    assert len(platform.accepted) > 60, "some came twice"
    assert len({one.id for one in platform.accepted}) == 60
    for session in range(4):
        assert numbers(platform, f"s{session}") == list(range(session, 60, 4))
    bodies = {one.id: one.body for one in platform.received}
    assert all(one.body == bodies[one.id] for one in platform.received), "the same each time"
    assert counts["delivered"] == 60
    assert set(counts) == {"delivered", "retried"}


async def test_one_sessions_trouble_is_not_anothers() -> None:
    async def only_two(_: web.Request, received: Received) -> web.StreamResponse:
        return web.Response(status=204 if received.data["session_id"] == "two" else 500)

    platform = Platform(only_two)
    async with platform.serving() as url, outbox(receiver(url), at_once=1) as (out, counts):
        for number in range(20):
            out.take(event(number, session="one" if number % 2 else "two"))
        await platform.until(lambda: len(platform.accepted) == 10)
        assert numbers(platform, "two") == list(range(0, 20, 2))
        tried = {one.data["event_id"] for one in platform.received} - set(range(0, 20, 2))
        assert tried == {1}, "what is behind was not tried before what is in front"
        platform.answer = accept
        await platform.until(lambda: len(platform.accepted) == 20)
        assert numbers(platform, "one") == list(range(1, 20, 2))
        await out.flush(5)
    assert counts["delivered"] == 20


async def test_what_is_too_old_is_given_up_and_counted() -> None:
    async def no(_: web.Request, received: Received) -> web.StreamResponse:
        return web.Response(status=400 if received.data["event_id"] == 1 else 204)

    platform = Platform(no)
    retrying = Retrying(first_s=0.02, longest_s=0.05, give_up_s=0.2)
    async with platform.serving() as url, outbox(receiver(url), retrying=retrying) as (out, counts):
        out.take(event(1))
        out.take(event(2))
        await platform.until(lambda: len(platform.accepted) == 1)
        await out.flush(5)
    assert counts["given_up"] == 1
    assert counts["retried"] >= 3
    assert counts["delivered"] == 1


async def test_410_ends_a_messages_tries() -> None:
    async def gone(_: web.Request, __: Received) -> web.StreamResponse:
        return web.Response(status=410)

    platform = Platform(gone)
    async with platform.serving() as url, outbox(receiver(url)) as (out, counts):
        out.take(event(1))
        out.take(event(2))
        await out.flush(5)
        assert out.waiting == 0
    assert counts == {"unwanted": 2}
    assert len(platform.received) == 2


async def test_the_queue_is_bounded_and_the_oldest_goes(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    slow = Retrying(first_s=30, longest_s=30, give_up_s=60)
    platform = Platform()
    to = receiver(f"http://127.0.0.1:{port}/hooks")
    async with outbox(to, most=100, retrying=slow) as (out, counts):
        for number in range(1000):
            out.take(event(number, session=f"s{number % 7}"))
        assert out.waiting == 100
        assert counts["dropped"] == 900
        await counts.reach("retried", 7)
        async with platform.serving(port):
            await out.flush(10)
            assert out.waiting == 0
    kept = sorted(one.data["event_id"] for one in platform.accepted)
    assert kept == list(range(900, 1000))
    assert counts["delivered"] == 100
    warnings = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert 1 <= len(warnings) <= 2, "not one for each"
    assert not any("session-" in line or "/hooks" in line for line in warnings)


async def test_a_flush_is_bounded_and_what_is_left_is_counted() -> None:
    async def hangs(_: web.Request, __: Received) -> web.StreamResponse:
        await asyncio.sleep(30)
        raise AssertionError

    async with Platform(hangs).serving() as url, outbox(receiver(url)) as (out, counts):
        for number in range(20):
            out.take(event(number))
        await asyncio.wait_for(out.flush(0.3), 5)
        assert out.waiting == 20
    assert counts == {"unsent": 20}


async def test_a_flush_tries_what_waits_for_its_time() -> None:
    port = free_port()
    slow = Retrying(first_s=60, longest_s=60, give_up_s=3600)
    platform = Platform()
    to = receiver(f"http://127.0.0.1:{port}/hooks")
    async with outbox(to, retrying=slow) as (out, counts):
        out.take(event(1))
        out.take(event(2))
        await counts.reach("retried", 1)
        async with platform.serving(port):
            await out.flush(10)
        assert numbers(platform, "session-1") == [1, 2]


async def test_a_fault_of_our_own_costs_a_try(monkeypatch: pytest.MonkeyPatch) -> None:
    platform = Platform()
    async with platform.serving() as url:
        to = receiver(url)
        post, calls = to.post, iter([True, False])

        async def fails(message: Message) -> object:
            if next(calls, False):
                raise RuntimeError("injected")
            return await post(message)

        monkeypatch.setattr(to, "post", fails)
        async with outbox(to) as (out, counts):
            out.take(event(1))
            await out.flush(5)
    assert counts == {"retried": 1, "delivered": 1}


async def test_it_hears_the_feed_and_only_what_a_platform_is_told_of() -> None:
    platform = Platform()
    async with platform.serving() as url, outbox(receiver(url)) as (out, _):
        feed = Feed()
        feed.hook(out.take)
        session = feed.session("one", {"meeting": "42"})
        session.publish(Kind.CREATED, expires_at=1.0, reopened=False)
        session.publish(Kind.PERSON_AWAY, mid="0")
        session.publish(Kind.EFFECT_CHANGED, effect={})
        session.publish(Kind.ENDED, cause="deleted")
        await out.flush(5)
    assert [one.type for one in platform.accepted] == ["session.created", "session.ended"]
    assert platform.accepted[0].data["metadata"] == {"meeting": "42"}
