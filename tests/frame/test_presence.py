"""Nobody in view is told after its time; somebody who is back is told almost at once."""

from __future__ import annotations

from service.frame.presence import BACK_S, Presence


def test_away_after_its_time_and_back_again() -> None:
    presence = Presence()
    assert not any(presence.see(False, t / 10, 2.0) for t in range(20))
    assert presence.see(False, 2.0, 2.0)
    assert presence.see(True, 2.1, 2.0)
    assert not presence.see(True, 2.11 + BACK_S, 2.0)


def test_whoever_shows_up_in_between_is_there() -> None:
    presence = Presence()
    for t in range(100):
        assert not presence.see(t % 10 == 0, t / 10, 2.0)


def test_one_false_mask_brings_nobody_back() -> None:
    presence = Presence()
    presence.see(False, 0.0, 1.0)
    assert presence.see(False, 1.0, 1.0)
    for t in range(1, 20):
        assert presence.see(t % 3 == 0, 1.0 + t / 10, 1.0)


def test_time_that_goes_back_starts_again() -> None:
    presence = Presence()
    presence.see(False, 50.0, 1.0)
    assert not presence.see(False, 1.0, 1.0)
    assert presence.see(False, 2.0, 1.0)
