"""Which server an id names, and which hops are good."""

from __future__ import annotations

import ipaddress
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.policy.fleet import (
    HOP_LIFE_S,
    TAG_CHARS,
    Asked,
    Fleet,
    HopError,
    HopMisled,
    Member,
    place_of,
)

SECRET, NEXT_SECRET = b"s" * 32, b"n" * 32
NOW = 1_800_000_000.5
MEMBERS = [Member("http", f"10.0.0.{number}", 8080, "pods") for number in range(1, 5)]
ASKED = Asked("GET", "/v1/sessions/abc?x=1", "Bearer key")


def fleet(number: int, *secrets: bytes) -> Fleet:
    """As the member of that number sees it."""
    return Fleet(secrets or (SECRET,), MEMBERS[number].place)


def test_an_id_names_its_home_for_all_others_and_nobody_for_itself() -> None:
    session_id = "r4nd0m" + fleet(2).id_suffix
    for number in range(4):
        home = fleet(number).home(session_id, MEMBERS)
        assert home == (None if number == 2 else MEMBERS[2])


def test_a_tag_says_nothing_of_the_address() -> None:
    tags = {fleet(number).tag for number in range(4)}
    assert len(tags) == 4
    assert all(len(tag) == TAG_CHARS for tag in tags)
    assert fleet(0).tag != fleet(0, NEXT_SECRET).tag, "whoever lacks the secret can't try addresses"


@given(st.text(max_size=80))
def test_no_id_names_anybody_but_a_member(session_id: str) -> None:
    assert fleet(0).home(session_id, MEMBERS) is None
    assert fleet(0).home(f"{session_id}.10.0.0.2", MEMBERS) is None
    assert fleet(0).home(session_id + fleet(3).id_suffix, MEMBERS[:3]) is None


def test_all_members_have_the_others_in_one_order() -> None:
    orders = [
        [fleet(n).tag_of(one) for one in fleet(n).others([*MEMBERS, MEMBERS[1]])] for n in range(4)
    ]
    for order in orders:
        assert order == sorted(order)
        assert len(order) == 3


def test_a_hop_is_good_for_its_request_receiver_and_minute() -> None:
    hop = fleet(0).sign(MEMBERS[1], ASKED, now=NOW)
    fleet(1).verify(hop, ASKED, now=NOW)
    fleet(1).verify(hop, ASKED, now=NOW + HOP_LIFE_S - 1)
    for late_s in (HOP_LIFE_S + 1, -HOP_LIFE_S - 1):
        with pytest.raises(HopError):
            fleet(1).verify(hop, ASKED, now=NOW + late_s)
    for other in (
        Asked("DELETE", ASKED.target, ASKED.authorization),
        Asked(ASKED.method, "/v1/sessions/abd?x=1", ASKED.authorization),
        Asked(ASKED.method, ASKED.target, "Bearer another"),
        Asked(ASKED.method, ASKED.target, ""),
    ):
        with pytest.raises(HopError):
            fleet(1).verify(hop, other, now=NOW)
    with pytest.raises(HopMisled):
        fleet(2).verify(hop, ASKED, now=NOW)
    # Sent back to whom it came from: that would be a loop.
    with pytest.raises(HopMisled):
        fleet(0).verify(hop, ASKED, now=NOW)
    with pytest.raises(HopError):
        fleet(1, NEXT_SECRET).verify(hop, ASKED, now=NOW)


@pytest.mark.parametrize("part", range(4))
def test_no_part_of_a_hop_can_be_changed(part: int) -> None:
    parts = fleet(0).sign(MEMBERS[1], ASKED, now=NOW).split(".")
    first = parts[part][0]
    parts[part] = ("0" if first != "0" else "1") + parts[part][1:]
    with pytest.raises(HopError):
        fleet(1).verify(".".join(parts), ASKED, now=NOW)


@given(st.text(max_size=120))
def test_what_is_no_hop_is_refused(text: str) -> None:
    with pytest.raises(HopError):
        fleet(1).verify(text, ASKED, now=NOW)


def test_a_secret_is_exchanged_without_a_gap() -> None:
    # First behind the old one on every member, then in front, then alone.
    steps = [(SECRET,), (SECRET, NEXT_SECRET), (NEXT_SECRET, SECRET), (NEXT_SECRET,)]
    session_id = "r4nd0m" + fleet(1, SECRET).id_suffix
    for before, after in itertools.pairwise(steps):
        for first, second in ((before, after), (after, before)):
            hop = fleet(0, *first).sign(MEMBERS[1], ASKED, now=NOW)
            fleet(1, *second).verify(hop, ASKED, now=NOW)
    for secrets in steps[:3]:
        assert fleet(0, *secrets).home(session_id, MEMBERS) == MEMBERS[1]


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Fleet([b"s" * 31], place_of(str(ipaddress.ip_address("::1")), 8080))
