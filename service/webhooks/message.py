"""An event as a message by Standard Webhooks (standardwebhooks.com, specification 1.0).

A message has an id that stays the same however often it is sent, a body that does too, and
signatures over id, time of sending and body: one by each secret, so that a receiver that knows
either of two can check it while they are exchanged.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from standardwebhooks import Webhook

from service.session.events import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from service.session.events import Event

KINDS: Final = frozenset(
    {
        Kind.CREATED,
        Kind.LIVE,
        Kind.WAITING,
        Kind.MOVE,
        Kind.ENDED,
        Kind.QUALITY_LOWERED,
        Kind.QUALITY_RESTORED,
        Kind.PULL_LIVE,
        Kind.PULL_LOST,
        Kind.PUSH_LIVE,
        Kind.PUSH_LOST,
        Kind.ERROR,
    }
)
"""What a platform is told of; docs/api.md lists them."""
MEDIA_TYPE: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Message:
    """One event on its way, with the id by which its receiver knows it again."""

    id: str
    event: Event

    @classmethod
    def of(cls, event: Event) -> Message:
        # No dot: the signed text is joined by them.
        return cls(f"msg_{secrets.token_urlsafe(16)}", event)

    def body(self) -> bytes:
        """JSON; the same each time. ASCII; 0.3 KB, and 2.4 KB with the most metadata."""
        event = self.event
        told = event.as_feed_json()
        data = {name: value for name, value in told.items() if name not in ("type", "at", "id")}
        at = datetime.fromtimestamp(event.at, UTC).isoformat(timespec="milliseconds")
        message = {
            "type": event.kind.value,
            "timestamp": at.replace("+00:00", "Z"),
            "data": {"event_id": event.id, **data},
        }
        return json.dumps(message, separators=(",", ":")).encode()


class Signer:
    """Signs messages with every secret there is."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._webhooks = tuple(Webhook(secret) for secret in secrets)

    def headers(self, message_id: str, body: bytes, *, now: float) -> Mapping[str, str]:
        """All that a request carries; `now` is in unix seconds. Nothing in here comes from a
        session, so nothing that a caller wrote can become a header."""
        at = datetime.fromtimestamp(int(now), UTC)
        text = body.decode()
        signatures = [webhook.sign(message_id, at, text) for webhook in self._webhooks]
        return {
            "Content-Type": MEDIA_TYPE,
            "User-Agent": "backcloth",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": " ".join(signatures),
        }
