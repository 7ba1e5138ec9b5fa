"""Where the library's pictures are kept: a folder, or a bucket that speaks S3.

The one importer of obstore. Every call ends within its time, and a store that hangs holds
MAX_AT_ONCE calls and no more. A write is whole or not there at all: a folder's goes to a file of
another name and is renamed, a bucket's is one request. Keys are NAME.webp, of films too: a name has
one key, so that a film takes a picture's place in one step as well, and what a file is its first
bytes tell. A name is one of ``service.policy.effects.BACKGROUND_NAME``, so that none leads out of
the folder or the prefix.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import LocalStore, S3Store

from service.errors import LibraryUnavailable, SettingsError, UnknownBackground
from service.policy.effects import BACKGROUND_NAME, SESSION_BACKGROUND
from service.session.pictures import MEDIA_TYPE, SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")
logger = logging.getLogger(__name__)

S3: Final = "s3://"
CONNECT_TIMEOUT_S: Final = 2
LIST_TIMEOUT_S: Final = 3.0
READ_TIMEOUT_S: Final = 5.0
WRITE_TIMEOUT_S: Final = 10.0
MAX_RETRIES: Final = 2
MAX_AT_ONCE: Final = 8
MAX_KEYS: Final = 5000
"""Looked at in a list: what else lies in the folder or bucket costs no more than this."""
LOGGED_CHARS: Final = 300


class Changed(Exception):
    """What should be replaced is another one by now, or what should be new is there already."""


class Counters(Protocol):
    """Where failures are counted."""

    def library_failed(self, operation: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Stored:
    """One picture, as the store lists it."""

    name: str
    version: str
    "The store's entity tag."
    size_bytes: int


class PictureStore:
    """Lists, reads, writes and deletes; raises LibraryUnavailable for whatever goes wrong."""

    def __init__(self, store: LocalStore | S3Store, counters: Counters) -> None:
        self._store = store
        self._counters = counters
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)
        self._calls: set[asyncio.Task[Any]] = set()

    @classmethod
    def open(cls, where: str, *, endpoint: str, counters: Counters) -> PictureStore:
        """A folder's path, or s3://BUCKET/PREFIX at ``endpoint`` (empty: Amazon's). Raises
        SettingsError for a folder that cannot be had; a bucket is not asked for yet."""
        if not where.startswith(S3):
            try:
                return cls(LocalStore(where, mkdir=True), counters)
            except (BaseError, OSError, ValueError) as exc:
                raise SettingsError(f"BACKCLOTH_LIBRARY: no folder {where!r}: {exc}") from None
        parts = urlsplit(where)
        # Credentials, their renewal and the region come from the environment (AWS_ and so on).
        more: dict[str, Any] = {} if not endpoint else {"endpoint": endpoint}
        store = S3Store(
            parts.netloc,
            prefix=parts.path.strip("/") or None,
            virtual_hosted_style_request=not endpoint,
            client_options={
                "allow_http": endpoint.startswith("http:"),
                "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_S),
                "timeout": timedelta(seconds=WRITE_TIMEOUT_S),
            },
            retry_config={
                "max_retries": MAX_RETRIES,
                "retry_timeout": timedelta(seconds=LIST_TIMEOUT_S),
            },
            **more,
        )
        return cls(store, counters)

    async def list(self) -> tuple[Stored, ...]:
        """Every picture; what is not named like one is passed over."""
        return await self._call("list", self._list, LIST_TIMEOUT_S)

    async def head(self, name: str, length: int) -> bytes:
        """The first bytes of a picture. Raises UnknownBackground."""

        async def read() -> bytes:
            part = await obstore.get_range_async(self._store, _key(name), start=0, length=length)
            return bytes(part)

        return await self._call("read", read, READ_TIMEOUT_S, name)

    async def read(self, name: str, *, max_bytes: int) -> tuple[bytes, str]:
        """A picture and its version. Raises UnknownBackground, for one that is too large as well:
        nothing that was written here is."""

        async def read() -> tuple[bytes, str]:
            found = await obstore.get_async(self._store, _key(name))
            if found.meta["size"] > max_bytes:
                raise FileNotFoundError
            return bytes(await found.bytes_async()), str(found.meta["e_tag"])

        return await self._call("read", read, READ_TIMEOUT_S, name)

    async def write(
        self,
        name: str,
        data: bytes,
        *,
        media_type: str = MEDIA_TYPE,
        new: bool = False,
        replacing: str | None = None,
    ) -> Stored:
        """Puts it in place of what is there. ``new``: only where there is nothing; ``replacing``:
        only in place of this version (a folder cannot be told so: there this is for the caller to
        see to). Raises Changed."""
        mode: Any = "create" if new else "overwrite"
        if replacing is not None and isinstance(self._store, S3Store):
            mode = {"e_tag": replacing}
        attributes: Any = {"Content-Type": media_type} if isinstance(self._store, S3Store) else None

        async def write() -> Stored:
            done = await obstore.put_async(
                self._store, _key(name), data, mode=mode, attributes=attributes, use_multipart=False
            )
            return Stored(name, str(done["e_tag"]), len(data))

        return await self._call("write", write, WRITE_TIMEOUT_S)

    async def delete(self, name: str) -> None:
        """Raises UnknownBackground, where the store says so."""

        async def delete() -> None:
            await obstore.delete_async(self._store, _key(name))

        await self._call("delete", delete, WRITE_TIMEOUT_S, name)

    async def close(self) -> None:
        """Gives up what is under way."""
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def _list(self) -> tuple[Stored, ...]:
        found = []
        looked_at = 0
        async for chunk in obstore.list(self._store):
            for one in chunk:
                name = one["path"].removesuffix(SUFFIX)
                known = BACKGROUND_NAME.fullmatch(name) is not None and name != SESSION_BACKGROUND
                if known and one["path"] != name:
                    found.append(Stored(name, str(one["e_tag"]), one["size"]))
            looked_at += len(chunk)
            if looked_at >= MAX_KEYS:
                logger.warning("the library's store has too many keys; %d were read", looked_at)
                break
        return tuple(found)

    async def _call(
        self,
        operation: str,
        work: Callable[[], Coroutine[Any, Any, T]],
        timeout_s: float,
        name: str | None = None,
    ) -> T:
        try:
            async with asyncio.timeout(timeout_s):
                await self._slots.acquire()
                call = asyncio.create_task(work())
                self._calls.add(call)
                call.add_done_callback(self._ended)
                # Not cancelled when its time is up: a folder that hangs keeps its thread, and so
                # the call keeps its place.
                return await asyncio.shield(call)
        except (AlreadyExistsError, PreconditionError) as exc:
            raise Changed from exc
        except FileNotFoundError as exc:
            if name is not None:
                raise UnknownBackground(name) from exc
            raise self._failed(operation, exc) from exc
        except (BaseError, OSError, ValueError) as exc:  # TimeoutError is an OSError
            raise self._failed(operation, exc) from exc

    def _ended(self, call: asyncio.Task[Any]) -> None:
        self._calls.discard(call)
        self._slots.release()
        if not call.cancelled():
            call.exception()  # nobody may be left to be told

    def _failed(self, operation: str, exc: Exception) -> LibraryUnavailable:
        self._counters.library_failed(operation)
        # A server's own words come last, as XML, and may repeat what it was sent.
        reason = str(exc).partition("<")[0].strip()[:LOGGED_CHARS] or "it took too long"
        logger.warning("the library: %s failed: %s: %s", operation, type(exc).__name__, reason)
        return LibraryUnavailable()


def _key(name: str) -> str:
    if BACKGROUND_NAME.fullmatch(name) is None:
        raise UnknownBackground(name)
    return f"{name}{SUFFIX}"
