"""One operation: what a route takes and answers, and the OpenAPI 3.1 that this becomes.

What follows from who may call, from the kind of body, and from being an answer of this service at
all is added here, so that the modules of the resources say what is particular alone.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from service.web import problems
from service.web.bodies import SDP_LIMIT_BYTES
from service.web.headers import EXPOSED_HEADERS, SECURITY_HEADERS
from service.web.openapi import problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from service.web.openapi.problem import Json
    from service.web.problems import Kind


class Who(Enum):
    """Who may call; what else they may get follows."""

    EVERYBODY = "everybody"
    CALLER = "a platform, or the holder of any token"
    SESSION = "a platform, or the holder of the token of the session in the path"
    VIEWER = "the same, or the holder of its viewer's token"
    OPENER = "a platform, or the holder of a token that a platform signed"
    PLATFORM = "a platform"

    @property
    def schemes(self) -> tuple[str, ...]:
        """Of SECURITY_SCHEMES: one of these."""
        match self:
            case Who.EVERYBODY:
                return ()
            case Who.PLATFORM:
                return ("platformKey",)
            case Who.OPENER:
                return ("platformKey", "platformToken")
            case Who.VIEWER:
                return ("platformKey", "sessionToken", "viewerToken", "platformToken")
            case Who.CALLER | Who.SESSION:
                return ("platformKey", "sessionToken", "platformToken")

    @property
    def problems(self) -> tuple[Kind, ...]:
        if self is Who.EVERYBODY:
            return ()
        own = () if self is Who.CALLER else (problems.FORBIDDEN,)
        return (
            problems.UNAUTHORIZED,
            problems.FAILED_LOGINS,
            # Where tokens that a platform signs are taken: any bearer may be one.
            problems.KEYS_UNAVAILABLE,
            *own,
        )


SECURITY_SCHEMES: Final[Json] = {
    "platformKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "One of BACKCLOTH_API_KEYS; for a platform's backend.",
    },
    "sessionToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The `token` of an opened session: reaches that session until it expires.",
    },
    "viewerToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The `viewer_token` of an opened session: watches it and nothing else.",
    },
    "platformToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "Signed by the platform (RS256, ES256, EdDSA): opens one session and "
        "reaches that. Taken where BACKCLOTH_JWT_ISSUER is set.",
    },
}

FOR_ALL: Final = (
    problems.BAD_REQUEST,
    problems.FOREIGN_ORIGIN,
    problems.FOREIGN_HOST,
    problems.INTERNAL,
)
"""Of any address: 400 for an Expect that is not 100-continue; 403, 421 so in development mode."""
OF_A_BODY: Final = (
    problems.BODY_TIMEOUT,
    problems.BODY_TOO_LARGE,
    problems.UNSUPPORTED_TYPE,
)

HEADERS: Final[Json] = {
    "WWW-Authenticate": {"schema": {"type": "string", "pattern": "^Bearer "}},
    "Retry-After": {"schema": {"type": "integer", "minimum": 0}, "description": "Seconds."},
    "ETag": {"schema": {"type": "string", "pattern": '^(W/)?".*"$'}},
    "Location": {"schema": {"type": "string", "pattern": "^/v1/"}},
    "Link": {
        "schema": {"type": "string"},
        "description": 'STUN and TURN servers, rel="ice-server" (RFC 9725 4.6).',
    },
    "Accept-Post": {"schema": {"type": "string"}},
    "Allow": {"schema": {"type": "string"}},
    "Accept-Patch": {"schema": {"type": "string"}},
    "Vary": {"schema": {"type": "string"}},
    **{name: {"schema": {"type": "string"}} for name in SECURITY_HEADERS},
    "Access-Control-Allow-Origin": {"schema": {"type": "string"}},
    "Access-Control-Expose-Headers": {
        "schema": {"type": "string"},
        "description": ", ".join(EXPOSED_HEADERS),
    },
    "Access-Control-Allow-Methods": {"schema": {"type": "string"}},
    "Access-Control-Allow-Headers": {"schema": {"type": "string"}},
    "Access-Control-Max-Age": {"schema": {"type": "string", "pattern": "^[0-9]+$"}},
    "Last-Modified": {"schema": {"type": "string"}},
    "Accept-Ranges": {"schema": {"const": "bytes"}},
    "Content-Range": {"schema": {"type": "string", "pattern": "^bytes "}},
    "X-Accel-Buffering": {"schema": {"const": "no"}},
}
ALWAYS: Final = (*SECURITY_HEADERS, "Vary")
TO_OTHER_ORIGINS: Final = ("Access-Control-Allow-Origin", "Access-Control-Expose-Headers")
"""Where the caller's Origin is one of BACKCLOTH_ALLOWED_ORIGINS."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One that is no problem."""

    description: str
    content: Json | None = None
    "By media type; None: no body."
    headers: tuple[str, ...] = ()
    "Always there."
    sometimes: tuple[str, ...] = ()
    links: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Body:
    """What a request holds."""

    content: Json
    problems: tuple[Kind, ...] = OF_A_BODY
    required: bool = True
    accept_header: str = ""
    "Of a 415: names what would do."


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route. `path` is that of the router, in full."""

    method: str
    path: str
    id: str
    summary: str
    who: Who = field(kw_only=True)
    answers: Mapping[int, Answer] = field(kw_only=True)
    parameters: tuple[Json, ...] = field(default=(), kw_only=True)
    body: Body | None = field(default=None, kw_only=True)
    problems: tuple[Kind, ...] = field(default=(), kw_only=True)
    "Beside those that follow from `who` and `body`."
    description: str = field(default="", kw_only=True)
    cors: bool = field(default=True, kw_only=True)
    "Pages of other origins may call it where they are allowed to."

    @property
    def tag(self) -> str:
        """The resource: the first part of the path that is a name."""
        parts = self.path.removeprefix("/v1").strip("/").split("/")
        return parts[0] if self.path.startswith("/v1/") else "server"

    def all_problems(self) -> tuple[Kind, ...]:
        """Each once, in the order of their statuses."""
        # Routing in a fleet comes before the handlers; what everybody may see is the same anywhere.
        of_session = "{session_id}" in self.path and self.who is not Who.EVERYBODY
        sent_on = of_session or self.who is Who.OPENER
        of_fleet = (problems.PEER_UNREACHABLE,) if sent_on else ()
        of_body = () if self.body is None or self.method == "HEAD" else self.body.problems
        found = {*self.who.problems, *self.problems, *of_body, *of_fleet, *FOR_ALL}
        if self.method == "OPTIONS":
            found.remove(problems.BAD_REQUEST)
        return tuple(kind for kind in problems.KINDS if kind in found)

    def as_json(self, *, development: bool) -> Json:
        """Its Operation Object. In `development` mode no credential has to be sent."""
        told: Json = {"operationId": self.id, "summary": self.summary, "tags": [self.tag]}
        if self.description:
            told["description"] = self.description
        if self.parameters:
            told["parameters"] = list(self.parameters)
        if self.body is not None:
            told["requestBody"] = {"required": self.body.required, "content": self.body.content}
        told["security"] = [{scheme: []} for scheme in self.who.schemes]
        if development and told["security"]:
            told["security"].append({})
        told["responses"] = {
            str(status): one
            for status, one in sorted(
                [
                    *((status, self._answer(one)) for status, one in self.answers.items()),
                    *self._problem_answers(),
                ],
                key=lambda pair: pair[0],
            )
        }
        return told

    def _answer(self, answer: Answer) -> Json:
        told: Json = {
            "description": answer.description,
            "headers": self._headers(answer.headers, answer.sometimes),
        }
        if answer.content is not None and self.method != "HEAD":
            told["content"] = answer.content
        if answer.links:
            told["links"] = answer.links
        return told

    def _problem_answers(self) -> Iterable[tuple[int, Json]]:
        by_status: defaultdict[int, list[Kind]] = defaultdict(list)
        for kind in self.all_problems():
            by_status[kind.status].append(kind)
        for status, kinds in by_status.items():
            headers = set.intersection(*(set(problem.HEADERS.get(kind, ())) for kind in kinds))
            may = set().union(*(problem.HEADERS.get(kind, ()) for kind in kinds)) - headers
            if status == HTTPStatus.PRECONDITION_FAILED:
                may.add("ETag")
            if status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE and self.body is not None:
                headers |= {self.body.accept_header} - {""}
            told: Json = {
                "description": "; ".join(kind.title for kind in kinds),
                "headers": self._headers(sorted(headers), sorted(may)),
            }
            if self.method != "HEAD":
                told["content"] = problem.content(kinds)
            yield status, told

    def _headers(self, always: Iterable[str], sometimes: Iterable[str]) -> Json:
        optional = [*sometimes, *(TO_OTHER_ORIGINS if self.cors else ())]
        return {
            **{name: _header(name, required=True) for name in [*always, *ALWAYS]},
            **{name: _header(name, required=False) for name in optional},
        }


def header_components() -> Json:
    """What the headers of all answers refer to."""
    return {
        _component(name, required=required): {**about, "required": required}
        for name, about in HEADERS.items()
        for required in (True, False)
    }


def _header(name: str, *, required: bool) -> Json:
    return {"$ref": f"#/components/headers/{_component(name, required=required)}"}


def _component(name: str, *, required: bool) -> str:
    return name if required else f"{name}.optional"


def in_path(name: str, pattern: str = "", description: str = "") -> Json:
    """A part of the path; `pattern` is what the whole of it looks like."""
    schema: Json = {"type": "string", "minLength": 1}
    if pattern:
        schema["pattern"] = f"^{pattern}$"
    return _parameter("path", name, schema, description, required=True)


def in_query(name: str, schema: Json, description: str = "") -> Json:
    return _parameter("query", name, schema, description)


def in_header(name: str, schema: Json, description: str, *, required: bool = False) -> Json:
    return _parameter("header", name, schema, description, required=required)


def _parameter(
    place: str, name: str, schema: Json, description: str, *, required: bool = False
) -> Json:
    told: Json = {"name": name, "in": place, "required": required, "schema": schema}
    return told | ({"description": description} if description else {})


def json_content(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def json_answer(description: str, schema: Json, *headers: str, links: Json | None = None) -> Answer:
    return Answer(description, json_content(schema), headers, links=links or {})


def json_body(schema: Json, *, required: bool = True) -> Body:
    """An object; where it need not be there, an empty one is meant."""
    return Body(json_content(schema), (problems.MALFORMED_JSON, *OF_A_BODY), required)


def sdp_body(media_type: str, accept_header: str) -> Body:
    """SDP, or a fragment of it."""
    text = {"type": "string", "maxLength": SDP_LIMIT_BYTES}
    content = {media_type: {"schema": text}}
    return Body(content, (problems.BAD_OFFER, *OF_A_BODY), accept_header=accept_header)
