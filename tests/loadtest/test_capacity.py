"""The search for the largest number, with made-up servers on a machine that errs."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.capacity import Found, largest


class Oracle:
    """A server that has room for so many, on a machine that now and then has not."""

    def __init__(self, room: int, *, hiccups: frozenset[int] = frozenset()) -> None:
        self.room = room
        self.tried: list[int] = []
        self._hiccups = hiccups

    async def __call__(self, sessions: int) -> bool:
        self.tried.append(sessions)
        return sessions <= self.room and len(self.tried) not in self._hiccups


@given(room=st.integers(0, 80), start=st.integers(1, 80), most=st.integers(1, 80))
async def test_it_finds_what_there_is(room: int, start: int, most: int) -> None:
    oracle = Oracle(room)
    found = await largest(oracle, start=min(start, most), most=most)
    assert found == Found(min(room, most), bounded=room < most)
    assert max(oracle.tried) <= most
    assert min(oracle.tried) >= 1


async def test_it_doubles_and_then_halves() -> None:
    oracle = Oracle(6)
    assert await largest(oracle, start=1, most=64) == Found(6, bounded=True)
    assert oracle.tried == [1, 2, 4, 8, 8, 6, 7, 7]


@given(room=st.integers(1, 40), hiccup=st.integers(1, 12))
async def test_one_hiccup_changes_nothing(room: int, hiccup: int) -> None:
    oracle = Oracle(room, hiccups=frozenset({hiccup}))
    assert (await largest(oracle, start=1, most=64)).largest == room


@given(seed=st.integers(0, 10_000))
async def test_a_noisy_machine_never_gives_too_much(seed: int) -> None:
    chance = random.Random(seed)
    oracle = Oracle(9, hiccups=frozenset(n for n in range(1, 60) if chance.random() < 0.3))
    found = await largest(oracle, start=1, most=64)
    assert found.largest <= 9
    assert len(oracle.tried) < 20


async def test_an_error_ends_the_search() -> None:
    async def broken(_: int) -> bool:
        raise OSError("no server")

    with pytest.raises(OSError, match="no server"):
        await largest(broken, start=1, most=4)
