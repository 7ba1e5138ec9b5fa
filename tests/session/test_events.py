"""What listeners hear: everything in order, within bounds, and why it ends."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.session.events import (
    EVENTS_KEPT,
    FEED_KEPT,
    QUEUE_EVENTS,
    Closing,
    Event,
    Events,
    Feed,
    Kind,
    Listener,
)
from service.webhooks.message import KINDS

NOW = 1_800_000_000.25


class Clock:
    """Unix time that the test turns."""

    def __init__(self) -> None:
        self.now_s = NOW

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def events(clock: Clock) -> Events:
    return Events(now=clock)


async def heard(listener: Listener) -> list[Event]:
    """What waits for it."""
    found: list[Event] = []
    while True:
        try:
            async with asyncio.timeout(0):
                told = await listener.next()
        except TimeoutError:
            return found
        if isinstance(told, Closing):
            return found
        found.append(told)


async def test_what_happens_is_told_in_order(events: Events, clock: Clock) -> None:
    listener = events.listen()
    events.publish(Kind.LIVE)
    clock.now_s += 1.5
    events.publish(Kind.PERSON_AWAY, mid="0")
    events.publish(Kind.EFFECT_CHANGED, effect={"type": "none"})
    assert [event.as_json() for event in await heard(listener)] == [
        {"id": 1_800_000_000_250, "type": "session.live", "at": NOW},
        {"id": 1_800_000_001_750, "type": "person.away", "at": NOW + 1.5, "mid": "0"},
        {
            "id": 1_800_000_001_751,
            "type": "effect.changed",
            "at": NOW + 1.5,
            "effect": {"type": "none"},
        },
    ]


async def test_one_that_waits_is_woken(events: Events) -> None:
    listener = events.listen()
    waiting = asyncio.create_task(listener.next())
    await asyncio.sleep(0)
    assert not waiting.done()
    events.publish(Kind.LIVE)
    told = await waiting
    assert isinstance(told, Event)
    assert told.kind is Kind.LIVE


async def test_no_event_is_lost_where_a_wait_is_cancelled(events: Events) -> None:
    listener = events.listen()
    waiting = asyncio.create_task(listener.next())
    await asyncio.sleep(0)
    events.publish(Kind.LIVE)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [event.kind for event in await heard(listener)] == [Kind.LIVE]


async def test_what_is_kept_is_heard_again_from_an_id_on(events: Events) -> None:
    for kind in (Kind.LIVE, Kind.PERSON_AWAY, Kind.PERSON_BACK):
        events.publish(kind)
    everything = await heard(events.listen(0))
    assert [event.kind for event in everything] == [Kind.LIVE, Kind.PERSON_AWAY, Kind.PERSON_BACK]
    since = events.listen(everything[0].id)
    assert not since.missed
    assert await heard(since) == everything[1:]
    assert await heard(events.listen(everything[-1].id)) == []
    assert await heard(events.listen()) == []


async def test_only_the_newest_are_kept_and_a_gap_is_told(events: Events) -> None:
    for _ in range(EVENTS_KEPT + 2):
        events.publish(Kind.LIVE)
    listener = events.listen(0)
    assert listener.missed
    kept = await heard(listener)
    assert len(kept) == EVENTS_KEPT
    # The last one that is gone: whoever knows it has missed nothing.
    assert not events.listen(kept[0].id - 1).missed
    assert events.listen(kept[0].id - 2).missed
    assert not events.listen().missed


async def test_one_that_does_not_keep_up_is_cut_off_and_the_others_are_not(
    events: Events,
) -> None:
    slow, quick = events.listen(), events.listen()
    for _ in range(QUEUE_EVENTS + 1):
        events.publish(Kind.LIVE)
        assert isinstance(await quick.next(), Event)
    events.publish(Kind.LIVE)
    assert len(await heard(slow)) == QUEUE_EVENTS
    assert await slow.next() is Closing.TOO_SLOW
    assert isinstance(await quick.next(), Event)


async def test_what_is_heard_again_does_not_count_as_falling_behind(events: Events) -> None:
    for _ in range(EVENTS_KEPT):
        events.publish(Kind.LIVE)
    listener = events.listen(0)
    events.publish(Kind.PERSON_AWAY)
    told = await heard(listener)
    assert len(told) == EVENTS_KEPT + 1
    assert told[-1].kind is Kind.PERSON_AWAY


async def test_the_end_comes_after_the_last_event(events: Events) -> None:
    listener = events.listen()
    events.publish(Kind.ENDED, cause="deleted")
    events.close()
    last = await listener.next()
    assert isinstance(last, Event)
    assert last.as_json()["cause"] == "deleted"
    assert await listener.next() is Closing.ENDED
    assert await listener.next() is Closing.ENDED
    late = events.listen(0)
    assert isinstance(await late.next(), Event)
    assert await late.next() is Closing.ENDED


async def test_one_that_left_hears_nothing_more(events: Events) -> None:
    listener = events.listen()
    events.leave(listener)
    events.publish(Kind.LIVE)
    assert await listener.next() is Closing.LEFT
    events.leave(listener)


@given(st.lists(st.floats(-2, 2), max_size=200))
def test_ids_grow_whatever_the_clock_does_and_on_the_next_server_too(steps: list[float]) -> None:
    clock = Clock()
    first = Events(now=clock)
    for step in steps:
        clock.now_s += step
        first.publish(Kind.EFFECT_CHANGED)
    ids = [event.id for event in first._kept]
    assert ids == sorted(set(ids))
    # Nobody opens it again faster than its events came.
    clock.now_s = max(clock.now_s, (ids[-1] / 1000) if ids else 0) + 1
    second = Events(now=clock)
    second.publish(Kind.LIVE)
    assert all(event.id < second._last_id for event in first._kept)


async def test_the_feed_tells_of_all_sessions_with_the_same_ids(clock: Clock) -> None:
    feed = Feed(now=clock)
    hooked: list[Event] = []
    feed.hook(hooked.append)
    one, two = feed.session("one", {"meeting": "42"}), feed.session("two", {})
    listener, alone = feed.listen(), one.listen()
    one.publish(Kind.LIVE)
    two.publish(Kind.LIVE)
    one.publish(Kind.PERSON_AWAY, mid="0")
    one.close()
    two.publish(Kind.ENDED, cause="deleted")
    everything = await heard(listener)
    assert everything == hooked
    assert [event.session_id for event in everything] == ["one", "two", "one", "two"]
    assert [event.id for event in everything] == sorted({event.id for event in everything})
    assert await heard(alone) == [everything[0], everything[2]]
    assert await alone.next() is Closing.ENDED
    assert everything[2].as_feed_json() == {
        **everything[2].as_json(),
        "session_id": "one",
        "metadata": {"meeting": "42"},
    }
    assert "session_id" not in everything[2].as_json()
    assert await heard(feed.listen(everything[1].id)) == everything[2:]


async def test_the_feed_is_bounded_and_says_what_it_does_not_know(clock: Clock) -> None:
    feed = Feed(now=clock)
    began = int(NOW * 1000)
    assert feed.listen(began - 1).missed, "of before its start"
    assert not feed.listen(0).missed
    assert not feed.listen().missed
    session = feed.session("one", {})
    slow = feed.listen()
    for _ in range(FEED_KEPT + 2):
        session.publish(Kind.LIVE)
    kept = await heard(feed.listen(0))
    assert len(kept) == FEED_KEPT
    assert feed.listen(0).missed
    assert not feed.listen(kept[0].id - 1).missed
    assert len(await heard(slow)) == FEED_KEPT
    assert await slow.next() is Closing.TOO_SLOW


def test_the_documents_have_every_kind() -> None:
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    table = text.partition("\n## Events\n")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| (`[^|]+`) \|", table, re.MULTILINE)
    listed = [kind for row in rows for kind in re.findall(r"`([^`]+)`", row)]
    assert sorted(listed) == sorted([*(kind.value for kind in Kind), "events.missed"])
    told_of = text.partition("\nTold of are ")[2].partition("; `data` has")[0]
    assert sorted(re.findall(r"`([^`]+)`", told_of)) == sorted(kind.value for kind in KINDS)
