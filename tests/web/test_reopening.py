"""What was deleted is remembered until its token expires, and within a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from service.errors import UnknownSession
from service.policy.effects import SESSION_BACKGROUND, Blur, Color, Image
from service.policy.tokens import Grant
from service.web.access import Holder, Platform
from service.web.reopening import MAX_REMEMBERED, Reopening
from tests.web.fakes import CREATED_AT, FakeRegistry

if TYPE_CHECKING:
    from service.policy.effects import Effect
    from service.session.registry import Registry


def holder(session_id: str, ttl_s: int = 60) -> Holder:
    return Holder(Grant(session_id, {"ttl_s": ttl_s}, int(CREATED_AT), int(CREATED_AT) + ttl_s))


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def reopening(registry: FakeRegistry) -> Reopening:
    return Reopening(cast("Registry", registry), now=lambda: CREATED_AT + 10.5)


def test_reopened_for_the_rest_of_its_time(reopening: Reopening) -> None:
    session = reopening.find_or_reopen(holder("a"), "a")
    assert session.spec.ttl_s == 49
    assert reopening.find_or_reopen(holder("a"), "a") is session
    assert reopening.find_or_reopen(Platform("key"), "a") is session


def test_the_last_second_is_a_second(registry: FakeRegistry) -> None:
    late = Reopening(cast("Registry", registry), now=lambda: CREATED_AT + 59.9)
    assert late.find_or_reopen(holder("a"), "a").spec.ttl_s == 1


def test_a_platform_key_opens_nothing_again(reopening: Reopening) -> None:
    with pytest.raises(UnknownSession):
        reopening.find_or_reopen(Platform("key"), "a")


def test_the_oldest_deletion_is_forgotten_beyond_the_bound(reopening: Reopening) -> None:
    for number in range(MAX_REMEMBERED + 1):
        reopening.deleted(str(number), until=CREATED_AT + 60)
    for remembered in ("1", str(MAX_REMEMBERED)):
        with pytest.raises(UnknownSession):
            reopening.find_or_reopen(holder(remembered), remembered)
    assert reopening.find_or_reopen(holder("0"), "0").id == "0"


def test_deleted_again_is_remembered_for_the_longer_time(reopening: Reopening) -> None:
    reopening.deleted("a", until=CREATED_AT + 60)
    for number in range(MAX_REMEMBERED - 1):
        reopening.deleted(str(number), until=CREATED_AT + 60)
    reopening.deleted("a", until=CREATED_AT)
    reopening.deleted("last", until=CREATED_AT + 60)
    with pytest.raises(UnknownSession):
        reopening.find_or_reopen(holder("a"), "a")
    assert reopening.find_or_reopen(holder("0"), "0").id == "0"


GREEN, RED, OWN = Color("#00b140"), Color("#ff0000"), Image(SESSION_BACKGROUND)


def opened_with(reopening: Reopening, session_id: str, **spec: object) -> object:
    """The effect that a token from the beginning opens its session with."""
    grant = Grant(session_id, spec, int(CREATED_AT), int(CREATED_AT) + 60)
    return reopening.find_or_reopen(Holder(grant), session_id).effect


def test_the_effect_that_a_platform_set_last_holds(reopening: Reopening) -> None:
    reopening.set_by_platform("a", RED)
    reopening.set_by_platform("a", GREEN)
    assert opened_with(reopening, "a") == GREEN
    assert opened_with(reopening, "b") == Blur()


def test_a_picture_of_the_sessions_own_is_gone_with_it(reopening: Reopening) -> None:
    reopening.set_by_platform("a", GREEN)
    reopening.set_by_platform("a", OWN)
    assert opened_with(reopening, "a") == Blur()


@pytest.mark.parametrize(
    ("effect", "spec"),
    [
        (GREEN, {"allowed_effects": ["blur"]}),
        (Image("attic"), {"backgrounds": ["library-warm"]}),
    ],
)
def test_nothing_holds_that_the_token_does_not_allow(
    reopening: Reopening, effect: Effect, spec: dict[str, object]
) -> None:
    reopening.set_by_platform("a", effect)
    assert opened_with(reopening, "a", **spec) == Blur()


def test_the_oldest_effect_is_forgotten_beyond_the_bound(reopening: Reopening) -> None:
    reopening.set_by_platform("a", RED)
    for number in range(MAX_REMEMBERED - 1):
        reopening.set_by_platform(str(number), GREEN)
    reopening.set_by_platform("a", GREEN)
    reopening.set_by_platform("last", GREEN)
    assert opened_with(reopening, "0") == Blur()
    assert opened_with(reopening, "1") == opened_with(reopening, "a") == GREEN
