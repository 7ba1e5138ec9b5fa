"""The document has every route and every limit that the service has, and is OpenAPI 3.1."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from service.parts import PAGE_DIRECTORY
from service.policy.effects import EFFECT_TYPES, FIELDS, effect_json, parse_effect
from service.web import endpoints, problems, selection, spec
from service.web.openapi import document, problem, schemas
from service.web.openapi.operation import HEADERS, SECURITY_SCHEMES, Operation, Who
from service.web.problems import KINDS
from tests.web.conftest import Stand
from tests.web.openapi.test_every_call import CALLS, label

if TYPE_CHECKING:
    from tests.web.conftest import Client

API = Path(__file__).parents[3] / "docs" / "api.md"
STATUS_ROW = re.compile(r"^\| ([^|]+) \| (\d{3}(?: `[a-z-]+`)?) \| `([^`]+)` \|$", re.MULTILINE)
ANY_CALL = "*every call that may*"
ANY_PREFLIGHT = "*every* `OPTIONS`"
PATHS = ("/", "/client.js")
DOCUMENT = document.document(PATHS, development=False)
OPERATIONS = document.operations(PATHS)


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    """What a Reference Object stands for."""
    while "$ref" in node:
        found: Any = DOCUMENT
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def test_every_route_is_in_the_document_and_the_other_way_round() -> None:
    """Whoever adds a route: service/web/openapi/__init__.py says how it is documented."""
    app = Stand(page_dir=PAGE_DIRECTORY).app()
    routes = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None
    }
    page = {path for _, path in routes if not path.startswith("/v1/")}
    page -= {"/healthz", "/readyz", "/metrics", "/openapi.json"}
    documented = [(one.method, one.path) for one in document.operations(sorted(page))]
    assert len(documented) == len(set(documented))
    assert sorted(routes) == sorted(documented)
    assert {method for method, _ in routes} == {
        "GET",
        "HEAD",
        "OPTIONS",
        *["PUT", "PATCH", "POST", "DELETE"],
    }


def test_references_lead_somewhere_and_nothing_is_left_over() -> None:
    text = json.dumps(DOCUMENT)
    used = set(re.findall(r'"#/components/(\w+)/([\w.-]+)"', text))
    there = {
        (kind, name)
        for kind, components in DOCUMENT["components"].items()
        if kind != "securitySchemes"
        for name in components
    }
    unraised = {("schemas", f"problem-{kind.slug}") for kind in problem.OF_THE_ROUTER}
    assert used == there - unraised


def test_every_schema_is_one() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert not Draft202012Validator.check_schema(schema), name
    for item in DOCUMENT["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                Draft202012Validator.check_schema(parameter["schema"])


def test_operations_are_told_apart_and_complete() -> None:
    ids = [one.id for one in OPERATIONS]
    assert len(set(ids)) == len(ids)
    for one in OPERATIONS:
        told = DOCUMENT["paths"][one.path][one.method.lower()]
        in_path = {p["name"] for p in told.get("parameters", []) if p["in"] == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", one.path)), one.path
        assert {str(kind.status) for kind in one.all_problems()} <= told["responses"].keys()
        for answer in map(resolved, told["responses"].values()):
            assert answer["description"]
            assert {"Vary", "Cache-Control"} <= answer["headers"].keys()
            assert ("content" in answer) <= (one.method != "HEAD")


def test_every_kind_of_problem_is_some_operations() -> None:
    found = {kind for one in OPERATIONS for kind in one.all_problems()}
    assert set(KINDS) - found == problem.OF_THE_ROUTER | problem.ELSEWHERE


def test_who_may_call_follows_from_the_schemes() -> None:
    for who in Who:
        assert set(who.schemes) <= SECURITY_SCHEMES.keys()
        assert (problems.UNAUTHORIZED in who.problems) == bool(who.schemes)
    keyed = DOCUMENT["paths"]["/v1/events"]["get"]["security"]
    open_ = document.document(PATHS, development=True)["paths"]["/v1/events"]["get"]["security"]
    assert (keyed, open_) == ([{"platformKey": []}], [{"platformKey": []}, {}])


@pytest.mark.parametrize("kind", EFFECT_TYPES)
def test_effects_have_the_members_of_their_parser(kind: str) -> None:
    members = schemas.effect_members(kind)
    assert members.keys() == FIELDS[kind]
    needed = {
        name: "attic" if name == "background" else "#ffffff"
        for name in schemas.NEEDED.get(kind, [])
    }
    complete = effect_json(parse_effect({"type": kind, **needed}))
    assert complete.keys() == members.keys()
    defaults = {name: one["default"] for name, one in members.items() if "default" in one}
    assert defaults.items() <= complete.items()


def test_bodies_have_the_members_of_their_parsers() -> None:
    new = schemas.new_session()
    assert new["properties"].keys() == spec.FIELDS | set(endpoints.WAYS)
    for way in endpoints.WAYS:
        other = new["properties"][way]["anyOf"][0]
        assert other["properties"].keys() == set(endpoints.ENDPOINT_FIELDS)
    away = new["properties"]["away"]["anyOf"][0]
    assert away["properties"].keys() == set(spec.AWAY_FIELDS)
    meant = schemas.session_filter()
    assert meant["properties"].keys() == {*selection.CHOICES, selection.METADATA}
    listing = DOCUMENT["paths"]["/v1/sessions"]["get"]["parameters"]
    names = {parameter["name"] for parameter in listing}
    assert names == {*selection.CHOICES, selection.METADATA, *selection.PAGING}


def test_defaults_are_accepted() -> None:
    """What the document calls a default is one: the parser takes it for the same as nothing."""
    properties = schemas.new_session()["properties"]
    given = {name: one["default"] for name, one in properties.items() if "default" in one}
    assert len(given) > 5
    assert spec.parse_spec(given) == spec.parse_spec({})


def test_headers_that_kinds_have_are_described() -> None:
    assert {name for names in problem.HEADERS.values() for name in names} <= HEADERS.keys()


def test_a_route_is_a_few_lines() -> None:
    """The example of the package's docstring, as it would be written."""
    one = Operation(
        "GET",
        "/v1/things/{name}",
        "get_thing",
        "One thing",
        who=Who.CALLER,
        answers={},
        problems=(problems.UNKNOWN_BACKGROUND,),
    )
    told = one.as_json(development=False)
    assert one.tag == "things"
    assert list(told["responses"]) == ["400", "401", "403", "404", "421", "429", "500", "503"]


async def test_it_is_open_to_everybody(client: Client) -> None:
    response = await client.get("/openapi.json")
    assert (response.status, response.content_type) == (200, "application/json")
    told = await response.json()
    assert told["openapi"] == "3.1.1"
    assert told["paths"].keys() == DOCUMENT["paths"].keys() - set(PATHS)
    assert (await client.get("/openapi.json", headers={"Authorization": "Bearer x"})).status == 200


def test_the_table_of_statuses_is_the_documents() -> None:
    """docs/api.md names a test for each status and kind of problem that a call may answer."""
    shared: dict[str, str] = {}
    told: set[tuple[str, str, str]] = set()
    for call, status, test in STATUS_ROW.findall(API.read_text(encoding="utf-8")):
        file, name = test.split(": ")
        assert f"def {name}(" in (API.parent.parent / "tests" / file).read_text(), test
        if call == ANY_CALL:
            assert file == "web/openapi/test_every_call.py", test
            shared[status] = name
        elif call == ANY_PREFLIGHT:
            assert (status, CALLS[name]) == ("200", ("200", preflights())), test
        else:
            told.add((*call.strip("`").split(" "), status))
    answered: set[tuple[str, str, str]] = set()
    for one in document.operations(["/"]):
        statuses = {str(status) for status in one.answers} | {*map(label, one.all_problems())}
        answered |= {(one.method, one.path, status) for status in statuses}
    # A row for every call is held by a test of each of them.
    for status, name in shared.items():
        calls = {(method, path) for method, path, other in answered if other == status}
        assert CALLS[name] == (status, calls), status
    alone = {row for row in answered if row[2] not in shared and row[0] not in ("HEAD", "OPTIONS")}
    assert not alone - told, "docs/api.md does not say which test provokes these"
    assert told <= answered, "docs/api.md has statuses that no call gives"


def preflights() -> set[tuple[str, str]]:
    return {(one.method, one.path) for one in document.operations(["/"]) if one.method == "OPTIONS"}
