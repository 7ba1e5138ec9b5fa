"""Models over HTTP: the list, and that one which is not installed is refused wherever it is set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from service.policy.effects import Blur
from service.web.spec import parse_spec, spec_json
from tests.web.conftest import KEY, OFFER, SDP, Client, Stand, bearer, opened, problem
from tests.web.fakes import CREATED_AT

if TYPE_CHECKING:
    from aiohttp import ClientResponse

PLATFORM = bearer(KEY)
RVM = {"effect": {"type": "blur", "model": "rvm"}}


async def assert_unavailable(response: ClientResponse) -> None:
    assert await problem(response) == (422, "model-unavailable")
    body = await response.json()
    assert (body["field"], body["model"]) == ("effect.model", "rvm")
    assert "python -m service models fetch rvm" in body["detail"]


async def test_the_list(client: Client) -> None:
    answer = await opened(client)
    for credential in (KEY, answer["token"]):
        response = await client.get("/v1/models", headers=bearer(credential))
        assert await response.json() == {
            "models": [
                {"name": "hybrid", "installed": True, "missing": []},
                {"name": "rvm", "installed": False, "missing": ["rvm"]},
            ]
        }


async def test_no_session_is_opened_with_it(client: Client, stand: Stand) -> None:
    await assert_unavailable(await client.post("/v1/sessions", json=RVM, headers=PLATFORM))
    assert stand.registry.sessions() == []


@pytest.mark.parametrize("path", ["/v1/sessions/session-1", "/v1/sessions/session-1/tracks/0"])
async def test_no_effect_is_changed_to_it(client: Client, stand: Stand, path: str) -> None:
    await opened(client)
    await assert_unavailable(await client.patch(path, json=RVM, headers=PLATFORM))
    session = stand.registry.get("session-1")
    assert (session.effect, session.track_effects) == (Blur(), {})


async def test_a_token_of_a_server_that_has_it_is_refused_here(
    client: Client, stand: Stand
) -> None:
    token = stand.tokens.mint(
        "elsewhere", spec_json(parse_spec(RVM)), now=CREATED_AT, expires_at=CREATED_AT + 60
    )
    response = await client.post(
        "/v1/sessions/elsewhere/rtc", data=OFFER, headers={**SDP, **bearer(token)}
    )
    await assert_unavailable(response)
