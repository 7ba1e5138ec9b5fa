"""All sessions: filters, pages, and many ended at once."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from multidict import MultiDict

from service.errors import InvalidField
from service.policy.effects import Blur, Color
from service.policy.levels import Level
from service.session.session import State
from service.web import fleet
from service.web.selection import CHOICES, MAX_LIMIT, Cursors, parse_filter, parse_page
from tests.web.conftest import KEY, Client, Stand, bearer, opened, problem

PLATFORM = bearer(KEY)


async def listed(client: Client, query: str = "") -> dict[str, Any]:
    response = await client.get(f"/v1/sessions{query}", headers=PLATFORM)
    assert response.status == 200, await response.text()
    answer: dict[str, Any] = await response.json()
    return answer


def ids(answer: dict[str, Any]) -> list[str]:
    return [one["id"].removeprefix("session-") for one in answer["sessions"]]


async def walk(client: Client, query: str) -> list[list[str]]:
    """Every page, from the first."""
    pages, cursor = [], ""
    while True:
        answer = await listed(client, f"?{query}{cursor and f'&cursor={cursor}'}")
        pages.append(ids(answer))
        if (cursor := answer["next_cursor"]) is None:
            return pages


@pytest.fixture
async def six(client: Client, stand: Stand) -> None:
    """Six sessions that differ."""
    for number in range(1, 7):
        await opened(client, metadata={"meeting": str(number % 2), "room": "a & b=c"})
    state = {2: State.LIVE, 3: State.LIVE, 4: State.CONNECTING}
    for number in range(1, 7):
        session = stand.registry.get(f"session-{number}")
        session.state = state.get(number, State.CREATED)
        session.effect = Color("#00b140") if number > 4 else Blur()
        session.level = Level.HALF if number == 3 else Level.FULL


@pytest.mark.usefixtures("six")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "123456"),
        ("?state=live", "23"),
        ("?state=live&state=connecting", "234"),
        ("?effect=color", "56"),
        ("?effect=color&state=live", ""),
        ("?quality_level=half", "3"),
        ("?quality_level=half&quality_level=full&effect=blur", "1234"),
        ("?metadata.meeting=1", "135"),
        ("?metadata.meeting=1&metadata.room=a+%26+b%3Dc", "135"),
        ("?metadata.meeting=1&state=live", "3"),
        ("?metadata.meeting=2", ""),
        ("?metadata.room=a", ""),
        ("?metadata.nothing=1", ""),
    ],
)
async def test_filters(client: Client, query: str, found: str) -> None:
    answer = await listed(client, query)
    assert "".join(ids(answer)) == found
    assert answer["next_cursor"] is None


@pytest.mark.usefixtures("six")
async def test_pages(client: Client) -> None:
    assert await walk(client, "limit=2") == [["1", "2"], ["3", "4"], ["5", "6"]]
    assert await walk(client, "limit=4") == [["1", "2", "3", "4"], ["5", "6"]]
    assert await walk(client, "limit=6") == [["1", "2", "3", "4", "5", "6"]]
    assert await walk(client, "limit=1&metadata.meeting=0") == [["2"], ["4"], ["6"]]


@pytest.mark.usefixtures("six")
async def test_a_walk_meets_everything_that_stays_once(client: Client, stand: Stand) -> None:
    first = await listed(client, "?limit=3")
    stand.registry.forget("session-2")
    stand.registry.forget("session-3")
    stand.registry.forget("session-4")
    await opened(client)
    second = await listed(client, f"?limit=3&cursor={first['next_cursor']}")
    assert ids(second) == ["5", "6", "7"]
    assert second["next_cursor"] is None


@pytest.mark.usefixtures("six")
async def test_without_a_limit_pages_are_bounded(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.web.selection.DEFAULT_LIMIT", 4)
    assert ids(await listed(client)) == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?status=live", "status"),
        ("?state=ended", "state"),
        ("?state=", "state"),
        ("?state=live&state=live", "state"),
        ("?effect=sepia", "effect"),
        ("?quality_level=1", "quality_level"),
        ("?limit=0", "limit"),
        (f"?limit={MAX_LIMIT + 1}", "limit"),
        ("?limit=-1", "limit"),
        ("?limit=1.0", "limit"),
        ("?limit=%D9%A3", "limit"),
        ("?limit=1&limit=2", "limit"),
        ("?metadata=1", "metadata"),
        ("?metadata.=1", "metadata"),
        ("?metadata.a=1&metadata.a=2", "metadata.a"),
        (f"?metadata.{'a' * 65}=1", "metadata"),
        (f"?metadata.a={'a' * 257}", "metadata"),
        ("?" + "&".join(f"metadata.k{n}=1" for n in range(17)), "metadata"),
        ("?cursor=", "cursor"),
        ("?cursor=x", "cursor"),
        ("?cursor=%00", "cursor"),
        ("?cursor=" + "A" * 65, "cursor"),
        ("?cursor=" + base64.urlsafe_b64encode(b"00000000.1").decode(), "cursor"),
        ("?cursor=" + base64.urlsafe_b64encode(b"\xff\xff").decode(), "cursor"),
    ],
)
async def test_what_cannot_be_asked_names_the_parameter(
    client: Client, query: str, field: str
) -> None:
    response = await client.get(f"/v1/sessions{query}", headers=PLATFORM)
    assert await problem(response) == (422, "invalid-field")
    assert (await response.json())["field"] == field


def test_cursors_are_of_one_server_and_name_nobody() -> None:
    here, elsewhere = Cursors(), Cursors()
    assert here.read(here.write(12)) == 12
    with pytest.raises(InvalidField, match="cursor"):
        elsewhere.read(here.write(12))
    assert parse_page(MultiDict(cursor=here.write(3)), here).after == 3


# ---------------------------------------------------------------- the end of many
async def end(client: Client, **body: object) -> dict[str, Any]:
    response = await client.post("/v1/sessions/end", json=body, headers=PLATFORM)
    assert response.status == 200, await response.text()
    answer: dict[str, Any] = await response.json()
    return answer


@pytest.mark.usefixtures("six")
async def test_some_are_ended_by_their_ids(client: Client, stand: Stand) -> None:
    named = ["session-5", "nobody", "session-1", "session-5"]
    assert await end(client, ids=named) == {
        "ended": ["session-5", "session-1"],
        "unknown": ["nobody"],
        "more": False,
    }
    assert stand.registry.ended == [("session-5", "deleted"), ("session-1", "deleted")]
    assert ids(await listed(client)) == ["2", "3", "4", "6"]
    again = await end(client, ids=named)
    assert again == {"ended": [], "unknown": ["session-5", "nobody", "session-1"], "more": False}


@pytest.mark.usefixtures("six")
@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"state": "live"}, "23"),
        ({"state": ["live", "connecting"]}, "234"),
        ({"metadata": {"meeting": "1"}, "effect": "color"}, "5"),
        ({"quality_level": "background"}, ""),
        ({"state": list(CHOICES["state"])}, "123456"),
    ],
)
async def test_some_are_ended_by_what_they_have(
    client: Client, wanted: dict[str, object], found: str
) -> None:
    answer = await end(client, filter=wanted)
    assert answer == {"ended": [f"session-{n}" for n in found], "unknown": [], "more": False}
    assert "".join(ids(await listed(client))) == "".join(n for n in "123456" if n not in found)


@pytest.mark.usefixtures("six")
async def test_more_than_one_request_ends_are_the_next_ones(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "MAX_ENDED", 4)
    wanted = {"filter": {"metadata": {"room": "a & b=c"}}}
    first, second = await end(client, **wanted), await end(client, **wanted)
    assert (len(first["ended"]), first["more"]) == (4, True)
    assert (len(second["ended"]), second["more"]) == (2, False)


async def test_what_was_ended_is_not_opened_again_by_its_token(client: Client) -> None:
    here, elsewhere = await opened(client), await opened(client)
    await client.delete(f"/v1/sessions/{elsewhere['id']}", headers=PLATFORM)
    await end(client, ids=[here["id"], elsewhere["id"]])
    for one in (here, elsewhere):
        response = await client.post(
            one["rtc_url"],
            data="v=0\r\nm=video 9",
            headers={"Content-Type": "application/sdp", **bearer(one["token"])},
        )
        assert await problem(response) == (404, "unknown-session")


@pytest.mark.usefixtures("six")
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "ids"),
        ({"ids": ["a"], "filter": {"state": "live"}}, "ids"),
        ({"ids": []}, "ids"),
        ({"ids": "session-1"}, "ids"),
        ({"ids": [1]}, "ids"),
        ({"ids": [""]}, "ids"),
        ({"ids": ["a" * 129]}, "ids"),
        ({"ids": [f"s{n}" for n in range(201)]}, "ids"),
        ({"all": True}, "all"),
        ({"filter": {}}, "filter"),
        ({"filter": {"metadata": {}}}, "filter"),
        ({"filter": []}, "filter"),
        ({"filter": None}, "filter"),
        ({"filter": {"limit": 3}}, "filter.limit"),
        ({"filter": {"state": []}}, "filter.state"),
        ({"filter": {"state": [["live"]]}}, "filter.state"),
        ({"filter": {"state": {"live": True}}}, "filter.state"),
        ({"filter": {"state": ["live"] * 2}}, "filter.state"),
        ({"filter": {"metadata": ["a"]}}, "filter.metadata"),
        ({"filter": {"metadata": {"a": 1}}}, "filter.metadata"),
    ],
)
async def test_what_does_not_say_whom_ends_nobody(
    client: Client, body: dict[str, object], field: str
) -> None:
    response = await client.post("/v1/sessions/end", json=body, headers=PLATFORM)
    assert await problem(response) == (422, "invalid-field")
    assert (await response.json())["field"] == field
    assert len(ids(await listed(client))) == 6


async def test_an_end_that_is_no_json(client: Client) -> None:
    json_type = {"Content-Type": "application/json", **PLATFORM}
    response = await client.post("/v1/sessions/end", data=b"{", headers=json_type)
    assert await problem(response) == (400, "malformed-json")
    response = await client.post("/v1/sessions/end", data=b"x" * 65537, headers=json_type)
    assert await problem(response) == (413, "body-too-large")
    text = {"Content-Type": "text/plain", **PLATFORM}
    response = await client.post("/v1/sessions/end", data=b"{}", headers=text)
    assert await problem(response) == (415, "unsupported-media-type")


def test_a_filter_that_asks_for_nothing_is_none() -> None:
    assert not parse_filter({})
    assert parse_filter({"state": "live"})
