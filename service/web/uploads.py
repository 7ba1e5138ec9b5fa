"""How many pictures may arrive at once: each is whole in memory until it is decoded.

``service.web.sessions`` and ``backgrounds`` take a place before they read a byte of a picture. They
do not wait for one: whoever waits holds a connection, and those would need a bound of their own.
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
    """The places, one of them at most for each address that a picture is put to."""

    def __init__(self) -> None:
        self._paths: set[str] = set()

    @contextmanager
    def place(self, path: str) -> Iterator[None]:
        """A place for as long as the block runs; raises a 429."""
        if path in self._paths:
            raise _too_many("another picture for this address is still arriving")
        if len(self._paths) >= MAX_UPLOADS:
            raise _too_many(f"{MAX_UPLOADS} pictures are still arriving")
        self._paths.add(path)
        try:
            yield
        finally:
            self._paths.discard(path)


def _too_many(detail: str) -> Problem:
    # What is still on its way is not worth reading.
    headers = {"Retry-After": str(RETRY_S), "Connection": "close"}
    return Problem(TOO_MANY_UPLOADS, detail, headers=headers)
