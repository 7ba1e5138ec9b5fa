"""Errors as HTTP answers: application/problem+json (RFC 9457) for everything that goes wrong.

The one place where a domain error meets a status code. The handlers raise; the middleware here
answers. docs/api.md lists every kind.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiohttp import web

from service import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.typedefs import Handler

logger = logging.getLogger(__name__)

CONTENT_TYPE: Final = "application/problem+json"
# A port for media is free again when any peer ends, which nobody can foresee.
PORT_RETRY_S: Final = 5
LIBRARY_RETRY_S: Final = 2


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: ``/problems/SLUG`` is its stable type, whatever the detail says."""

    slug: str
    status: int
    title: str


MALFORMED_JSON = Kind("malformed-json", 400, "The body is not JSON")
BAD_OFFER = Kind("bad-offer", 400, "The SDP cannot be parsed")
BAD_REQUEST = Kind("bad-request", 400, "The request is malformed")
UNAUTHORIZED = Kind("unauthorized", 401, "A platform key or session token is required")
FORBIDDEN = Kind("forbidden", 403, "The credentials do not reach this far")
EFFECT_NOT_ALLOWED = Kind("effect-not-allowed", 403, "The session does not allow this effect")
FOREIGN_ORIGIN = Kind("foreign-origin", 403, "Pages of this origin may not call the service")
NOT_FOUND = Kind("not-found", 404, "There is nothing at this address")
UNKNOWN_SESSION = Kind("unknown-session", 404, "There is no such session")
UNKNOWN_PEER = Kind("unknown-peer", 404, "There is no such peer")
UNKNOWN_TRACK = Kind("unknown-track", 404, "The session has no such video track")
UNKNOWN_BACKGROUND = Kind("unknown-background", 404, "There is no such background")
METHOD_NOT_ALLOWED = Kind("method-not-allowed", 405, "The address does not take this method")
NOT_ACCEPTABLE = Kind("not-acceptable", 406, "The answer would be of another media type")
BODY_TIMEOUT = Kind("body-timeout", 408, "The body took too long to arrive")
BUILT_IN_BACKGROUND = Kind("built-in-background", 409, "The background comes with the service")
NO_LIBRARY = Kind("no-library", 409, "This server keeps no backgrounds but those built in")
PRECONDITION_FAILED = Kind("precondition-failed", 412, "The picture is not as the request asks")
STALE_ETAG = Kind("stale-etag", 412, "If-Match does not name the current state")
BODY_TOO_LARGE = Kind("body-too-large", 413, "The body is too large")
UNSUPPORTED_TYPE = Kind("unsupported-media-type", 415, "The body is of another media type")
FOREIGN_HOST = Kind("foreign-host", 421, "In development mode the service answers to localhost")
MISDIRECTED = Kind("misdirected-hop", 421, "The request is for another server of the fleet")
INVALID_FIELD = Kind("invalid-field", 422, "A field is out of its range")
UNSUPPORTED_OFFER = Kind("unsupported-offer", 422, "The offer asks for what is not served")
MODEL_UNAVAILABLE = Kind("model-unavailable", 422, "The model is not installed on this server")
BAD_PICTURE = Kind("bad-picture", 422, "The picture cannot be used")
KEY_REUSED = Kind("idempotency-key-reused", 422, "The Idempotency-Key came with another body")
IF_MATCH_REQUIRED = Kind("if-match-required", 428, "If-Match is required")
FAILED_LOGINS = Kind("failed-logins", 429, "Too many credentials were wrong")
TOO_MANY_UPLOADS = Kind("too-many-uploads", 429, "Too many pictures are arriving at once")
TOO_MANY_LISTENERS = Kind("too-many-listeners", 429, "Too many listen to events at once")
TOO_MANY_MESSAGES = Kind("too-many-messages", 429, "Too many messages came over a data channel")
INTERNAL = Kind("internal", 500, "The service failed")
NO_CAPACITY = Kind("no-capacity", 503, "There is no room for another session or viewer")
NO_MEDIA_PORT = Kind("no-media-port", 503, "There is no free port for media")
KEYS_UNAVAILABLE = Kind("keys-unavailable", 503, "The keys of the platform's tokens are not here")
LIBRARY_UNAVAILABLE = Kind("library-unavailable", 503, "The library's store does not answer")
PEER_UNREACHABLE = Kind("peer-unreachable", 503, "A server of the fleet does not answer")
NOT_READY = Kind("not-ready", 503, "The service is starting or draining")
LIBRARY_FULL = Kind("library-full", 507, "The library has no room for another picture")

KINDS: Final = tuple(value for value in list(globals().values()) if isinstance(value, Kind))

# What aiohttp itself raises: no route, a wrong method, a preflight of another origin.
_BY_STATUS: Final[Mapping[int, Kind]] = {
    403: FOREIGN_ORIGIN,
    404: NOT_FOUND,
    405: METHOD_NOT_ALLOWED,
    413: BODY_TOO_LARGE,
}
_BY_ERROR: Final[Mapping[type[errors.BackclothError], Kind]] = {
    errors.UnknownSession: UNKNOWN_SESSION,
    errors.UnknownPeer: UNKNOWN_PEER,
    errors.UnknownBackground: UNKNOWN_BACKGROUND,
    errors.NotAllowed: EFFECT_NOT_ALLOWED,
    errors.PictureError: BAD_PICTURE,
    errors.TokenError: UNAUTHORIZED,
    errors.BadOffer: BAD_OFFER,
    errors.UnsupportedOffer: UNSUPPORTED_OFFER,
    errors.StaleETag: STALE_ETAG,
    errors.BuiltInPicture: BUILT_IN_BACKGROUND,
    errors.NoLibrary: NO_LIBRARY,
    errors.LibraryFull: LIBRARY_FULL,
    errors.PreconditionFailed: PRECONDITION_FAILED,
}


class Problem(Exception):
    """A request that cannot be served; raised by handlers, answered by the middleware."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **members: str | int,
    ) -> None:
        """``members`` are further members of the JSON (RFC 9457 3.2)."""
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    def response(self) -> web.Response:
        """The HTTP answer."""
        return web.Response(
            status=self.kind.status,
            body=json.dumps(problem_json(self)).encode(),
            headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store", **self.headers},
        )


def problem_json(problem: Problem) -> dict[str, object]:
    """The problem object (RFC 9457 3)."""
    return {
        "type": f"/problems/{problem.kind.slug}",
        "title": problem.kind.title,
        "status": problem.kind.status,
        "detail": problem.detail,
        **problem.members,
    }


def unauthorized(detail: str, *, error: str = "") -> Problem:
    """401 with the challenge that RFC 6750 asks for."""
    challenge = 'Bearer realm="backcloth"' + (f', error="{error}"' if error else "")
    return Problem(UNAUTHORIZED, detail, headers={"WWW-Authenticate": challenge})


def from_error(error: errors.BackclothError) -> Problem | None:
    """What a domain error is over HTTP; None for one that no caller can have caused."""
    match error:
        case errors.InvalidField():
            return Problem(INVALID_FIELD, str(error), field=error.field)
        case errors.Refused():
            return Problem(
                NO_CAPACITY,
                str(error),
                headers={"Retry-After": str(error.retry_after_s)},
                reason=str(error.reason),
                **({"move_to": error.move_to} if error.move_to else {}),
            )
        case errors.ModelUnavailable():
            return Problem(MODEL_UNAVAILABLE, str(error), field="effect.model", model=error.model)
        case errors.NoMediaPort():
            retry = {"Retry-After": str(PORT_RETRY_S)}
            return Problem(NO_MEDIA_PORT, str(error), headers=retry)
        case errors.StaleETag() if error.current is not None:
            return Problem(STALE_ETAG, str(error), headers={"ETag": error.current})
        case errors.PreconditionFailed() if error.current is not None:
            return Problem(PRECONDITION_FAILED, str(error), headers={"ETag": error.current})
        case errors.LibraryUnavailable():
            retry = {"Retry-After": str(LIBRARY_RETRY_S)}
            return Problem(LIBRARY_UNAVAILABLE, str(error), headers=retry)
        case errors.TokenError():
            return unauthorized(str(error), error="invalid_token")
    kind = _BY_ERROR.get(type(error))
    return None if kind is None else Problem(kind, str(error))


def from_http(error: web.HTTPException) -> Problem:
    """What aiohttp refused of itself."""
    kind = _BY_STATUS.get(error.status, BAD_REQUEST)
    # A 405 says what the address does take (RFC 9110 15.5.6).
    headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
    return Problem(kind, kind.title, headers=headers)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns whatever a handler raises into an answer."""
    try:
        return await handler(request)
    except Problem as raised:
        return raised.response()
    except errors.BackclothError as error:
        problem = from_error(error)
        return _internal(request, error) if problem is None else problem.response()
    except web.HTTPException as error:
        return from_http(error).response()
    except Exception as error:
        return _internal(request, error)


def _internal(request: web.Request, error: Exception) -> web.Response:
    # The pattern, not the path: a session id is a secret, and so is any header.
    resource = request.match_info.route.resource
    where = resource.canonical if resource is not None else "?"
    logger.error("a request failed: %s %s", request.method, where, exc_info=error)
    return Problem(INTERNAL, "the fault is in the service's log").response()
