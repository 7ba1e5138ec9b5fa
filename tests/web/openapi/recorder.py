"""A plugin of pytest: which test had the application answer which call with what.

tests/web/openapi/test_table.py loads it (-p) into a run of its own. What it heard is written, as
JSON, to the file that BACKCLOTH_TEST_ANSWERS names.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from service.web import app
from service.web.problems import CONTENT_TYPE

if TYPE_CHECKING:
    from aiohttp import web

WHERE = "BACKCLOTH_TEST_ANSWERS"

_create_app = app.create_app
_answers: set[tuple[str, str, str, str]] = set()
"""Test, method, path of the router, status as docs/api.md writes it."""
_test = ""


def _create_heard_app(*args: Any, **settings: Any) -> web.Application:
    made = _create_app(*args, **settings)
    made.on_response_prepare.append(_hear)
    return made


async def _hear(request: web.Request, response: web.StreamResponse) -> None:
    resource = request.match_info.route.resource
    if resource is not None:
        _answers.add((_test, request.method, resource.canonical, _status(response)))


def _status(response: web.StreamResponse) -> str:
    body = getattr(response, "body", None)
    if response.content_type != CONTENT_TYPE or not isinstance(body, bytes):
        return str(response.status)
    kind = json.loads(body)["type"].removeprefix("/problems/")
    return f"{response.status} `{kind}`"


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    # Before tests/web/conftest.py takes it by its name.
    app.create_app = _create_heard_app


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Function) -> None:
    global _test
    _test = f"{item.location[0].removeprefix('tests/')}: {item.originalname}"


def pytest_sessionfinish() -> None:
    Path(os.environ[WHERE]).write_text(json.dumps(sorted(_answers)))
