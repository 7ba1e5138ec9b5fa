"""Operations on sessions: service.web.sessions, service.web.fleet, service.web.events."""

from __future__ import annotations

from typing import Any, Final

from service.session.events import Kind
from service.web import problems
from service.web.events import EVENT_ID, MEDIA_TYPE, MISSED_TYPE
from service.web.fleet import MAX_ENDED
from service.web.idempotency import KEPT_S, MAX_KEY_CHARS
from service.web.openapi.operation import (
    OF_A_BODY,
    Answer,
    Body,
    Operation,
    Who,
    in_header,
    in_path,
    in_query,
    json_answer,
    json_body,
)
from service.web.openapi.schemas import METADATA_VALUE, TEXT, choice, nullable, ref, told, whole
from service.web.preconditions import LIST, MAX_CHARS
from service.web.selection import (
    CHOICES,
    DEFAULT_LIMIT,
    MAX_CURSOR_CHARS,
    MAX_LIMIT,
    METADATA_PREFIX,
)
from service.web.sessions import PICTURE_TYPES
from service.web.spec import MAX_METADATA_ENTRIES, MAX_METADATA_KEY_CHARS

ONE: Final = "/v1/sessions/{session_id}"
SESSION_ID: Final = in_path("session_id", description="A secret: keep it out of logs.")
IF_MATCH: Final = in_header(
    "If-Match",
    {
        "type": "string",
        "maxLength": MAX_CHARS,
        "pattern": rf"^(\*|{LIST.pattern})$",
        "examples": ["*"],
    },
    "Entity tags (RFC 9110 13.1.1): done only where the version is one of these.",
)
IDEMPOTENCY_KEY: Final = in_header(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARS},
    f"The same key with the same body gets the same answer for {KEPT_S:g} s.",
)
LAST_EVENT_ID: Final = in_header(
    "Last-Event-ID",
    {"type": "string", "pattern": f"^({EVENT_ID.pattern})?$"},
    "The stream begins after this event; 0 asks for all that are kept.",
)
PICTURE: Final[dict[str, Any]] = {"schema": {"type": "string", "format": "binary"}}

SERVERS: Final[dict[str, Any]] = {
    "type": "array",
    "items": {"type": "string"},
    "description": "Of a fleet: servers that did not answer, by what their sessions' ids end in.",
}

# What the answer that opens a session leads to.
LINKS: Final = {
    operation: {"operationId": operation, "parameters": {"session_id": "$response.body#/id"}}
    for operation in ("get_session", "change_session", "delete_session", "offer")
}

METADATA_QUERY: Final = {
    "name": "metadata",
    "in": "query",
    "style": "form",
    "explode": True,
    "description": f"`{METADATA_PREFIX}KEY=VALUE`: with this value of that metadata.",
    "schema": {
        "type": "object",
        "patternProperties": {
            rf"^metadata\..{{1,{MAX_METADATA_KEY_CHARS}}}$": METADATA_VALUE,
        },
        "additionalProperties": False,
        "maxProperties": MAX_METADATA_ENTRIES,
    },
}

METADATA: Final = {"type": "object", "additionalProperties": METADATA_VALUE}


def _event(members: dict[str, Any]) -> dict[str, Any]:
    """One event of a stream, by the names of its fields; ``members`` are what its JSON has beside
    the common ones. OpenAPI 3.1 has no word for the items of a stream (3.2 calls it itemSchema)."""
    told_of_all = {"type": choice([*(kind.value for kind in Kind), MISSED_TYPE])}
    told_of_most = {"id": whole(1, 10**16 - 1), "at": {"type": "number"}, "mid": TEXT, **members}
    return {
        "type": "object",
        "description": "One event.",
        "properties": {
            "id": {"type": "string", "pattern": f"^{EVENT_ID.pattern}$"},
            "event": told_of_all["type"],
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {
                    "type": "object",
                    "properties": {**told_of_all, **told_of_most},
                    "required": [*told_of_all],
                },
            },
        },
        "required": ["event", "data"],
    }


OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/sessions",
        "open_session",
        "Opens a session",
        who=Who.OPENER,
        description="The holder of a platform's token may ask for less than it grants alone, and "
        "gets 200 where the token's session is open already.",
        parameters=(IDEMPOTENCY_KEY,),
        body=json_body(ref("NewSession"), required=False),
        answers={
            200: json_answer("The token's session, which was open already", ref("Opened")),
            201: json_answer("The new session", ref("Opened"), "Location", links=LINKS),
        },
        problems=(
            problems.EFFECT_NOT_ALLOWED,
            problems.UNKNOWN_SESSION,
            problems.INVALID_FIELD,
            problems.MODEL_UNAVAILABLE,
            problems.LIBRARY_UNAVAILABLE,
            problems.KEY_REUSED,
            problems.NO_CAPACITY,
        ),
    ),
    Operation(
        "GET",
        "/v1/sessions",
        "list_sessions",
        "All sessions, the oldest of each server first",
        who=Who.PLATFORM,
        parameters=(
            *(
                in_query(
                    name,
                    {"type": "array", "items": choice(names), "minItems": 1, "uniqueItems": True},
                    "May be repeated: one of these.",
                )
                for name, names in CHOICES.items()
            ),
            METADATA_QUERY,
            in_query("limit", whole(1, MAX_LIMIT, DEFAULT_LIMIT)),
            in_query("cursor", TEXT | {"maxLength": MAX_CURSOR_CHARS}, "Of the page before."),
        ),
        answers={
            200: json_answer(
                "A page",
                told(
                    {
                        "sessions": {"type": "array", "items": ref("ListedSession")},
                        "next_cursor": nullable(TEXT),
                        "unanswered": SERVERS,
                    },
                    optional=("unanswered",),
                ),
            )
        },
        problems=(problems.INVALID_FIELD,),
    ),
    Operation(
        "POST",
        "/v1/sessions/end",
        "end_sessions",
        f"Ends up to {MAX_ENDED} sessions",
        who=Who.PLATFORM,
        body=json_body(ref("SomeSessions")),
        answers={
            200: json_answer(
                "Which were ended",
                told(
                    {
                        "ended": {"type": "array", "items": TEXT},
                        "unknown": {"type": "array", "items": TEXT},
                        "more": {"type": "boolean"},
                        "unanswered": SERVERS,
                    },
                    optional=("unanswered",),
                ),
            )
        },
        problems=(problems.INVALID_FIELD,),
    ),
    Operation(
        "GET",
        ONE,
        "get_session",
        "The session, its tracks and their figures",
        who=Who.SESSION,
        parameters=(SESSION_ID,),
        answers={200: json_answer("The session", ref("Session"), "ETag")},
        problems=(problems.UNKNOWN_SESSION,),
    ),
    Operation(
        "PATCH",
        ONE,
        "change_session",
        "Changes the effect of every track, or the address or bearer of a pull or a push",
        who=Who.SESSION,
        parameters=(SESSION_ID, IF_MATCH),
        body=json_body(ref("Change")),
        answers={200: json_answer("The session", ref("Session"), "ETag")},
        problems=(
            problems.EFFECT_NOT_ALLOWED,
            problems.UNKNOWN_SESSION,
            problems.STALE_ETAG,
            problems.INVALID_FIELD,
            problems.BAD_PICTURE,
            problems.MODEL_UNAVAILABLE,
            problems.LIBRARY_UNAVAILABLE,
            problems.NO_CAPACITY,
        ),
    ),
    Operation(
        "PATCH",
        f"{ONE}/tracks/{{mid}}",
        "change_track",
        "Changes the effect of one video track",
        who=Who.SESSION,
        parameters=(SESSION_ID, in_path("mid"), IF_MATCH),
        body=json_body(ref("TrackChange")),
        answers={200: json_answer("The session", ref("Session"), "ETag")},
        problems=(
            problems.EFFECT_NOT_ALLOWED,
            problems.UNKNOWN_SESSION,
            problems.UNKNOWN_TRACK,
            problems.STALE_ETAG,
            problems.INVALID_FIELD,
            problems.BAD_PICTURE,
            problems.MODEL_UNAVAILABLE,
            problems.LIBRARY_UNAVAILABLE,
            problems.NO_CAPACITY,
        ),
    ),
    Operation(
        "DELETE",
        ONE,
        "delete_session",
        "Ends the session",
        who=Who.SESSION,
        parameters=(SESSION_ID, IF_MATCH),
        answers={204: Answer("Nothing of it is left")},
        problems=(problems.UNKNOWN_SESSION, problems.STALE_ETAG, problems.INVALID_FIELD),
    ),
    Operation(
        "PUT",
        f"{ONE}/background",
        "put_session_background",
        "A picture for this session alone, kept in memory",
        who=Who.SESSION,
        parameters=(SESSION_ID,),
        body=Body(
            dict.fromkeys(PICTURE_TYPES, PICTURE),
            (
                *OF_A_BODY,
                problems.BAD_PICTURE,
                problems.TOO_MANY_UPLOADS,
                problems.NO_CAPACITY,
            ),
        ),
        answers={
            200: json_answer("The name to use in effects", told({"background": TEXT})),
        },
        problems=(problems.EFFECT_NOT_ALLOWED, problems.UNKNOWN_SESSION),
    ),
    *(
        Operation(
            "GET",
            path,
            operation,
            summary,
            who=who,
            parameters=(*parameters, LAST_EVENT_ID),
            answers={
                200: Answer(
                    "Server-sent events (WHATWG HTML), until there are no more",
                    {MEDIA_TYPE: {"schema": _event(members)}},
                    ("X-Accel-Buffering",),
                )
            },
            problems=(*unknown, problems.INVALID_FIELD, problems.TOO_MANY_LISTENERS),
        )
        for path, operation, summary, who, parameters, unknown, members in (
            (
                f"{ONE}/events",
                "session_events",
                "What happens in the session",
                Who.SESSION,
                (SESSION_ID,),
                (problems.UNKNOWN_SESSION,),
                {},
            ),
            (
                "/v1/events",
                "all_events",
                "What happens in all sessions",
                Who.PLATFORM,
                (),
                (),
                {"session_id": TEXT, "metadata": METADATA},
            ),
        )
    ),
)
