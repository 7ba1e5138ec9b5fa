"""What is behind the person: the effect's picture, its colour, or the blurred room of the camera.

Chooses, and keeps what can be kept; background.py and blur.py make the planes. Used by pipeline.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.frame import background
from service.frame.background import NEUTRAL_GREY, PlaneCache
from service.frame.blur import BlurredRoom
from service.frame.film import fitted_frame
from service.frame.packed import BLACK
from service.policy.effects import SESSION_BACKGROUND, Blur, Color, Fit, Image, Packed

if TYPE_CHECKING:
    from service.frame.colour import Colour
    from service.frame.grid import Grid
    from service.frame.look import Look
    from service.frame.picture import Picture
    from service.frame.planes import Planes

OWN_CACHE_BYTES = 8 * 1024 * 1024
"""Two sizes of 1920x1080: a track has one size at a time."""


class Backdrop:
    """Of one track."""

    def __init__(self, cache: PlaneCache) -> None:
        self._cache = cache
        # A picture that was put for one session must not outlive it in the shared cache.
        self._own_cache = PlaneCache(OWN_CACHE_BYTES)
        self.room = BlurredRoom()
        self.now_s = 0.0
        """Media time of the picture that is made, for what moves by itself."""

    def alone(self, look: Look, grid: Grid, size: tuple[int, int], *, away: bool) -> Planes:
        """What is shown with nobody in front of it. away: nobody has been in view for a while."""
        if isinstance(look.effect, Blur) and _away_picture(look, away=away) is None:
            return self.room.closed(grid, size)
        return self.still(look, size, grid.colour, away=away)

    def still(self, look: Look, size: tuple[int, int], colour: Colour, *, away: bool) -> Planes:
        """The background of its own that a look has; grey under blur. From any thread."""
        effect = look.effect
        picture = _away_picture(look, away=away)
        if picture is not None:
            return background.fitted(picture, Fit.COVER, size, colour, self._cache)
        if isinstance(effect, Image) and look.film is not None:
            number = look.film.at(self.now_s)
            return fitted_frame(look.film, number, effect.fit, size, colour, self._own_cache)
        if isinstance(effect, Image) and look.picture is not None:
            own = effect.background == SESSION_BACKGROUND
            cache = self._own_cache if own else self._cache
            return background.fitted(look.picture, effect.fit, size, colour, cache)
        if isinstance(effect, Packed):
            return background.flat(BLACK, size, colour, self._cache)
        color = effect.color if isinstance(effect, Color) else NEUTRAL_GREY
        return background.flat(color, size, colour, self._cache)

    def grey(self, size: tuple[int, int], colour: Colour) -> Planes:
        """For when nothing else can be had."""
        return background.flat(NEUTRAL_GREY, size, colour, self._cache)


def _away_picture(look: Look, *, away: bool) -> Picture | None:
    """What is shown while nobody is in view, in place of the effect's own background: of which
    `packed` has none."""
    return look.away.picture if away and not isinstance(look.effect, Packed) else None
