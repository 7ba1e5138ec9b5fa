"""How many pictures may arrive at once: each is whole in memory until it is decoded.

``service.web.sessions`` takes a place before it reads a byte of a picture. It does not wait for
one: whoever waits holds a connection, and those would need a bound of their own.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from service.web.problems import TOO_MANY_UPLOADS, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_UPLOADS: Final = 4
RETRY_S: Final = 1


class Uploads:
    """The places, one of them at most for each session."""

    def __init__(self) -> None:
        self._session_ids: set[str] = set()

    @contextmanager
    def place(self, session_id: str) -> Iterator[None]:
        """A place for as long as the block runs; raises a 429."""
        if session_id in self._session_ids:
            raise _too_many("a picture for this session is still arriving")
        if len(self._session_ids) >= MAX_UPLOADS:
            raise _too_many(f"{MAX_UPLOADS} pictures are still arriving")
        self._session_ids.add(session_id)
        try:
            yield
        finally:
            self._session_ids.discard(session_id)


def _too_many(detail: str) -> Problem:
    # What is still on its way is not worth reading.
    headers = {"Retry-After": str(RETRY_S), "Connection": "close"}
    return Problem(TOO_MANY_UPLOADS, detail, headers=headers)
