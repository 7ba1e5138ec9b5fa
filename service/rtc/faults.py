"""What a track or a viewer says in the log of frames that it lost: a line a second for each cause.

Frames come thirty times a second, and so does a fault that does not go away. The log's own filter
(logs.OncePerCause) holds all sessions together to one line a second of a cause; this one keeps a
single track from making records, with their stack, that would only be thrown away. A cause is the
same there and here: the words, and the kind of exception. So the words name the part, and one
fault does not hide another.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

INTERVAL_S: Final = 1.0


class FaultLog:
    """Of one track or viewer; called from its worker's thread and from the event loop."""

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        # When a line was last written, by its words and kind of exception: the words are those of
        # the code, so there are few.
        self._written_s: dict[tuple[str, str], float] = {}

    def fault(self, words: str) -> None:
        """The exception being handled is a mistake of the service: an error, with its traceback."""
        if self._due(words):
            self._logger.error(words, exc_info=sys.exception())

    def warn(self, words: str, *values: object) -> None:
        """What a peer can be the cause of, or what has no exception: without a traceback."""
        if self._due(words):
            self._logger.warning(words, *values)

    def _due(self, words: str) -> bool:
        exception = sys.exception()
        cause = words, "" if exception is None else type(exception).__name__
        now_s = self._clock()
        if now_s - self._written_s.get(cause, float("-inf")) < INTERVAL_S:
            return False
        self._written_s[cause] = now_s
        return True
