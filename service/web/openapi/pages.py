"""Operations of the page: a GET of each file of it (service.web.pages)."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from service.web.openapi.operation import Answer, Operation, Who
from service.web.pages import INDEX, MEDIA_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE_HEADERS = ("ETag", "Last-Modified", "Accept-Ranges")


def operations(paths: Iterable[str]) -> tuple[Operation, ...]:
    """One for each file, by its path."""
    return tuple(_file(path) for path in paths)


def _file(path: str) -> Operation:
    name = path.removeprefix("/") or INDEX
    media_type = MEDIA_TYPES[PurePosixPath(name).suffix].partition(";")[0]
    content = {media_type: {"schema": {"type": "string"}}}
    return Operation(
        "GET",
        path,
        "page_" + re.sub(r"[^a-z0-9]+", "_", name.lower()),
        f"{name} of the page",
        who=Who.EVERYBODY,
        # As aiohttp's FileResponse does (RFC 9110 13 and 14).
        answers={
            200: Answer("The file", content, FILE_HEADERS),
            206: Answer("A part of it: Range", content, (*FILE_HEADERS, "Content-Range")),
            304: Answer("It is still the same: If-None-Match, If-Modified-Since"),
            412: Answer("It is another: If-Match, If-Unmodified-Since"),
            416: Answer("It has no such part: Range", headers=("Content-Range",)),
        },
    )
