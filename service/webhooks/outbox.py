"""Delivers events to the platform: at least once, in order for each session, and beside the media.

`take` is called with every event and keeps what a platform is told of; a task of the application
runs `run`. service/policy/deliveries.py says what is tried when. Messages are in memory: those that
still wait when the process ends are lost, and counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from service.webhooks.message import KINDS, Message
from service.webhooks.receiver import Delivered, Failed, Unwanted

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.policy.deliveries import Deliveries, Delivery
    from service.session.events import Event
    from service.webhooks.receiver import Receiver

logger = logging.getLogger(__name__)

LOG_INTERVAL_S: Final = 10.0


class DeliveryCounters(Protocol):
    """Where outcomes are counted."""

    def webhook(self, outcome: str, n: int = 1) -> None: ...


class Outbox:
    """What is to be delivered, and the deliveries that are under way."""

    def __init__(
        self,
        *,
        receiver: Receiver,
        deliveries: Deliveries[Message],
        at_once: int,
        counters: DeliveryCounters,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`at_once`: so many messages are under way together."""
        self._receiver = receiver
        self._deliveries = deliveries
        self._at_once = at_once
        self._counters = counters
        self._clock = clock
        self._under_way = 0
        self._failing = False
        self._logged_s = float("-inf")
        self._woken = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def waiting(self) -> int:
        """How many messages have not arrived yet. From any thread."""
        return len(self._deliveries)

    def take(self, event: Event) -> None:
        """A hook of the feed: neither waits nor raises."""
        if event.kind not in KINDS:
            return
        dropped = self._deliveries.add(event.session_id, Message.of(event), now_s=self._clock())
        if dropped is not None:
            self._count("dropped", "the queue is full, and the oldest message went")
        self._empty.clear()
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with self._receiver, asyncio.TaskGroup() as group:
                while True:
                    while self._under_way < self._at_once and (
                        delivery := self._deliveries.take(self._clock())
                    ):
                        self._under_way += 1
                        group.create_task(self._deliver(delivery))
                    self._woken.clear()
                    await self._wait()
        finally:
            if self.waiting:
                self._counters.webhook("unsent", self.waiting)
                logger.warning("webhooks: %d messages were never delivered", self.waiting)

    async def flush(self, timeout_s: float) -> None:
        """Try everything now, until all has arrived or the time is over."""
        self._deliveries.hurry(self._clock())
        self._woken.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()

    async def _wait(self) -> None:
        """Until something may be due, or a place is free."""
        due_s = self._deliveries.due_s()
        # Where all places are taken, one that gets free wakes.
        timed = due_s is not None and self._under_way < self._at_once
        wait_s = max(0.0, due_s - self._clock()) if timed and due_s is not None else None
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._woken.wait()

    async def _deliver(self, delivery: Delivery[Message]) -> None:
        try:
            answer = await self._receiver.post(delivery.value)
        except Exception:
            logger.exception("webhooks: a message could not be sent")
            answer = Failed("a fault of the service")
        finally:
            self._under_way -= 1
        now_s = self._clock()
        match answer:
            case Delivered():
                self._deliveries.done(delivery, now_s=now_s)
                self._counters.webhook("delivered")
                self._recovered()
            case Unwanted():
                self._deliveries.done(delivery, now_s=now_s)
                self._count("unwanted", "the receiver wants the message no more (410)")
            case Failed():
                again = self._deliveries.failed(delivery, now_s=now_s, least_s=answer.retry_after_s)
                self._failing = True
                self._count("retried" if again else "given_up", answer.why)
        if not self.waiting:
            self._empty.set()
        self._woken.set()

    def _recovered(self) -> None:
        if self._failing:
            self._failing = False
            logger.info("webhooks: delivered again, %d wait", self.waiting)

    def _count(self, outcome: str, why: str) -> None:
        """Something went wrong; the log hears of it now and then."""
        self._counters.webhook(outcome)
        if self._clock() - self._logged_s >= LOG_INTERVAL_S:
            self._logged_s = self._clock()
            logger.warning("webhooks: %s: %s; %d wait", outcome, why, self.waiting)
