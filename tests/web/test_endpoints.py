"""`pull` and `push` of a new session: who may name them, what they may be, and that nothing secret
of them comes out again."""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING

import pytest

from service.errors import InvalidField
from service.policy.effects import Color
from service.session.sfu import Endpoint
from service.web.endpoints import MAX_BEARER_CHARS, parse_endpoint
from service.web.spec import parse_spec
from tests.web.conftest import KEY, Client, Stand, bearer, opened, problem
from tests.web.fakes import CREATED_AT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.policy.addresses import Network

LOOPBACK: Sequence[Network] = (ipaddress.ip_network("127.0.0.0/8"),)
URL = "https://sfu.example.com/whep/secret-of-the-address"


async def test_a_platform_key_names_both(client: Client, stand: Stand) -> None:
    body = {"pull": {"url": URL, "token": "a-bearer"}, "push": {"url": URL + "2"}}
    response = await client.post("/v1/sessions", json=body, headers=bearer(KEY))
    answer = await response.text()
    assert response.status == 201
    session = stand.registry.get("session-1")
    assert (session.pull, session.push) == (Endpoint(URL, "a-bearer"), Endpoint(URL + "2"))
    assert "secret-of" not in answer
    assert "a-bearer" not in answer
    grant = stand.tokens.verify(json.loads(answer)["token"], now=CREATED_AT)
    assert not {"pull", "push"} & set(grant.spec), "its holder can read it"


async def test_without_them_there_are_none(client: Client, stand: Stand) -> None:
    await opened(client, pull=None)
    session = stand.registry.get("session-1")
    assert (session.pull, session.push) == (None, None)


@pytest.mark.parametrize("way", ["pull", "push"])
async def test_no_token_names_one(client: Client, stand: Stand, way: str) -> None:
    token = (await opened(client))["token"]
    body = {way: {"url": URL}}
    response = await client.post("/v1/sessions", json=body, headers=bearer(token))
    assert response.status in (401, 403)
    assert len(stand.registry.sessions()) == 1
    # Nor one that the platform signed, which a browser can read and send.
    with pytest.raises(InvalidField, match="is for a platform key to say") as caught:
        parse_spec(body)
    assert caught.value.field == way
    response = await client.patch("/v1/sessions/session-1", json=body, headers=bearer(KEY))
    assert await problem(response) == (422, "invalid-field")


@pytest.mark.parametrize("way", ["pull", "push"])
@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ("https://sfu.example.com", "", "must be an object"),
        ({}, ".url", "must be an https URL"),
        ({"url": 5}, ".url", "must be an https URL"),
        ({"url": "ftp://sfu.example.com"}, ".url", "http or https"),
        ({"url": "https://"}, ".url", "http or https"),
        ({"url": "https://user:pass@sfu.example.com"}, ".url", "user name"),
        ({"url": "https://sfu.example.com/" + "x" * 3000}, ".url", "characters"),
        ({"url": "https://sfu.example.com/#part"}, ".url", "fragment"),
        ({"url": "http://sfu.example.com/whep"}, ".url", "must begin with https"),
        ({"url": "https://10.0.0.1/whep"}, ".url", "may not connect to"),
        ({"url": "https://127.0.0.1/whep"}, ".url", "may not connect to"),
        ({"url": "https://[::1]/whep"}, ".url", "may not connect to"),
        ({"url": "https://[::ffff:10.0.0.1]/whep"}, ".url", "may not connect to"),
        ({"url": "https://169.254.169.254/latest"}, ".url", "may not connect to"),
        ({"url": URL, "token": ""}, ".token", f"1 to {MAX_BEARER_CHARS}"),
        ({"url": URL, "token": "a b"}, ".token", "without spaces"),
        ({"url": URL, "token": "x" * 5000}, ".token", f"1 to {MAX_BEARER_CHARS}"),
        ({"url": URL, "token": 5}, ".token", "characters"),
        ({"url": URL, "token": "line\r\nX-Header: 1"}, ".token", "ASCII"),
        ({"url": URL, "key": "x"}, ".key", "is not a field"),
    ],
)
async def test_what_cannot_be_named(
    client: Client, stand: Stand, way: str, given: object, field: str, says: str
) -> None:
    response = await client.post("/v1/sessions", json={way: given}, headers=bearer(KEY))
    assert await problem(response) == (422, "invalid-field")
    told = await response.json()
    assert told["field"] == way + field
    assert says in told["detail"]
    assert "secret-of" not in told["detail"]
    assert stand.registry.sessions() == []


async def test_a_platform_key_replaces_a_bearer_or_the_whole(client: Client, stand: Stand) -> None:
    body = {"pull": {"url": URL, "token": "a-bearer"}, "push": {"url": URL + "2", "token": "b"}}
    await opened(client, **body)
    session, path = stand.registry.get("session-1"), "/v1/sessions/session-1"
    effect = {"type": "color", "color": "#00b140"}
    headers = {**bearer(KEY), "If-Match": session.etag}
    for change, pull, push in [
        ({"push": {"token": "new-one"}}, ("", "a-bearer"), ("2", "new-one")),
        ({"pull": {"token": None}}, ("", ""), ("2", "new-one")),
        # The bearer of an address does not go along to another one.
        ({"push": {"url": URL + "3"}, "effect": effect}, ("", ""), ("3", "")),
        ({"pull": {"url": URL + "4", "token": "c"}}, ("4", "c"), ("3", "")),
    ]:
        response = await client.patch(path, json=change, headers=headers)
        told = await response.text()
        assert response.status == 200, told
        assert session.pull == Endpoint(URL + pull[0], pull[1])
        assert session.push == Endpoint(URL + push[0], push[1])
        assert "secret-of" not in told
        assert "new-one" not in told
        stale = await client.patch(path, json=change, headers=headers)
        assert await problem(stale) == (412, "stale-etag")
        headers["If-Match"] = response.headers["ETag"]
    assert session.effect == Color("#00b140")


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        (None, "pull", "must be an object"),
        ({}, "pull", "must have url or token"),
        ({"token": ""}, "pull.token", "characters"),
        ({"token": "x", "key": "y"}, "pull.key", "is not a field"),
        ({"url": "https://10.0.0.1/", "token": "x"}, "pull.url", "may not connect to"),
        ({"url": "http://sfu.example.com/"}, "pull.url", "must begin with https"),
        ({"url": None}, "pull.url", "must be an https URL"),
    ],
)
async def test_what_replaces_nothing(
    client: Client, stand: Stand, given: object, field: str, says: str
) -> None:
    await opened(client, pull={"url": URL, "token": "a-bearer"})
    session, path = stand.registry.get("session-1"), "/v1/sessions/session-1"
    before, effect = session.effect, {"type": "color", "color": "#00b140"}
    for change, at, detail in [
        ({"pull": given, "effect": effect}, field, says),
        ({"push": {"token": "x"}, "effect": effect}, "push", "opened with"),
    ]:
        response = await client.patch(path, json=change, headers=bearer(KEY))
        assert await problem(response) == (422, "invalid-field")
        told = await response.json()
        assert (told["field"], detail in told["detail"]) == (at, True)
    assert (session.pull, session.effect) == (Endpoint(URL, "a-bearer"), before)


async def test_no_token_replaces_anything(client: Client, stand: Stand) -> None:
    token = (await opened(client, push={"url": URL, "token": "a-bearer"}))["token"]
    path, body = "/v1/sessions/session-1", {"push": {"token": "x"}}
    response = await client.patch(path, json=body, headers=bearer(token))
    assert await problem(response) == (422, "invalid-field")
    assert (await response.json())["field"] == "push"
    response = await client.patch(f"{path}/tracks/0", json=body, headers=bearer(KEY))
    assert await problem(response) == (422, "invalid-field")
    assert stand.registry.get("session-1").push == Endpoint(URL, "a-bearer")


@pytest.mark.parametrize(
    ("url", "reached"),
    [
        ("http://127.0.0.1:8080/whep", True),
        ("https://127.0.0.1/whep", True),
        ("https://192.0.2.1/whep", False),
        ("http://8.8.8.8/whep", False),
        ("https://8.8.8.8/whep", True),
        ("https://10.0.0.1/whep", False),
        ("http://a-name.example.com/whep", True),
    ],
)
def test_networks_of_the_operator(url: str, reached: bool) -> None:
    if reached:
        assert parse_endpoint({"pull": {"url": url}}, "pull", LOOPBACK) == Endpoint(url)
    else:
        with pytest.raises(InvalidField, match="may not connect to"):
            parse_endpoint({"pull": {"url": url}}, "pull", LOOPBACK)
