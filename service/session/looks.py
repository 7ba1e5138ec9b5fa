"""What a session wants its video tracks to look like: the one place where that is kept.

session.py changes it, always at once and with nothing awaited in between; the tracks of whatever
peer there is (rtc/track.py) ask it for every picture, and the outgoing gate asks it again. A peer
that is being made while the effect changes can thus not begin with the effect before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.policy.effects import SESSION_BACKGROUND, Image

if TYPE_CHECKING:
    from service.frame.film import Film
    from service.frame.look import Look
    from service.frame.picture import Picture


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

    def show(self, picture: Picture | Film) -> None:
        """The session's own picture, or film, is another one: show that wherever it is shown."""
        self._own = {mid: _with(picture, look) for mid, look in self._own.items()}
        self._all = _with(picture, self._all)


def _with(picture: Picture | Film, look: Look) -> Look:
    effect = look.effect
    if isinstance(effect, Image) and effect.background == SESSION_BACKGROUND:
        return look.before(picture)
    return look
