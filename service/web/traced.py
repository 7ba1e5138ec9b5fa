"""Spans of the requests that set a session up (service.tracing makes them)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import web

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from aiohttp.typedefs import Handler, Middleware

TRACEPARENT: Final = "traceparent"
NAMES: Final = {
    ("POST", "/v1/sessions"): "create session",
    ("POST", "/v1/sessions/{session_id}/rtc"): "offer/answer",
    ("POST", "/v1/whip"): "WHIP offer/answer",
    ("POST", "/v1/whep/{session_id}"): "WHEP offer/answer",
}
"""Method and route -> the name of its span. No other request is traced."""


class Request(Protocol):
    """One request's span."""

    def answered(self, status: int) -> None: ...


class Traces(Protocol):
    """Where spans come from."""

    def request(
        self, name: str, *, traceparent: str | None, session_id: str | None
    ) -> AbstractContextManager[Request]: ...


def traced(traces: Traces) -> Middleware:
    """A middleware; the outermost, so that it sees the answer that an error is turned into."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        name = NAMES.get((request.method, "" if resource is None else resource.canonical))
        if name is None:
            return await handler(request)
        with traces.request(
            name,
            traceparent=request.headers.get(TRACEPARENT),
            session_id=request.match_info.get("session_id"),
        ) as span:
            response = await handler(request)
            span.answered(response.status)
            return response

    return middleware
