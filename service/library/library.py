"""The picture library: built-in pictures and stored ones under one name space.

``service.web.backgrounds`` serves it, sessions get their pictures from it (`get`) and are asked for
names that it has (`require`). `run` brings a picture that was replaced, here or by another server,
to the sessions that show it. Built-in names never lead to the store: it may be down.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Protocol

from service.errors import (
    BuiltInPicture,
    LibraryUnavailable,
    NoLibrary,
    PictureError,
    Refused,
    UnknownBackground,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from service.frame.film import Film
    from service.frame.picture import Picture
    from service.library.stored import Put, StoredPictures
    from service.session.pictures import BuiltInPictures, Listed, PictureFile

logger = logging.getLogger(__name__)

FOLLOW_INTERVAL_S: Final = 1.0


class Showing(Protocol):
    """A session that may show pictures of the library."""

    def library_pictures(self) -> Mapping[str, Collection[str]]:
        """Names, and the keys of the pictures that are shown under each."""
        ...

    def show_library_picture(self, name: str, picture: Picture | Film) -> None:
        """Wherever that name is shown, show this picture or film."""
        ...


class Library:
    """All pictures that effects may name, but those of one session alone."""

    def __init__(self, built_in: BuiltInPictures, stored: StoredPictures | None = None) -> None:
        """``stored`` is None where no place was named for pictures beside the built-in ones."""
        self._built_in = built_in
        self._stored = stored

    async def list(self) -> tuple[list[Listed], bool]:
        """Every picture, by name; and whether the stored ones are all there are now. False: the
        store does not answer, and these are the last that are known."""
        built_in = await self._built_in.list()
        names = set(self._built_in.names())
        stored, current = ((), True) if self._stored is None else await self._stored.list()
        both = [*built_in, *(one for one in stored if one.name not in names)]
        return sorted(both, key=lambda one: one.name), current

    async def require(self, name: str) -> None:
        """Raises UnknownBackground, after the store was asked, or LibraryUnavailable."""
        if name not in self._built_in.names():
            await self._found(name).find(name)

    async def find(self, name: str) -> Listed:
        """What the list says of one picture; raises what require raises."""
        for one in await self._built_in.list():
            if one.name == name:
                return one
        return await self._found(name).find(name)

    async def get(self, name: str) -> Picture | Film:
        """The decoded picture or film; raises what require raises, PictureError for a damaged one,
        or Refused where there is no memory for a film."""
        if name in self._built_in.names():
            return await self._built_in.get(name)
        return await self._found(name).get(name)

    async def file(self, name: str) -> PictureFile:
        """The file; raises what require raises."""
        if name in self._built_in.names():
            return await self._built_in.file(name)
        return await self._found(name).file(name)

    async def thumbnail(self, name: str) -> PictureFile:
        """A small one; raises what get raises."""
        if name in self._built_in.names():
            return await self._built_in.thumbnail(name)
        return await self._found(name).thumbnail(name)

    def require_writable(self, name: str) -> None:
        """Raises BuiltInPicture or NoLibrary for a name that cannot be put or deleted."""
        self._writable(name)

    async def put(self, name: str, data: bytes, condition: Callable[[str | None], None]) -> Put:
        """As StoredPictures.put; raises what require_writable raises as well."""
        return await self._writable(name).put(name, data, condition)

    async def delete(self, name: str, condition: Callable[[str | None], None]) -> None:
        """As StoredPictures.delete; raises what require_writable raises as well. Sessions that show
        the picture keep it."""
        await self._writable(name).delete(name, condition)

    async def run(self, sessions: Callable[[], Iterable[Showing]]) -> None:
        """Brings replaced pictures to the sessions that show them, until it is cancelled. The store
        is asked while a session shows one of its pictures, and not otherwise."""
        if self._stored is None:
            return
        try:
            while True:
                await asyncio.sleep(FOLLOW_INTERVAL_S)
                await self._follow(self._stored, sessions)
        finally:
            await self._stored.close()

    async def _follow(
        self, stored: StoredPictures, sessions: Callable[[], Iterable[Showing]]
    ) -> None:
        built_in = self._built_in.names()
        shown = {name for session in sessions() for name in session.library_pictures()}
        for name in sorted(shown.difference(built_in)):
            try:
                key = await stored.pixels(name)
                showing = [one for one in sessions() if _shows_another(one, name, key)]
                if showing:
                    picture = await stored.get(name)
                    for session in showing:
                        session.show_library_picture(name, picture)
            except UnknownBackground:
                continue  # deleted: what is shown stays
            except (LibraryUnavailable, PictureError, Refused) as exc:
                logger.warning("a picture that is shown could not be read anew: %s", exc)

    def _found(self, name: str) -> StoredPictures:
        if self._stored is None:
            raise UnknownBackground(name)
        return self._stored

    def _writable(self, name: str) -> StoredPictures:
        if name in self._built_in.names():
            raise BuiltInPicture(name)
        if self._stored is None:
            raise NoLibrary
        return self._stored


def _shows_another(session: Showing, name: str, key: str) -> bool:
    return any(other != key for other in session.library_pictures().get(name, ()))
