"""The OpenAPI document: all operations together, with HEAD and OPTIONS; and its handler."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from aiohttp import web

from service import __version__
from service.web import problems
from service.web.headers import PREFLIGHT_MAX_AGE_S
from service.web.openapi import (
    library,
    operators,
    pages,
    problem,
    rtc,
    schemas,
    sessions,
    streaming,
)
from service.web.openapi.operation import (
    SECURITY_SCHEMES,
    Answer,
    Operation,
    Who,
    header_components,
    in_header,
)
from service.web.whip import ENDPOINTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from service.web.openapi.problem import Json

RESOURCES: Final = (sessions, rtc, streaming, library, operators)
CACHE_CONTROL: Final = "no-cache"
INFO: Final = {
    "title": "Backcloth",
    "version": __version__,
    "summary": "Replaces what is behind a person in a WebRTC call, on the server.",
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    "description": "docs/api.md tells more. An address that is not here is 404 "
    "`/problems/not-found`, a method that is not here 405 `/problems/method-not-allowed` with "
    "`Allow`. What is no HTTP request at all is 400 `/problems/bad-request` before any of this.",
}


def operations(page_paths: Iterable[str]) -> tuple[Operation, ...]:
    """Every one that is written down, and the HEAD and OPTIONS that follow from them."""
    written = (
        *(one for resource in RESOURCES for one in resource.OPERATIONS),
        *pages.operations(page_paths),
    )
    heads = [
        dataclasses.replace(one, method="HEAD", id=f"head_{one.id}")
        for one in written
        if one.method == "GET"
    ]
    preflights = {one.path: _preflight(one) for one in written if one.cors}
    return (*written, *heads, *preflights.values())


def document(page_paths: Iterable[str], *, development: bool) -> Json:
    """OpenAPI 3.1.1; in `development` mode no credential has to be sent."""
    paths: dict[str, Json] = {}
    for one in operations(page_paths):
        told = one.as_json(development=development)
        paths.setdefault(one.path, {})[one.method.lower()] = told
    shared = _shared_answers(paths)
    used = set(re.findall(r"#/components/headers/([\w.-]+)", json.dumps([paths, shared])))
    return {
        "openapi": "3.1.1",
        "info": INFO,
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {**schemas.components(), **problem.schemas()},
            "responses": shared,
            "headers": {name: one for name, one in header_components().items() if name in used},
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def _shared_answers(paths: Json) -> Json:
    """Moves the answers that several operations give into components, by status and number."""
    told: defaultdict[str, list[Json]] = defaultdict(list)
    for item in paths.values():
        for operation in item.values():
            for status, answer in operation["responses"].items():
                told[f"{status}{json.dumps(answer, sort_keys=True)}"].append(operation["responses"])
    shared: Json = {}
    count: Counter[str] = Counter()
    for key, places in told.items():
        status = key[:3]
        if len(places) > 1:
            count[status] += 1
            name = f"{status}.{count[status]}"
            shared[name] = places[0][status]
            for responses in places:
                responses[status] = {"$ref": f"#/components/responses/{name}"}
    return dict(sorted(shared.items()))


class Description:
    """The handler of /openapi.json."""

    def __init__(self, *, development: bool, page: Iterable[str]) -> None:
        """`page`: the paths of its files."""
        told = document(page, development=development)
        self._body = json.dumps(told, separators=(",", ":")).encode()

    async def get(self, _: web.Request) -> web.Response:
        """GET /openapi.json: which is made once, at the start."""
        headers = {"Content-Type": "application/json", "Cache-Control": CACHE_CONTROL}
        return web.Response(body=self._body, headers=headers)


def _preflight(one: Operation) -> Operation:
    in_path = tuple(parameter for parameter in one.parameters if parameter["in"] == "path")
    text = {"type": "string"}
    # OPTIONS that no browser sends by itself: it asks what may be posted there.
    endpoint = ENDPOINTS.fullmatch(one.path) is not None
    plain = Answer("What may be posted there (RFC 9725 4.2)", headers=("Allow", "Accept-Post"))
    return Operation(
        "OPTIONS",
        one.path,
        "preflight_" + re.sub(r"[^a-z0-9]+", "_", one.path).strip("_"),
        "Whether a page of another origin may call (CORS)",
        who=Who.EVERYBODY,
        parameters=(
            *in_path,
            in_header("Origin", text, "The page's.", required=not endpoint),
            in_header(
                "Access-Control-Request-Method", text, "What it would do.", required=not endpoint
            ),
            in_header("Access-Control-Request-Headers", text, "What it would send."),
        ),
        answers={
            200: Answer(
                f"It may, for {PREFLIGHT_MAX_AGE_S} s",
                headers=(
                    "Access-Control-Allow-Origin",
                    "Access-Control-Allow-Methods",
                    "Access-Control-Max-Age",
                ),
                sometimes=("Access-Control-Allow-Headers", *(["Accept-Post"] if endpoint else [])),
            ),
            **({204: plain} if endpoint else {}),
        },
        problems=(problems.FOREIGN_ORIGIN,),
        cors=False,
    )
