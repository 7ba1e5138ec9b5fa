"""Answers kept by Idempotency-Key, so that a retried POST opens one session and not two.

After draft-ietf-httpapi-idempotency-key-header: the same key with the same body gets the same
answer, with another body an error.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MAX_ANSWERS: Final = 1024
MAX_KEY_CHARS: Final = 255
KEPT_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer that this key has already had."""

    answer: dict[str, object]


@dataclass(frozen=True, slots=True)
class Fresh:
    """The key is new, or its answer is too old to matter."""


@dataclass(frozen=True, slots=True)
class Reused:
    """The key came with another body before."""


@dataclass(frozen=True, slots=True)
class _Entry:
    body_sha256: bytes
    answer: dict[str, object]
    until: float


class Answers:
    """A bounded memory of answers: the oldest goes first, and none stays for ever."""

    def __init__(self) -> None:
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        # As long as somebody holds or awaits one.
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, caller: str, key: str | None) -> AsyncIterator[None]:
        """One request of a key at a time: a second one waits for what the first one gets."""
        if key is None:
            yield
            return
        turn = self._turns.setdefault((caller, key), asyncio.Lock())
        async with turn:
            yield

    def find(self, caller: str, key: str, body: bytes, *, now: float) -> Kept | Fresh | Reused:
        """What to do with a request; keys of different callers never meet."""
        entry = self._entries.get((caller, key))
        if entry is None or now >= entry.until:
            return Fresh()
        if entry.body_sha256 != hashlib.sha256(body).digest():
            return Reused()
        return Kept(entry.answer)

    def keep(
        self, caller: str, key: str, body: bytes, answer: dict[str, object], *, now: float
    ) -> None:
        """Remembers the answer to a request that succeeded."""
        self._entries.pop((caller, key), None)
        self._entries[caller, key] = _Entry(hashlib.sha256(body).digest(), answer, now + KEPT_S)
        if len(self._entries) > MAX_ANSWERS:
            self._entries.popitem(last=False)
