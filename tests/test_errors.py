"""Domain errors: one family, and messages that say what was wrong."""

from __future__ import annotations

import inspect

from service import errors


def test_every_error_is_of_one_family() -> None:
    classes = [value for value in vars(errors).values() if inspect.isclass(value)]
    assert len(classes) > 10
    assert all(issubclass(each, errors.BackclothError) for each in classes)


def test_messages() -> None:
    field = errors.InvalidField("effect.strength", "must be a number from 0 to 1")
    assert (str(field), field.field) == (
        "effect.strength must be a number from 0 to 1",
        "effect.strength",
    )
    refused = errors.Refused("cpu_budget", 7)
    assert (str(refused), refused.retry_after_s) == (
        "no room for another session: cpu_budget",
        7,
    )
    assert str(errors.UnknownBackground("attic")) == "there is no background named 'attic'"
    assert str(errors.UnknownSession()) == "there is no such session"
    assert str(errors.UnknownPeer()) == "there is no such peer"
    assert "If-Match" in str(errors.StaleETag())
