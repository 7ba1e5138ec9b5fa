"""A receiver that is down and comes back, as processes: nothing is lost that the queue can hold.

In seconds; `python -m tests.webhooks.outage --seconds 60` is the same for a whole minute.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import Counter
from typing import TYPE_CHECKING

import aioice.ice
import pytest

from tests.webhooks.outage import outage, pair
from tests.webhooks.platform import OTHER_SECRET, SECRET, written
from tests.webhooks.standing import holds

if TYPE_CHECKING:
    from pathlib import Path

QUEUE = 64
"""The smallest that may be set."""


@pytest.fixture(autouse=True)
def clients_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


def test_the_receiver_refuses_what_is_not_signed() -> None:
    """The checker itself, against the example of a signature in words: an HMAC over three parts."""
    signed = base64.b64encode(hmac.digest(SECRET, b"msg_1.1000.{}", hashlib.sha256)).decode()
    headers: dict[str, str | None] = {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1000",
        "webhook-signature": f"v1,AAAA v1,{signed}",
    }
    secret = written(SECRET)
    assert holds(secret, headers, b"{}", now_s=1299)
    assert not holds(secret, headers, b"{}", now_s=1301), "too old"
    assert not holds(secret, headers, b"{ }", now_s=1000)
    assert not holds(written(OTHER_SECRET), headers, b"{}", now_s=1000)
    assert not holds(secret, headers | {"webhook-id": "msg_2"}, b"{}", now_s=1000)
    assert not holds(secret, headers | {"webhook-timestamp": "1001"}, b"{}", now_s=1000)
    assert not holds(secret, headers | {"webhook-signature": None}, b"{}", now_s=1000)


@pytest.mark.model
@pytest.mark.peer
async def test_it_hears_of_all_that_happened_while_it_was_down(tmp_path: Path) -> None:
    outcome = await outage(
        4.0, tmp_path, every_s=0.1, WEBHOOK_RETRY_S="0.1", WEBHOOK_RETRY_MAX_S="0.4"
    )
    outcome.check()
    figures = outcome.figures()
    assert set(outcome.arrived()) == set(outcome.told), figures
    assert outcome.live >= 1, figures
    answers = Counter(one["status"] for one in outcome.requests)
    assert answers[503] > 0, figures
    assert answers[0] > 0, "answers were lost, so that some came twice"
    assert figures["came_twice"], figures
    assert outcome.deliveries["retried"] > answers[503], "connections were refused too"
    assert outcome.deliveries["delivered"] == len(outcome.told)
    for lost in ("dropped", "given_up", "unwanted", "unsent"):
        assert outcome.deliveries[lost] == 0, figures


@pytest.mark.model
@pytest.mark.peer
async def test_what_the_queue_cannot_hold_is_counted(tmp_path: Path) -> None:
    """The oldest go, one for each that is too many; what is left arrives as ever."""
    outcome = await outage(
        5.0,
        tmp_path,
        every_s=0.04,
        WEBHOOK_QUEUE=str(QUEUE),
        WEBHOOK_RETRY_S="0.1",
        WEBHOOK_RETRY_MAX_S="0.4",
    )
    outcome.check()
    figures = outcome.figures()
    lost = set(outcome.told) - set(outcome.arrived())
    assert QUEUE * 0.9 <= outcome.most_waiting <= QUEUE, figures
    assert len(lost) > 0, figures
    # One whose answer was lost may be dropped before it comes again: the receiver has it anyhow.
    answered = {pair(one) for one in outcome.requests if one["status"] not in (0, 503)}
    assert outcome.deliveries["dropped"] == len(outcome.told) - len(answered), figures
    assert outcome.deliveries["delivered"] == len(answered), figures
    # Whatever came after the last drop is there: the newest of all that was told while it was down.
    assert not lost & set(outcome.told[-QUEUE // 2 :]), figures
