"""Request bodies: of the right type, within a limit, within a time; then parsed."""

from __future__ import annotations

import asyncio
import json
from typing import Final, NoReturn

from aiohttp import web

from service.web.problems import (
    BAD_REQUEST,
    BODY_TIMEOUT,
    BODY_TOO_LARGE,
    MALFORMED_JSON,
    NOT_ACCEPTABLE,
    UNSUPPORTED_TYPE,
    Problem,
)

JSON_LIMIT_BYTES: Final = 64 * 1024
SDP_LIMIT_BYTES: Final = 32 * 1024
TEXT_TIMEOUT_S: Final = 10.0
# A picture of the largest default size arrives in this time at 1.4 Mbit/s.
PICTURE_TIMEOUT_S: Final = 60.0


def require_type(request: web.Request, *types: str, accept_header: str = "") -> None:
    """Raises a 415 for any other media type, before a byte of the body is read.

    ``accept_header`` names the answer's header that lists what would do (Accept-Post,
    Accept-Patch: RFC 9725 4.2 and RFC 5789 3.1).
    """
    given = request.content_type if "Content-Type" in request.headers else "nothing"
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    headers = {accept_header: ", ".join(types)} if accept_header else None
    if given not in types:
        detail = f"Content-Type must be {' or '.join(types)}"
        raise Problem(UNSUPPORTED_TYPE, detail, headers=headers)
    if encoding != "identity":
        raise Problem(UNSUPPORTED_TYPE, "a Content-Encoding is not taken", headers=headers)


def require_acceptable(request: web.Request, media_type: str) -> None:
    """Raises a 406 where Accept leaves no room for the answer's type (RFC 9110 12.5.1).

    The most specific range that fits decides: ``q=0`` on it refuses.
    """
    fields = request.headers.getall("Accept", [])
    given = [part for field in fields for part in field.split(",") if part.strip()]
    if not given:
        return
    ranges = (media_type, media_type.split("/")[0] + "/*", "*/*")
    weights = dict(_weighted(part) for part in reversed(given))
    weight = next((weights[one] for one in ranges if one in weights), 0.0)
    if weight <= 0:
        raise Problem(NOT_ACCEPTABLE, f"the answer is {media_type}, which Accept leaves out")


def _weighted(part: str) -> tuple[str, float]:
    """A media range and its weight; a weight that is no number counts as 1."""
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return name, float(parameter[2:])
            except ValueError:
                break
    return name, 1.0


async def read_body(request: web.Request, *, limit_bytes: int, timeout_s: float) -> bytes:
    """The body; raises a 413 as soon as it is known to be too large, a 408 when it dawdles."""
    too_large = Problem(
        BODY_TOO_LARGE,
        f"the body may have {limit_bytes} bytes",
        # What is still on its way is not worth reading.
        headers={"Connection": "close"},
    )
    if request.content_length is not None and request.content_length > limit_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit_bytes:
                    raise too_large
    except TimeoutError:
        detail = f"the body must arrive within {timeout_s:g} s"
        raise Problem(BODY_TIMEOUT, detail, headers={"Connection": "close"}) from None
    except (web.RequestPayloadError, ConnectionResetError):
        detail = "the body broke off, or is not framed as its headers say"
        raise Problem(BAD_REQUEST, detail, headers={"Connection": "close"}) from None
    return bytes(body)


def require_caller(request: web.Request) -> None:
    """Raises where whoever asked has gone meanwhile: they would not learn of what is made for them,
    and may have asked another server since."""
    if request.transport is None or request.transport.is_closing():
        raise Problem(BAD_REQUEST, "the caller has gone")


async def read_sdp(request: web.Request) -> str:
    """An SDP body or fragment as text; characters that are not UTF-8 fail in its parser."""
    body = await read_body(request, limit_bytes=SDP_LIMIT_BYTES, timeout_s=TEXT_TIMEOUT_S)
    return body.decode(errors="replace")


async def read_json_bytes(request: web.Request) -> bytes:
    """A JSON body, not parsed yet; empty where the request has none."""
    if request.can_read_body:
        require_type(request, "application/json")
    return await read_body(request, limit_bytes=JSON_LIMIT_BYTES, timeout_s=TEXT_TIMEOUT_S)


def parse_object(body: bytes) -> dict[str, object]:
    """A JSON object; an empty body is an empty object."""
    if not body:
        return {}
    try:
        value = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Problem(MALFORMED_JSON, "the body must be one JSON object in UTF-8") from None
    if not isinstance(value, dict):
        raise Problem(MALFORMED_JSON, "the body must be one JSON object in UTF-8")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
