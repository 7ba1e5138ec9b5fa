"""Answers kept by Idempotency-Key, so that a retried POST opens one session and not two.

After draft-ietf-httpapi-idempotency-key-header: the same key with the same body gets the same
answer, with another body an error.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

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
