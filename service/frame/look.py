"""What a track should look like: an effect, the picture that it needs, and the away picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from service.frame.film import Film
from service.policy.effects import Effect, Image, Nothing

if TYPE_CHECKING:
    from service.frame.logo import Logo
    from service.frame.picture import Picture


@dataclass(frozen=True, slots=True)
class Away:
    """When a person counts as away, and what is shown then."""

    after_s: float = 5.0
    """So long, in media time, nobody must have been in view."""
    picture: Picture | None = None
    """Shown in place of the effect's own background while away; None: the effect's own."""


@dataclass(frozen=True, slots=True)
class Look:
    """One frame is composed under exactly one Look; a new one replaces it between two frames."""

    effect: Effect
    picture: Picture | None = None
    """The decoded background; for Image, unused otherwise."""
    away: Away = Away()
    logo: Logo | None = None
    """Drawn over every picture that has an effect."""
    film: Film | None = None
    """In place of the picture: a background that moves."""

    def __post_init__(self) -> None:
        if isinstance(self.effect, Image) and self.picture is None and self.film is None:
            raise ValueError("an image effect needs its picture")
        if self.logo is not None and isinstance(self.effect, Nothing):
            raise ValueError("a logo is drawn by an effect")

    def before(self, shown: Picture | Film) -> Look:
        """The same with another picture or film behind the person."""
        if isinstance(shown, Film):
            return replace(self, picture=None, film=shown)
        return replace(self, picture=shown, film=None)
