"""Failed logins: bounded, forgotten in time, and no trap for whoever has the right key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.policy.logins import BURST, MAX_ADDRESSES, REFILL_S, TRUSTED_S, FailedLogins, site


def test_a_burst_may_fail_and_then_one_every_few_seconds() -> None:
    logins = FailedLogins()
    for _ in range(BURST):
        assert logins.wait_s("192.0.2.1", now_s=0) == 0
        logins.failed("192.0.2.1", now_s=0)
    wait = logins.wait_s("192.0.2.1", now_s=0)
    assert wait == REFILL_S
    assert logins.wait_s("192.0.2.1", now_s=wait) == 0
    logins.failed("192.0.2.1", now_s=wait)
    assert logins.wait_s("192.0.2.1", now_s=wait) == REFILL_S
    assert logins.wait_s("192.0.2.2", now_s=0) == 0


@given(st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_never_more_than_the_rate_in_the_long_run(gaps: list[float]) -> None:
    logins, now_s, failed = FailedLogins(), 0.0, 0
    for gap in gaps:
        now_s += gap
        if not logins.wait_s("192.0.2.1", now_s=now_s):
            logins.failed("192.0.2.1", now_s=now_s)
            failed += 1
    assert failed <= BURST + 1 + now_s / REFILL_S


def test_the_table_is_bounded() -> None:
    logins = FailedLogins()
    for number in range(MAX_ADDRESSES + 10):
        address = f"198.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        logins.failed(address, now_s=0)
        logins.good(address, "key", now_s=0)
    assert len(logins) == MAX_ADDRESSES
    assert not logins.trusts("198.0.0.0", "key", now_s=1)
    assert logins.trusts("198.0.16.0", "key", now_s=1)


def test_a_key_is_trusted_where_it_was_good() -> None:
    logins = FailedLogins()
    logins.good("192.0.2.1", "key", now_s=0)
    assert logins.trusts("192.0.2.1", "key", now_s=TRUSTED_S - 1)
    assert not logins.trusts("192.0.2.1", "key", now_s=TRUSTED_S)
    assert not logins.trusts("192.0.2.1", "another", now_s=0)
    assert not logins.trusts("192.0.2.2", "key", now_s=0)


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("x" * 100, "x" * 64),
    ],
)
def test_what_counts_as_one_client(address: str, counted: str) -> None:
    assert site(address) == counted
