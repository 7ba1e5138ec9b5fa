"""Headers that every answer carries, and those that pages of other origins may send and read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

EXPOSED_HEADERS: Final = ("ETag", "Link", "Location", "Retry-After")
REQUEST_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
)
PREFLIGHT_MAX_AGE_S: Final = 600

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    # An answer of the API is data: should a browser open it as a page, it may do nothing.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Answers hold tokens and session ids; what may be kept says so itself.
    "Cache-Control": "no-store",
}


async def complete(_: web.Request, response: web.StreamResponse) -> None:
    """What every answer carries, errors included: a hook of aiohttp's before an answer is sent."""
    put(response)


def put(response: web.StreamResponse) -> None:
    """The same for an answer that no hook sees."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    # Whether an answer may be read depends on who asks: no cache may give it to another origin.
    response.headers.setdefault("Vary", "Origin")
    # aiohttp names itself and its version by default.
    response.headers["Server"] = "backcloth"
