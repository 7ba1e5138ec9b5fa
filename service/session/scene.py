"""What a session shows: its effects, its own picture, and the version of what can be changed.

The session (session.py) has one for its whole life, whichever peer is there. What a track wears is
looked up frame by frame (looks.py); changes take their turns here.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from service.errors import InvalidField, NotAllowed, StaleETag, UnknownBackground
from service.frame.film import Film, is_film
from service.frame.filmfile import film_still
from service.frame.look import Away, Look
from service.frame.picture import Picture, decode_picture
from service.policy.effects import SESSION_BACKGROUND, Effect, Image, Nothing, effect_json
from service.policy.rules import require_background
from service.session.looks import Looks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping

    from service.frame.logo import Logo
    from service.session.spec import SessionSettings, SessionSpec


class Pictures(Protocol):
    """Where named backgrounds come from."""

    async def get(self, name: str) -> Picture | Film:
        """Raises UnknownBackground, or Refused where there is no memory for a film."""
        ...


class Models(Protocol):
    """Which models an effect may name."""

    async def require(self, model: str) -> None:
        """Raises ModelUnavailable for one that this server does not have."""
        ...


class Scene:
    """The effects of one session, of all its tracks together or each by itself."""

    def __init__(
        self,
        spec: SessionSpec,
        *,
        settings: SessionSettings,
        pictures: Pictures,
        models: Models,
        mids: Callable[[], Collection[str]],
        tell: Callable[[str | None, Effect], None],
    ) -> None:
        """`mids` are those of the present peer's video tracks; `tell` publishes that the effect of
        one of them, or of all (None), is another one."""
        self.looks: Looks | None = None
        "None until the first effect has its picture."
        self._spec = spec
        self._settings = settings
        self._pictures = pictures
        self._models = models
        self._mids = mids
        self._tell = tell
        self._picture: Picture | Film | None = None
        self._version = 0
        self._opening = secrets.token_hex(4)
        "Tells its versions from those of the same session on another server."
        self._changing = asyncio.Lock()
        "Effects that are set at the same time take their turns: the last one asked for stays."

    @property
    def effect(self) -> Effect:
        """The one in force."""
        return self._spec.effect if self.looks is None else self.looks.all.effect

    @property
    def etag(self) -> str:
        """A quoted entity tag of the version."""
        return f'"{self._opening}-{self._version}"'

    def require_version(self, expected: Collection[str] | None) -> None:
        """Raises StaleETag where the current entity tag is none of these; None is any."""
        if expected is not None and self.etag not in expected:
            raise StaleETag(self.etag)

    @asynccontextmanager
    async def changing(self, expected: Collection[str] | None) -> AsyncIterator[None]:
        """Its turn to change something else of that version, which is another one then. Raises
        StaleETag."""
        async with self._changing:
            self.require_version(expected)
            self._version += 1
            yield

    async def first_looks(self) -> Looks:
        """Those there are, or those of the effect that it was opened with. Raises what set_effect
        raises where that cannot be had."""
        async with self._changing:
            if self.looks is None:
                self.looks = Looks(await self._resolve(self._spec.effect))
            return self.looks

    async def set_effect(
        self,
        effect: Effect,
        *,
        mid: str | None = None,
        bound: bool = False,
        expected: Collection[str] | None = None,
    ) -> None:
        """Another effect for the whole session, or for one of its video tracks. `bound`: whoever
        asks is held by the session's lock.

        `expected`: entity tags of which the current one must be one, or nothing is done; None:
        whatever it is. Raises StaleETag, NotAllowed, UnknownBackground, ModelUnavailable or
        InvalidField; then nothing has changed.
        """
        kind = effect_json(effect)["type"]
        if kind not in self._spec.allowed_effects:
            raise NotAllowed(f"the effect {kind!r} is not allowed in this session")
        require_background(effect, self._spec.backgrounds)
        async with self._changing:
            self.require_version(expected)
            if bound:
                self._require_unlocked(effect, mid)
            look = await self._resolve(effect)
            if mid is None:
                self.looks = self.looks or Looks(look)
                self.looks.set_all(look)
            elif self.looks is None or mid not in self._mids():
                raise InvalidField("mid", f"no video track with mid {mid[:16]!r} in this session")
            else:
                self.looks.set_one(mid, look)
            self._version += 1
            self._tell(mid, effect)

    def _require_unlocked(self, effect: Effect, mid: str | None) -> None:
        """Raises NotAllowed for a change that the lock keeps from any of these tracks."""
        looks = self.looks
        held = [self._spec.effect] if looks is None else [look.effect for look in looks.of(mid)]
        if not all(self._spec.lock.keeps(one, effect) for one in held):
            raise NotAllowed(f"the session's {self._spec.lock.value} is locked")

    async def set_picture(self, data: bytes) -> None:
        """A picture or a film for this session alone, shown by the background name `session`.

        Raises PictureError, or Refused where there is no memory for a film; then what was there
        before stays.
        """
        shown = await self._decoded(data)
        async with self._changing:
            self._picture = shown
            self._version += 1
            if self.looks is not None:
                self.looks.show(SESSION_BACKGROUND, shown)

    def library_pictures(self) -> Mapping[str, Collection[str]]:
        """The names of the library that are shown, and the keys of the pictures behind each."""
        if self.looks is None:
            return {}
        shown = self.looks.pictures(away=self._spec.away.background)
        return {name: keys for name, keys in shown.items() if name != SESSION_BACKGROUND}

    def show_library_picture(self, name: str, picture: Picture | Film) -> None:
        """The library's picture or film of that name is another one: wherever it is shown, show
        this."""
        if self.looks is not None and name != SESSION_BACKGROUND:
            self.looks.show(name, picture, away=self._spec.away.background)

    async def _resolve(self, effect: Effect) -> Look:
        if not isinstance(effect, Nothing):
            await self._models.require(effect.model)
        shown = await self._behind(effect)
        picture, film = (None, shown) if isinstance(shown, Film) else (shown, None)
        return Look(effect, picture, await self._away(), self._logo(), film)

    async def _behind(self, effect: Effect) -> Picture | Film | None:
        if not isinstance(effect, Image):
            return None
        if effect.background != SESSION_BACKGROUND:
            return await self._pictures.get(effect.background)
        if self._picture is None:
            raise UnknownBackground(SESSION_BACKGROUND)
        return self._picture

    def _logo(self) -> Logo | None:
        if self._spec.logo is None:
            return None
        try:
            return self._settings.logos[self._spec.logo]
        except KeyError:  # never without the logo that was asked for
            raise InvalidField("logo", "must be one that this server has") from None

    async def _away(self) -> Away:
        away = self._spec.away
        if away.background is None:
            return Away(away.after_s)
        try:
            shown = await self._pictures.get(away.background)
            # Nobody is there to see it move: a film's first frame.
            return Away(away.after_s, film_still(shown) if isinstance(shown, Film) else shown)
        except UnknownBackground as error:
            raise InvalidField("away.background", f"names no picture: {error.name!r}") from None

    async def _decoded(self, data: bytes) -> Picture | Film:
        limits = self._settings
        if is_film(data):
            longest_px = max(self._spec.max_width, self._spec.max_height)
            return await limits.films.decode(
                data, max_bytes=limits.max_picture_bytes, longest_px=longest_px
            )
        return await asyncio.to_thread(
            decode_picture,
            data,
            max_bytes=limits.max_picture_bytes,
            max_pixels=limits.max_picture_pixels,
        )
