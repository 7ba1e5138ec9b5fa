"""The built-in background pictures: a folder of files, decoded when asked for.

``service.library`` puts them beside those that are stored. Reading and
decoding run in the default executor, one picture at a time; what is kept is bounded in bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from service.errors import PictureError, UnknownBackground
from service.frame.film import Film
from service.frame.picture import Picture, decode_picture, picture_size, thumbnail
from service.policy.effects import BACKGROUND_NAME, SESSION_BACKGROUND
from service.session.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

logger = logging.getLogger(__name__)

SUFFIX: Final = ".webp"
MEDIA_TYPE: Final = "image/webp"
THUMBNAIL_WIDTH_PX: Final = 320
# Ten decoded pictures of 1920x1080.
MAX_CACHED_BYTES: Final = 64 << 20
ETAG_CHARS: Final = 16


@dataclass(frozen=True, slots=True)
class Listed:
    """One picture, as the library lists it."""

    name: str
    title: str
    width_px: int
    height_px: int
    size_bytes: int
    etag: str
    "Of the file: without quotes."
    built_in: bool
    media_type: str = MEDIA_TYPE

    @property
    def is_film(self) -> bool:
        return self.media_type != MEDIA_TYPE


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A file as it is served."""

    data: bytes
    etag: str
    "Of these bytes: without quotes."
    media_type: str = MEDIA_TYPE


class BuiltInPictures:
    """The pictures of one folder. The folder is read once: a deployment does not change it."""

    def __init__(self, directory: Path, *, max_cached_bytes: int = MAX_CACHED_BYTES) -> None:
        self._paths = {
            path.stem: path
            for path in sorted(directory.glob(f"*{SUFFIX}"))
            if BACKGROUND_NAME.fullmatch(path.stem) and path.stem != SESSION_BACKGROUND
        }
        self._decoded: Recent[str, Picture] = Recent(max_cached_bytes, nbytes)
        # Small and few: one entry for each file of the folder.
        self._files: dict[str, PictureFile] = {}
        self._thumbnails: dict[str, PictureFile] = {}
        self._listed: tuple[Listed, ...] | None = None
        # One at a time: a decoded picture is large, and twenty sessions that begin together want
        # the same one.
        self._lock = asyncio.Lock()

    def names(self) -> tuple[str, ...]:
        """The names, sorted."""
        return tuple(self._paths)

    async def get(self, name: str) -> Picture:
        """The decoded picture; raises UnknownBackground, or PictureError for a damaged file."""
        path = self._path(name)
        async with self._lock:
            picture = self._decoded.get(name)
            if picture is None:
                picture = await asyncio.to_thread(lambda: decode_picture(path.read_bytes()))
                self._decoded.keep(name, picture)
            return picture

    async def file(self, name: str) -> PictureFile:
        """The file itself; raises UnknownBackground."""
        path = self._path(name)
        return await self._kept(self._files, name, path.read_bytes)

    async def thumbnail(self, name: str) -> PictureFile:
        """The picture at THUMBNAIL_WIDTH_PX, as WebP; raises UnknownBackground."""
        path = self._path(name)
        return await self._kept(
            self._thumbnails, name, lambda: thumbnail(path.read_bytes(), THUMBNAIL_WIDTH_PX)
        )

    async def list(self) -> tuple[Listed, ...]:
        """Every picture, by name."""
        async with self._lock:
            if self._listed is None:
                self._listed = await asyncio.to_thread(self._read_list)
            return self._listed

    def _path(self, name: str) -> Path:
        try:
            return self._paths[name]
        except KeyError:
            raise UnknownBackground(name) from None

    async def _kept(
        self, files: dict[str, PictureFile], name: str, read: Callable[[], bytes]
    ) -> PictureFile:
        async with self._lock:
            if name not in files:
                data = await asyncio.to_thread(read)
                files[name] = PictureFile(data, etag_of(data))
            return files[name]

    def _read_list(self) -> tuple[Listed, ...]:
        found = []
        for name, path in self._paths.items():
            try:
                data = path.read_bytes()
                size = picture_size(data)
                found.append(
                    Listed(name, title(name), *size, len(data), etag=etag_of(data), built_in=True)
                )
            except PictureError:
                logger.warning("background %s is left out: it cannot be decoded", name)
        return tuple(found)


def title(name: str) -> str:
    """A picture's name in words."""
    return name.replace("-", " ").replace("_", " ").strip().capitalize()


def etag_of(data: bytes) -> str:
    """An entity tag, without quotes: names these bytes."""
    return hashlib.sha256(data).hexdigest()[:ETAG_CHARS]


def nbytes(shown: Picture | Film) -> int:
    """What a decoded picture or film holds of the memory."""
    return shown.nbytes if isinstance(shown, Film) else shown.rgb.nbytes
