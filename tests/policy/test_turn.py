"""Credentials of a shared secret, as coturn makes them."""

from __future__ import annotations

import base64
import hashlib
import hmac

from service.policy.turn import TurnLender

NOW = 1_800_000_000.25
LENDER = TurnLender("north-south-east-west", longest_s=3600)


def test_the_username_is_the_end_and_the_password_its_mac() -> None:
    lent = LENDER.lend("k3V9aQ", now=NOW)
    assert lent.username == "1800003601:k3V9aQ"
    mac = hmac.new(b"north-south-east-west", lent.username.encode(), hashlib.sha1).digest()
    assert base64.b64decode(lent.password) == mac
    # openssl dgst -sha1 -hmac north-south-east-west -binary, of that username, in base64.
    assert lent.password == "wZn56UzHkuh8RiccFfPymPl5HTs="


def test_it_ends_with_what_it_is_for_and_never_later_than_allowed() -> None:
    assert LENDER.lend("a", now=NOW, until=NOW + 60).username == "1800000061:a"
    assert LENDER.lend("a", now=NOW, until=NOW + 7200).username == "1800003601:a"


def test_another_name_time_or_secret_is_another_password() -> None:
    lent = {
        LENDER.lend("a", now=NOW).password,
        LENDER.lend("b", now=NOW).password,
        LENDER.lend("a", now=NOW + 1).password,
        TurnLender("south-north-east-west", longest_s=3600).lend("a", now=NOW).password,
    }
    assert len(lent) == 4
