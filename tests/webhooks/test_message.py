"""Messages by Standard Webhooks: known answers, the published verifier, two secrets at once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from service.session.events import Event, Kind
from service.webhooks.message import KINDS, Message, Signer
from tests.webhooks.platform import OTHER_SECRET, SECRET, event

NOW = 1_731_705_121.9


def test_the_body_is_the_same_each_time_and_tells_whose_it_is() -> None:
    message = Message.of(event(7, kind=Kind.ENDED))
    assert message.body() == message.body()
    assert json.loads(message.body()) == {
        "type": "session.ended",
        "timestamp": "2027-01-15T08:00:00.500Z",
        "data": {
            "event_id": 7,
            "cause": "x",
            "session_id": "session-1",
            "metadata": {"meeting": "42\r\nX: y"},
        },
    }
    assert message.body().isascii()


def test_a_details_name_does_not_hide_another() -> None:
    told = Event(7, Kind.ERROR, 1.0, "0", {"code": "frames"}, "one")
    assert json.loads(Message.of(told).body())["data"] == {
        "event_id": 7,
        "mid": "0",
        "code": "frames",
        "session_id": "one",
        "metadata": {},
    }


def test_ids_are_new_and_have_no_dot() -> None:
    ids = {Message.of(event(1)).id for _ in range(100)}
    assert len(ids) == 100
    assert all(one.startswith("msg_") and "." not in one and one.isascii() for one in ids)


def test_signatures_are_those_of_the_specification() -> None:
    """Its formula, by hand: base64(HMAC-SHA256(secret, id.timestamp.body))."""
    headers = Signer([SECRET, OTHER_SECRET]).headers("msg_1", b'{"a":1}', now=NOW)
    assert headers["webhook-id"] == "msg_1"
    assert headers["webhook-timestamp"] == "1731705121"
    assert headers["webhook-signature"].split(" ") == [
        "v1,"
        + base64.b64encode(
            hmac.digest(secret, b'msg_1.1731705121.{"a":1}', hashlib.sha256)
        ).decode()
        for secret in (SECRET, OTHER_SECRET)
    ]


@pytest.mark.parametrize("secret", [SECRET, OTHER_SECRET])
def test_either_of_two_secrets_verifies_while_they_are_exchanged(secret: bytes) -> None:
    message = Message.of(event(1))
    body = message.body()
    headers = Signer([SECRET, OTHER_SECRET]).headers(message.id, body, now=time.time())
    assert Webhook(secret).verify(body, dict(headers))["type"] == "session.live"
    for changed in (body + b" ", body.replace(b"42", b"43")):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(changed, dict(headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(b"x" * 32).verify(body, dict(headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, {**headers, "webhook-id": "msg_other"})


def test_no_header_has_anything_of_the_session() -> None:
    message = Message.of(event(1, session="s\r\nX-Injected: 1"))
    headers = Signer([SECRET]).headers(message.id, message.body(), now=NOW)
    assert set(headers) == {
        "Content-Type",
        "User-Agent",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    }
    assert all(value.isprintable() and "Injected" not in value for value in headers.values())


def test_a_platform_is_not_told_who_is_in_view() -> None:
    assert {kind for kind in Kind if kind not in KINDS} == {
        Kind.EFFECT_CHANGED,
        Kind.PERSON_AWAY,
        Kind.PERSON_BACK,
    }
