"""The data channel `backcloth`: text messages in and out, bounded both ways.

peer.py makes one for each channel that a peer opens under this name and hands it to whoever talks
over it (service/web/control.py). What a peer sends too fast or without being asked to is dropped;
a peer that does not read what it is sent loses the channel. Media knows nothing of either.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from service.rtc.sctp import MAX_MESSAGE_BYTES, Budget

if TYPE_CHECKING:
    from aiortc import RTCDataChannel

LABEL: Final = "backcloth"
MESSAGES_PER_S: Final = 60.0
"""A slider that is dragged changes the effect with every picture of the screen."""
MESSAGES_AT_ONCE: Final = 120.0
MAX_WAITING_MESSAGES: Final = 40
"""Received, and not handled yet."""
MAX_UNSENT_BYTES: Final = 128 * 1024
"""Queued for a peer that does not read; a session's JSON has about 2 KiB."""


class Dropped:
    """In the place of messages that came faster than they may."""


class Channel:
    """One open channel of a peer."""

    def __init__(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        self._budget = Budget(MESSAGES_PER_S, MESSAGES_AT_ONCE)
        self._waiting: deque[str | Dropped] = deque()
        self._woken = asyncio.Event()
        channel.on("message", self._received)
        channel.on("close", self._woken.set)

    @property
    def open(self) -> bool:
        """Whether a message may still get through."""
        return bool(self._channel.readyState == "open")

    async def receive(self) -> str | Dropped | None:
        """The next message, of MAX_MESSAGE_BYTES at most; None once the channel is closed."""
        while not self._waiting:
            if not self.open:
                return None
            self._woken.clear()
            await self._woken.wait()
        return self._waiting.popleft()

    def send(self, text: str) -> bool:
        """Queue a message; False where the channel is closed, or is closed now because the peer
        does not read."""
        if not self.open:
            return False
        if self._channel.bufferedAmount > MAX_UNSENT_BYTES:
            self.close()
            return False
        try:
            self._channel.send(text)
        except ValueError:
            return False  # longer than the peer says that it takes
        return True

    def close(self) -> None:
        """Nothing more goes either way; harmless when it is closed already."""
        self._channel.close()
        self._woken.set()

    def _received(self, message: str | bytes) -> None:
        within = self._budget.take(time.monotonic())
        is_text = isinstance(message, str) and len(message) <= MAX_MESSAGE_BYTES
        if within and is_text and len(self._waiting) < MAX_WAITING_MESSAGES:
            assert isinstance(message, str)
            self._waiting.append(message)
        elif not self._waiting or not isinstance(self._waiting[-1], Dropped):
            self._waiting.append(Dropped())
        self._woken.set()
