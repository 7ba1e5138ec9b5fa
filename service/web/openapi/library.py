"""Operations of what effects may name: service.web.backgrounds, service.web.models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from service.frame.filmfile import MEDIA_TYPES
from service.policy.effects import BACKGROUND_NAME, MODELS
from service.session.pictures import MEDIA_TYPE
from service.web import problems
from service.web.backgrounds import THUMBNAIL
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
)
from service.web.openapi.schemas import COUNT, SWITCH, TEXT, choice, told
from service.web.preconditions import LIST, MAX_CHARS
from service.web.sessions import PICTURE_TYPES

if TYPE_CHECKING:
    from service.web.openapi.problem import Json

FILM_TYPES: Final = tuple(MEDIA_TYPES.values())
LISTED: Final = told(
    {
        "name": TEXT,
        "title": TEXT,
        "width": COUNT,
        "height": COUNT,
        "size": COUNT,
        "kind": choice(["film", "picture"]),
        "type": choice([MEDIA_TYPE, *FILM_TYPES]),
        "built_in": SWITCH,
        "etag": TEXT,
        "url": TEXT,
        "thumbnail_url": TEXT,
    }
)
MODEL: Final = told(
    {"name": choice(MODELS), "installed": SWITCH, "missing": {"type": "array", "items": TEXT}}
)
IF_NONE_MATCH: Final = in_header("If-None-Match", TEXT, "304 where it is still the same.")
ONE: Final = "/v1/backgrounds/{name}"
NAME: Final = in_path("name", BACKGROUND_NAME.pattern)
TAGS: Final[Json] = {
    "type": "string",
    "maxLength": MAX_CHARS,
    "pattern": rf"^(\*|{LIST.pattern})$",
}
CONDITIONS: Final = (
    in_header(
        "If-Match",
        TAGS | {"examples": ["*"]},
        "Done only where one of these is there; *: anything.",
    ),
    in_header(
        "If-None-Match",
        TAGS | {"examples": ['"an-etag"']},
        "Done only where none of these is there; *: nothing.",
    ),
)
PICTURE: Final[Json] = {"schema": {"type": "string", "format": "binary"}}
SAME: Final = Answer("It is still the same", headers=("ETag",))
OF_A_THUMBNAIL: Final = {
    200: Answer("The picture", {MEDIA_TYPE: PICTURE}, ("ETag",)),
    304: SAME,
}
OF_A_PICTURE: Final = {
    200: Answer(
        "The picture or film", dict.fromkeys((MEDIA_TYPE, *FILM_TYPES), PICTURE), ("ETag",)
    ),
    304: SAME,
}
CHANGE: Final = (
    problems.BUILT_IN_BACKGROUND,
    problems.NO_LIBRARY,
    problems.PRECONDITION_FAILED,
    problems.INVALID_FIELD,
    problems.LIBRARY_UNAVAILABLE,
)

OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/backgrounds",
        "list_backgrounds",
        "The pictures and films that effects may name",
        who=Who.CALLER,
        answers={
            200: json_answer(
                "The library",
                told({"backgrounds": {"type": "array", "items": LISTED}, "current": SWITCH}),
            )
        },
    ),
    Operation(
        "GET",
        ONE,
        "get_background",
        "One picture or film",
        who=Who.CALLER,
        parameters=(
            in_path("name"),
            in_query("size", choice([THUMBNAIL]), "Left out: the picture itself."),
            IF_NONE_MATCH,
        ),
        answers=OF_A_PICTURE,
        problems=(
            problems.UNKNOWN_BACKGROUND,
            problems.BAD_PICTURE,
            problems.INVALID_FIELD,
            problems.LIBRARY_UNAVAILABLE,
        ),
    ),
    Operation(
        "GET",
        f"{ONE}/{THUMBNAIL}",
        "get_background_thumbnail",
        "One picture, or the first of a film, small",
        who=Who.CALLER,
        parameters=(in_path("name"), IF_NONE_MATCH),
        answers=OF_A_THUMBNAIL,
        problems=(
            problems.UNKNOWN_BACKGROUND,
            problems.BAD_PICTURE,
            problems.LIBRARY_UNAVAILABLE,
        ),
    ),
    Operation(
        "PUT",
        ONE,
        "put_background",
        "Adds a picture or a film to the library, or replaces one",
        who=Who.PLATFORM,
        parameters=(NAME, *CONDITIONS),
        body=Body(
            dict.fromkeys(PICTURE_TYPES, PICTURE),
            (*OF_A_BODY, problems.BAD_PICTURE, problems.TOO_MANY_UPLOADS),
        ),
        answers={
            200: json_answer("It replaced another picture", LISTED),
            201: json_answer("It is new", LISTED, "Location"),
        },
        problems=(*CHANGE, problems.LIBRARY_FULL, problems.NO_CAPACITY),
    ),
    Operation(
        "DELETE",
        ONE,
        "delete_background",
        "Takes a picture out of the library; sessions that show it keep it",
        who=Who.PLATFORM,
        parameters=(in_path("name"), *CONDITIONS),
        answers={204: Answer("It is not there any more")},
        problems=(*CHANGE, problems.UNKNOWN_BACKGROUND),
    ),
    Operation(
        "GET",
        "/v1/models",
        "list_models",
        "The models that effects may name, and which are installed",
        who=Who.CALLER,
        answers={
            200: json_answer("The models", told({"models": {"type": "array", "items": MODEL}}))
        },
    ),
)
