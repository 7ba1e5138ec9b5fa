"""Every domain error has an answer, and docs/api.md lists every kind of problem."""

from __future__ import annotations

import inspect
from pathlib import Path

from aiohttp import web

from service import errors
from service.web.problems import KINDS, from_error, from_http

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
