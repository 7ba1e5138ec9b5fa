"""Decoding films for sessions: one at a time, beside everything else, within the server's memory.

A film is decoded in a thread of its own that gives way to the frames of calls. What is kept of all
sessions' films together is bounded; a film counts as long as anybody still plays it.
"""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final
from weakref import WeakSet

from service.errors import Refused
from service.frame.film import MEMORY_BYTES, Film, decode_film

TOTAL_BYTES: Final = 512 * 1024 * 1024
LEAST_BYTES: Final = 8 * 1024 * 1024
"""Less than this is no room for a film."""
FULL: Final = "film_memory"
"""Why there is no room: the word of the problem."""
RETRY_S: Final = 60
NICENESS: Final = 10


class Films:
    """Of one process."""

    def __init__(self, total_bytes: int = TOTAL_BYTES) -> None:
        self._total_bytes = total_bytes
        self._kept: WeakSet[Film] = WeakSet()
        # One at a time: a film's frames are large, and decoding takes a whole core.
        self._lock = asyncio.Lock()

    @property
    def nbytes(self) -> int:
        """Of all films that are in use."""
        return sum(film.nbytes for film in self._kept)

    async def decode(self, data: bytes, *, max_bytes: int, longest_px: int) -> Film:
        """Raises PictureError, or Refused where there is no memory for another film."""
        async with self._lock:
            memory_bytes = min(MEMORY_BYTES, self._total_bytes - self.nbytes)
            if memory_bytes < LEAST_BYTES:
                raise Refused(FULL, RETRY_S)
            work = partial(
                decode_film,
                data,
                max_bytes=max_bytes,
                longest_px=longest_px,
                memory_bytes=memory_bytes,
            )
            thread = ThreadPoolExecutor(1, "film", initializer=_give_way)
            try:
                film = await asyncio.get_running_loop().run_in_executor(thread, work)
            finally:
                thread.shutdown(wait=False)  # it ends by itself, within film.DECODE_S
            self._kept.add(film)
            return film


def _give_way() -> None:
    """On Linux a thread has a niceness of its own; elsewhere it is as it is. A service that was
    started with more of it keeps that: it may not be allowed to have less."""
    if hasattr(os, "setpriority") and os.uname().sysname == "Linux":
        thread = threading.get_native_id()
        niceness = max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread))
        os.setpriority(os.PRIO_PROCESS, thread, niceness)
