"""The browser page and client.js: the files of one folder, each at its own name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from aiohttp.typedefs import Handler

INDEX: Final = "index.html"

# Only files of these types are served, whatever else lies in the folder.
MEDIA_TYPES: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}


def content_security_policy(*, move_to: str = "") -> str:
    """Scripts and styles from this server alone; pictures that the page made itself (blob:, data:);
    the camera and the processed stream (mediastream:); requests to this server, and to the one that
    calls move to: the origin of `move_to`, a URL that the settings took, or "" for none."""
    parts = urlsplit(move_to)
    connect = " ".join(["'self'", *([f"{parts.scheme}://{parts.netloc}"] if move_to else [])])
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        f"connect-src {connect}; media-src 'self' blob: mediastream:; frame-ancestors 'none'; "
        "base-uri 'none'; form-action 'none'"
    )


def page_routes(directory: Path, *, move_to: str = "") -> Iterator[tuple[str, Handler]]:
    """The path and the handler of every file of the page; "/" is its index.html. The page may send
    requests to the origin of `move_to` too.

    The paths are listed once, at the start: no request's path ever reaches the file system.
    """
    policy = content_security_policy(move_to=move_to)
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.suffix in MEDIA_TYPES:
            name = path.relative_to(directory).as_posix()
            yield ("/" if name == INDEX else f"/{name}"), _file_handler(path, policy)


def _file_handler(path: Path, policy: str) -> Handler:
    headers = {
        "Content-Type": MEDIA_TYPES[path.suffix],
        "Content-Security-Policy": policy,
        # Asked for anew each time, and answered by 304 while it is the same: a page of one
        # release never meets a script of another.
        "Cache-Control": "no-cache",
    }

    async def serve(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(path, headers=headers)

    return serve
