"""Every domain error has an answer, and docs/api.md lists every kind of problem."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from service import errors
from service.web import problems
from service.web.problems import KINDS, Kind, from_error, from_http

if TYPE_CHECKING:
    from tests.web.conftest import Stand

API = Path(__file__).parent.parent.parent / "docs" / "api.md"

# What no request can cause: these stop the start, or are caught where they are raised.
NOT_OVER_HTTP = {errors.BackclothError, errors.SettingsError, errors.ModelError}
MADE = {
    errors.InvalidField: errors.InvalidField("effect", "must be"),
    errors.UnknownBackground: errors.UnknownBackground("attic"),
    errors.ModelUnavailable: errors.ModelUnavailable("rvm"),
    errors.Refused: errors.Refused("cpu_budget", 5),
    errors.UnknownSession: errors.UnknownSession(),
    errors.UnknownPeer: errors.UnknownPeer(),
    errors.NoLibrary: errors.NoLibrary(),
    errors.LibraryUnavailable: errors.LibraryUnavailable(),
    errors.StaleETag: errors.StaleETag('"1-2"'),
}


def test_every_domain_error_is_a_problem() -> None:
    for kind in vars(errors).values():
        if inspect.isclass(kind) and issubclass(kind, errors.BackclothError):
            problem = from_error(MADE[kind] if kind in MADE else kind("said why"))
            assert (problem is None) == (kind in NOT_OVER_HTTP), kind


def test_what_aiohttp_raises() -> None:
    assert from_http(web.HTTPNotFound()).kind.slug == "not-found"
    assert from_http(web.HTTPBadRequest()).kind.slug == "bad-request"
    assert from_http(web.HTTPRequestEntityTooLarge(1, 2)).kind.slug == "body-too-large"
    wrong = from_http(web.HTTPMethodNotAllowed("PUT", {"GET"}))
    assert (wrong.kind.status, wrong.headers) == (405, {"Allow": "GET"})


def test_kinds_are_told_apart_and_documented() -> None:
    assert len({kind.slug for kind in KINDS}) == len(KINDS) > 20
    rows = [
        tuple(cell.strip() for cell in row.strip("|").split("|"))
        for row in API.read_text(encoding="utf-8").splitlines()
        if row.startswith("| `/problems/")
    ]
    assert rows == [(f"`/problems/{kind.slug}`", str(kind.status), kind.title) for kind in KINDS]


def test_every_kind_is_raised_somewhere() -> None:
    """A kind that nothing raises would be a promise in docs/api.md that nothing keeps."""
    code = "\n".join(path.read_text() for path in (API.parent.parent / "service").rglob("*.py"))
    named = {name: value for name, value in vars(problems).items() if isinstance(value, Kind)}
    assert set(named.values()) == set(KINDS)
    unused = [name for name in named if len(re.findall(rf"\b{name}\b", code)) < 2]
    assert not unused


def test_every_call_is_documented(stand: Stand) -> None:
    """The first table of docs/api.md has each address that the API serves, with its methods."""
    text = API.read_text(encoding="utf-8")
    for route in stand.app().router.routes():
        path = "" if route.resource is None else route.resource.canonical
        if route.method in ("HEAD", "OPTIONS") or not path.startswith("/v1/"):
            continue
        path = path.replace("{session_id}", "{id}")
        if path.endswith("/rtc/{peer_id}"):
            assert "| `PATCH`, `DELETE` of its Location |" in text
        else:
            assert f"`{route.method} {path}`" in text
