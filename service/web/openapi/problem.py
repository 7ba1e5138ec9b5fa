"""Problems (RFC 9457) as schemas: one for each kind, made of `service.web.problems.KINDS`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from service.policy.admission import Reason
from service.policy.effects import MODELS
from service.session.films import FULL
from service.web import problems
from service.web.problems import CONTENT_TYPE, KINDS, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Json = dict[str, Any]

FIELD: Final[Json] = {"type": "string", "description": "A path such as effect.strength."}
MEMBERS: Final[Mapping[Kind, Mapping[str, Json]]] = {
    problems.INVALID_FIELD: {"field": FIELD},
    problems.MODEL_UNAVAILABLE: {"field": FIELD, "model": {"enum": list(MODELS)}},
    problems.NO_CAPACITY: {"reason": {"enum": [*(reason.value for reason in Reason), FULL]}},
}
"""Further members of a kind (RFC 9457 3.2), all of them always there."""
OPTIONAL: Final[Mapping[Kind, Mapping[str, Json]]] = {
    problems.NO_CAPACITY: {
        "move_to": {"type": "string", "description": "Where a server that drains sends its own."}
    },
}
"""Those that may be there."""
HEADERS: Final[Mapping[Kind, tuple[str, ...]]] = {
    problems.UNAUTHORIZED: ("WWW-Authenticate",),
    problems.FAILED_LOGINS: ("Retry-After",),
    problems.TOO_MANY_UPLOADS: ("Retry-After",),
    problems.TOO_MANY_LISTENERS: ("Retry-After",),
    problems.NO_CAPACITY: ("Retry-After",),
    problems.NO_MEDIA_PORT: ("Retry-After",),
    problems.KEYS_UNAVAILABLE: ("Retry-After",),
    problems.LIBRARY_UNAVAILABLE: ("Retry-After",),
    problems.PEER_UNREACHABLE: ("Retry-After",),
    problems.NOT_READY: ("Retry-After",),
}
"""Headers that a kind always has; those that it may have are the operation's to say."""


ELSEWHERE: Final = frozenset({problems.TOO_MANY_MESSAGES, problems.MISDIRECTED})
"""Kinds that come over a data channel alone, or between the servers of a fleet."""
OF_THE_ROUTER: Final = frozenset({problems.NOT_FOUND, problems.METHOD_NOT_ALLOWED})
"""Kinds that are no operation's: the document's description tells of them."""


def schemas() -> dict[str, Json]:
    """A schema for each kind, by the name that `reference` gives it."""
    return {_name(kind): _schema(kind) for kind in KINDS if kind not in ELSEWHERE}


def content(kinds: Iterable[Kind]) -> Json:
    """What an answer holds that is one of these problems."""
    references = [reference(kind) for kind in kinds]
    schema = references[0] if len(references) == 1 else {"oneOf": references}
    return {CONTENT_TYPE: {"schema": schema}}


def reference(kind: Kind) -> Json:
    return {"$ref": f"#/components/schemas/{_name(kind)}"}


def _name(kind: Kind) -> str:
    return f"problem-{kind.slug}"


def _schema(kind: Kind) -> Json:
    members = MEMBERS.get(kind, {})
    return {
        "type": "object",
        "title": kind.title,
        "properties": {
            "type": {"const": f"/problems/{kind.slug}"},
            "title": {"const": kind.title},
            "status": {"const": kind.status},
            "detail": {"type": "string", "description": "For people."},
            **members,
            **OPTIONAL.get(kind, {}),
        },
        "required": ["type", "title", "status", "detail", *members],
    }
