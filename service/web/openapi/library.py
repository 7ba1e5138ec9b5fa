"""Operations of what effects may name: service.web.backgrounds, service.web.models."""

from __future__ import annotations

from typing import Final

from service.policy.effects import MODELS
from service.session.pictures import MEDIA_TYPE
from service.web import problems
from service.web.backgrounds import THUMBNAIL
from service.web.openapi.operation import (
    Answer,
    Operation,
    Who,
    in_header,
    in_path,
    in_query,
    json_answer,
)
from service.web.openapi.schemas import COUNT, SWITCH, TEXT, choice, told

LISTED: Final = told(
    {
        "name": TEXT,
        "title": TEXT,
        "width": COUNT,
        "height": COUNT,
        "url": TEXT,
        "thumbnail_url": TEXT,
    }
)
MODEL: Final = told(
    {"name": choice(MODELS), "installed": SWITCH, "missing": {"type": "array", "items": TEXT}}
)
IF_NONE_MATCH: Final = in_header("If-None-Match", TEXT, "304 where it is still the same.")

OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/backgrounds",
        "list_backgrounds",
        "The pictures that effects may name",
        who=Who.CALLER,
        answers={
            200: json_answer(
                "The library", told({"backgrounds": {"type": "array", "items": LISTED}})
            )
        },
    ),
    Operation(
        "GET",
        "/v1/backgrounds/{name}",
        "get_background",
        "One picture",
        who=Who.CALLER,
        parameters=(
            in_path("name"),
            in_query("size", choice([THUMBNAIL]), "Left out: the picture itself."),
            IF_NONE_MATCH,
        ),
        answers={
            200: Answer(
                "The picture",
                {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
                ("ETag",),
            ),
            304: Answer("It is still the same", headers=("ETag",)),
        },
        problems=(problems.UNKNOWN_BACKGROUND, problems.INVALID_FIELD),
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
