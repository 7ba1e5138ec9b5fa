"""Gives the memory of ended calls back to the system.

A call's buffers are large and live as long as the call. glibc keeps what is freed between memory
in use, so a process would stay as large as its busiest moment made it, and a little larger each
time.
"""

from __future__ import annotations

import asyncio
import ctypes
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SETTLE_S = 2.0
"""So long after a call's end all that it held is freed; calls that end together are one matter."""


def give_back() -> bool:
    """Return every free page of every heap to the system; whether there were any. Blocks, for
    milliseconds, without the GIL. False where the C library has no such call (it is glibc's,
    malloc_trim(3))."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return False
    return bool(trim(ctypes.c_size_t(0)))


class Returning:
    """Does it once after calls have ended."""

    def __init__(
        self, give_back: Callable[[], object] = give_back, *, settle_s: float = SETTLE_S
    ) -> None:
        self._give_back = give_back
        self._settle_s = settle_s
        self._freed = asyncio.Event()

    def freed(self) -> None:
        """A call has ended."""
        self._freed.set()

    async def run(self) -> None:
        """A task of the server, until it is cancelled."""
        while True:
            await self._freed.wait()
            await asyncio.sleep(self._settle_s)
            self._freed.clear()
            await asyncio.to_thread(self._give_back)
