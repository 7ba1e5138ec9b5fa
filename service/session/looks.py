"""What a session wants its video tracks to look like: the one place where that is kept.

session.py changes it, always at once and with nothing awaited in between; the tracks of whatever
peer there is (rtc/track.py) ask it for every picture, and the outgoing gate asks it again. A peer
that is being made while the effect changes can thus not begin with the effect before.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from service.frame.filmfile import film_still
from service.frame.picture import Picture
from service.policy.effects import Image

if TYPE_CHECKING:
    from service.frame.film import Film
    from service.frame.look import Look


class Looks:
    """One look for all tracks, and others for some of them. Reading is safe from any thread."""

    def __init__(self, look: Look) -> None:
        self._all = look
        self._own: dict[str, Look] = {}

    @property
    def all(self) -> Look:
        """The look of every track that has none of its own."""
        return self._all

    def wanted(self, mid: str) -> Look:
        """The look of the track of this media section."""
        return self._own.get(mid, self._all)

    def of(self, mid: str | None) -> list[Look]:
        """The looks that set_one of this track, or set_all where it is None, would replace."""
        return [self._all, *self._own.values()] if mid is None else [self.wanted(mid)]

    def set_all(self, look: Look) -> None:
        self._all = look
        self._own = {}

    def set_one(self, mid: str, look: Look) -> None:
        self._own = {**self._own, mid: look}

    def forget_tracks(self) -> None:
        """Another peer: its media sections are other cameras, whatever their names."""
        self._own = {}

    def show(self, name: str, shown: Picture | Film, *, away: str | None = None) -> None:
        """The picture, or film, of that name is another one: wherever it is shown, show that.
        ``away``: the name of what is shown while nobody is in view."""
        self._own = {mid: _with(name, shown, away, look) for mid, look in self._own.items()}
        self._all = _with(name, shown, away, self._all)

    def pictures(self, *, away: str | None = None) -> dict[str, set[str]]:
        """The names that are shown, and the key of each picture that is shown under one."""
        found: dict[str, set[str]] = {}
        for look in (self._all, *self._own.values()):
            shown = look.picture or look.film
            if isinstance(look.effect, Image) and shown is not None:
                found.setdefault(look.effect.background, set()).add(shown.key)
            if away is not None and look.away.picture is not None:
                found.setdefault(away, set()).add(look.away.picture.key)
        return found


def _with(name: str, shown: Picture | Film, away: str | None, look: Look) -> Look:
    if isinstance(look.effect, Image) and look.effect.background == name:
        look = look.before(shown)
    if name == away:
        still = shown if isinstance(shown, Picture) else film_still(shown)
        look = dataclasses.replace(look, away=dataclasses.replace(look.away, picture=still))
    return look
