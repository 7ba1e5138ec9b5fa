"""The stored pictures as this process knows them: a list that is read anew, pictures decoded once.

Reading order: `find` (is there such a picture), `put` and `delete`, then how the list is kept
(`renewed`). Every server reads the list of the store that they share: what one wrote, another finds
at the first request that names it. A name that is not known is refused only after a list that was
begun later than the question; lists are LIST_INTERVAL_S apart at least, whoever asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from service.errors import LibraryFull, LibraryUnavailable, PictureError, UnknownBackground
from service.frame.background import SHARED
from service.frame.film import Film, is_film
from service.frame.filmfile import HEAD_BYTES, film_size, film_thumbnail, film_type, stored_film
from service.frame.picture import (
    WEBP_HEADER_BYTES,
    Picture,
    decode_picture,
    stored_webp,
    thumbnail,
    webp_size,
)
from service.library.store import MAX_AT_ONCE, Changed
from service.session.films import Films
from service.session.pictures import (
    MEDIA_TYPE,
    THUMBNAIL_WIDTH_PX,
    Listed,
    PictureFile,
    etag_of,
    nbytes,
    title,
)
from service.session.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.library.store import PictureStore, Stored

logger = logging.getLogger(__name__)

LIST_INTERVAL_S: Final = 0.2
"""Between two lists at least, whatever is asked."""
MAX_AGE_S: Final = 1.0
"""A list that is older is read anew before a picture of it is used."""
RETRY_S: Final = 2.0
"""A store that failed is not listed again before this."""
MAX_DECODED_BYTES: Final = 128 << 20
"""Five pictures of the largest size kept, 3840x2160, or twenty of 1920x1080."""
MAX_FILE_BYTES: Final = 32 << 20
"""Files on their way out: those who fetch one at the same time share it."""
KNOWN_WAIT_S: Final = 1.0
"""So long a picture that is known waits for a newer list: a slow store holds no session up."""
LIST_TOTAL_S: Final = 5.0
"""For a list together with the sizes of what is new in it."""
LONGEST_FILM_PX: Final = 1920
"""Side of a film's frames as they are played, at most; its memory is bounded too (film.py)."""
TRIES: Final = 3
"""When others change the same picture at the same time."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the library holds, and what is taken into it."""

    pictures: int = 200
    total_bytes: int = 256 << 20
    picture_bytes: int = 10 << 20
    "Of an uploaded file."
    picture_pixels: int = 24_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture of the list."""

    stored: Stored
    listed: Listed


@dataclass(frozen=True, slots=True)
class Put:
    """A picture that was stored."""

    listed: Listed
    new: bool
    "False: it replaced another one."


class StoredPictures:
    """The pictures of one store."""

    def __init__(
        self,
        store: PictureStore,
        bounds: Bounds,
        *,
        films: Films | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._bounds = bounds
        self._films = films or Films()
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._begun_s = float("-inf")
        "When the list was begun that `_entries` is."
        self._retry_s = float("-inf")
        self._writes = 0
        self._renewal: asyncio.Task[None] | None = None
        self._measured: dict[Stored, Entry] = {}
        "What is known of sizes: a list that took too long goes on from here."
        self._writing = asyncio.Lock()
        self._decoding = asyncio.Lock()
        self._decoding_films = asyncio.Lock()
        self._decoded: Recent[tuple[str, str], Picture | Film] = Recent(MAX_DECODED_BYTES, nbytes)
        self._files: Recent[tuple[str, str], bytes] = Recent(MAX_FILE_BYTES, len)
        # One at most for each entry, and gone with it: small, and bounded by the library's bounds.
        self._thumbnails: dict[str, PictureFile] = {}
        self._keys: dict[str, str] = {}
        "What names the pixels of an entry, once it was decoded."

    async def list(self) -> tuple[tuple[Listed, ...], bool]:
        """Every picture, by name; and whether the list is of now, or the last that could be had."""
        try:
            await self.renewed(self._clock() - MAX_AGE_S)
        except LibraryUnavailable:
            return self._listed(), False
        return self._listed(), True

    async def find(self, name: str) -> Listed:
        """What the list says of one. Raises UnknownBackground, and LibraryUnavailable where it is
        not known and the store cannot be asked."""
        return (await self._entry(name)).listed

    async def get(self, name: str) -> Picture | Film:
        """The decoded picture or film; raises what find raises, PictureError for a damaged one, or
        Refused where there is no memory for a film."""
        entry = await self._entry(name)
        if (picture := self._decoded.get((name, entry.stored.version))) is not None:
            return picture
        entry, data = await self._read(entry)
        key = name, entry.stored.version
        # One at a time: what is decoded is large. A film takes seconds, and pictures do not wait.
        async with self._decoding_films if is_film(data) else self._decoding:
            if (picture := self._decoded.get(key)) is None:
                picture = await self._shown(data)
                if self._is_current(entry):
                    self._decoded.keep(key, picture)
                    self._keys[name] = picture.key
            return picture

    async def pixels(self, name: str) -> str:
        """The `key` of the decoded picture or film; raises what get raises."""
        await self._entry(name)
        return self._keys.get(name) or (await self.get(name)).key

    async def file(self, name: str) -> PictureFile:
        """The file; raises what find raises."""
        entry, data = await self._read(await self._entry(name))
        return PictureFile(data, entry.listed.etag, entry.listed.media_type)

    async def thumbnail(self, name: str) -> PictureFile:
        """A small one; raises what get raises."""
        entry = await self._entry(name)
        if (small := self._thumbnails.get(name)) is not None:
            return small
        entry, data = await self._read(entry)
        async with self._decoding:
            if (small := self._thumbnails.get(name)) is None:
                make = film_thumbnail if is_film(data) else thumbnail
                made = await asyncio.to_thread(make, data, THUMBNAIL_WIDTH_PX)
                small = PictureFile(made, etag_of(made))
                if self._is_current(entry):
                    self._thumbnails[name] = small
            return small

    # Changes.

    async def put(self, name: str, data: bytes, condition: Callable[[str | None], None]) -> Put:
        """Stores what an uploaded file shows. ``condition`` is called with the entity tag of what
        is there, None where nothing is, and raises what the caller of this gets.

        Raises PictureError, LibraryFull, LibraryUnavailable, or Refused where there is no memory
        for a film.
        """
        kept, size, media_type = await self._kept(data)
        async with self._writing:
            for _ in range(TRIES):
                await self.renewed(self._clock())
                before = self._entries.get(name)
                condition(None if before is None else before.listed.etag)
                self._require_room(name, len(kept))
                try:
                    stored = await self._store.write(
                        name,
                        kept,
                        media_type=media_type,
                        new=before is None,
                        replacing=None if before is None else before.stored.version,
                    )
                except Changed:  # by another server, since the list was read
                    continue
                entry = Entry(stored, _listed(stored, size, media_type))
                self._wrote(name, entry)
                return Put(entry.listed, new=before is None)
        raise LibraryUnavailable

    async def delete(self, name: str, condition: Callable[[str | None], None]) -> None:
        """Raises UnknownBackground, LibraryUnavailable, or what ``condition`` raises."""
        async with self._writing:
            await self.renewed(self._clock())
            before = self._entries.get(name)
            condition(None if before is None else before.listed.etag)
            if before is None:
                raise UnknownBackground(name)
            await self._store.delete(name)
            self._wrote(name, None)

    def _require_room(self, name: str, size_bytes: int) -> None:
        others = [one.stored for other, one in self._entries.items() if other != name]
        if len(others) >= self._bounds.pictures:
            raise LibraryFull(f"the library holds {self._bounds.pictures} pictures at most")
        if sum(one.size_bytes for one in others) + size_bytes > self._bounds.total_bytes:
            raise LibraryFull(
                f"the library holds {self._bounds.total_bytes} bytes at most, and as it is kept "
                f"this picture has {size_bytes}"
            )

    async def _kept(self, data: bytes) -> tuple[bytes, tuple[int, int], str]:
        """What is kept of an upload: the file, its width and height in px, its media type."""
        if not is_film(data):
            async with self._decoding:
                picture = await asyncio.to_thread(self._decode, data)
                kept = await asyncio.to_thread(stored_webp, picture)
            height_px, width_px = picture.rgb.shape[:2]
            return kept, (width_px, height_px), MEDIA_TYPE
        async with self._decoding_films:
            kept = await asyncio.to_thread(stored_film, data)
            # Whoever finds it in the list can play it: it was tried, as it is kept.
            await self._shown(kept)
            size, media_type = film_size(kept[:HEAD_BYTES]), film_type(kept)
        if size is None or media_type is None:
            raise PictureError("the film's file does not tell its size")
        return kept, size, media_type

    async def _shown(self, data: bytes) -> Picture | Film:
        if not is_film(data):
            return await asyncio.to_thread(self._decode, data)
        return await self._films.decode(
            data, max_bytes=self._bounds.picture_bytes, longest_px=LONGEST_FILM_PX
        )

    def _decode(self, data: bytes) -> Picture:
        return decode_picture(
            data,
            max_bytes=self._bounds.picture_bytes,
            max_pixels=self._bounds.picture_pixels,
        )

    # The list.

    async def renewed(self, since_s: float) -> None:
        """Until the list is one that was begun then or later. Raises LibraryUnavailable."""
        while self._begun_s < since_s:
            if self._renewal is None:  # else whoever waits already is served by the same list
                self._renewal = asyncio.create_task(self._renew())
                self._renewal.add_done_callback(self._renewal_ended)
            await asyncio.shield(self._renewal)

    async def close(self) -> None:
        """Gives up what is under way."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.wait({self._renewal})
        await self._store.close()

    async def _renew(self) -> None:
        now_s = self._clock()
        if now_s < self._retry_s:
            raise LibraryUnavailable
        await asyncio.sleep(max(0.0, self._begun_s + LIST_INTERVAL_S - now_s))
        try:
            async with asyncio.timeout(LIST_TOTAL_S):
                begun_s, writes = self._clock(), self._writes
                found = await self._read_list()
                if self._writes != writes:  # what was read may be of before a write of our own
                    begun_s, writes = self._clock(), self._writes
                    found = await self._read_list()
        except (LibraryUnavailable, TimeoutError) as exc:
            logger.warning("the library: its list could not be read within %g s", LIST_TOTAL_S)
            self._retry_s = self._clock() + RETRY_S
            raise LibraryUnavailable from exc
        if self._writes == writes:
            self._adopt(found)
            self._begun_s = begun_s

    def _renewal_ended(self, renewal: asyncio.Task[None]) -> None:
        self._renewal = None
        if not renewal.cancelled():
            renewal.exception()  # nobody may be left to be told

    async def _read_list(self) -> dict[str, Entry]:
        """The store's list; pictures that are not known yet are asked for their size."""
        listed = sorted(await self._store.list(), key=lambda one: one.name)
        if len(listed) > self._bounds.pictures:
            logger.warning("the library: %d pictures; the first are shown", len(listed))
        listed = listed[: self._bounds.pictures]
        self._measured = {one: self._measured[one] for one in listed if one in self._measured}
        unknown = [one for one in listed if one not in self._measured]
        for first in range(0, len(unknown), MAX_AT_ONCE):
            some = unknown[first : first + MAX_AT_ONCE]
            for entry in await asyncio.gather(*map(self._measure, some)):
                if entry is not None:
                    self._measured[entry.stored] = entry
        return {one.name: self._measured[one] for one in listed if one in self._measured}

    async def _measure(self, stored: Stored) -> Entry | None:
        try:
            head = await self._store.head(stored.name, WEBP_HEADER_BYTES)
            size, media_type = webp_size(head), MEDIA_TYPE
            if size is None and (film := film_type(head)) is not None:
                head = await self._store.head(stored.name, HEAD_BYTES)
                size, media_type = await asyncio.to_thread(film_size, head), film
        except UnknownBackground:  # deleted meanwhile
            return None
        if size is None:
            logger.warning(
                "the library: %s is left out: it is neither WebP nor a film", stored.name
            )
            return None
        return Entry(stored, _listed(stored, size, media_type))

    def _adopt(self, found: dict[str, Entry]) -> None:
        for name, before in self._entries.items():
            after = found.get(name)
            if after is None or after.stored.version != before.stored.version:
                self._forget(before)
        self._entries = found

    def _wrote(self, name: str, entry: Entry | None) -> None:
        self._writes += 1
        if (before := self._entries.pop(name, None)) is not None:
            self._forget(before)
        if entry is not None:
            self._entries[name] = entry

    def _forget(self, entry: Entry) -> None:
        """What was made of a picture that is not there any more."""
        name = entry.stored.name
        self._decoded.forget((name, entry.stored.version))
        self._files.forget((name, entry.stored.version))
        self._thumbnails.pop(name, None)
        if (key := self._keys.pop(name, None)) is not None:
            SHARED.forget(key)

    async def _entry(self, name: str) -> Entry:
        now_s = self._clock()
        if name not in self._entries:
            await self.renewed(now_s)
        elif self._begun_s < now_s - MAX_AGE_S:
            with contextlib.suppress(LibraryUnavailable, TimeoutError):  # what is known goes on
                async with asyncio.timeout(KNOWN_WAIT_S):
                    await self.renewed(now_s - MAX_AGE_S)
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownBackground(name) from None

    async def _read(self, entry: Entry) -> tuple[Entry, bytes]:
        """The file, and the entry that it belongs to: a newer one, where it was replaced."""
        name = entry.stored.name
        for _ in range(TRIES):
            key = name, entry.stored.version
            if (data := self._files.get(key)) is not None:
                return entry, data
            data, version = await self._store.read(name, max_bytes=self._bounds.picture_bytes)
            if version == entry.stored.version:
                self._files.keep(key, data)
                return entry, data
            await self.renewed(self._clock())
            entry = await self._entry(name)
        raise LibraryUnavailable

    def _is_current(self, entry: Entry) -> bool:
        return self._entries.get(entry.stored.name) is entry

    def _listed(self) -> tuple[Listed, ...]:
        return tuple(self._entries[name].listed for name in sorted(self._entries))


def _listed(stored: Stored, size: tuple[int, int], media_type: str) -> Listed:
    return Listed(
        stored.name,
        title(stored.name),
        *size,
        stored.size_bytes,
        # The store's tag may have any length, and tell of its inodes: this names it as well.
        etag=etag_of(stored.version.encode()),
        built_in=False,
        media_type=media_type,
    )
