"""Expect: what a client wants to hear before it sends a body (RFC 9110 10.1.1).

aiohttp's own handler answers an expectation that it does not know before any middleware: by a 417
in plain text. Here it is a problem like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.web.problems import BAD_REQUEST, Problem

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.web_response import StreamResponse


async def expect(request: web.Request) -> StreamResponse | None:
    """Whoever waits for a 100 gets it; any other expectation is a 400."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        return Problem(BAD_REQUEST, "Expect may be 100-continue alone").response()
    if request.version >= (1, 1) and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return None
