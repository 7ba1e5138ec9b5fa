"""If-Match: a change that is made only where nobody else made one meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from tests.web.conftest import KEY, Client, Stand, bearer, opened, problem

PLATFORM = bearer(KEY)
PATH = "/v1/sessions/session-1"
GREEN = {"effect": {"type": "color", "color": "#00b140"}}
RED = {"effect": {"type": "color", "color": "#b00000"}}
BLUR = {"effect": {"type": "blur"}}


async def tag(client: Client) -> str:
    response = await client.get(PATH, headers=PLATFORM)
    assert response.headers["ETag"] == (await response.json())["etag"]
    return response.headers["ETag"]


async def test_a_change_goes_by_what_was_seen(client: Client) -> None:
    await opened(client)
    seen = await tag(client)
    assert await tag(client) == seen
    response = await client.patch(PATH, json=GREEN, headers={**PLATFORM, "If-Match": seen})
    assert response.status == 200
    new = response.headers["ETag"]
    assert new != seen
    assert await tag(client) == new

    response = await client.patch(PATH, json=RED, headers={**PLATFORM, "If-Match": seen})
    assert await problem(response) == (412, "stale-etag")
    assert response.headers["ETag"] == new
    body = await (await client.get(PATH, headers=PLATFORM)).json()
    assert body["effect"]["color"] == "#00b140"
    response = await client.patch(PATH, json=RED, headers=PLATFORM)
    assert response.status == 200, "it is no one's duty"


@pytest.mark.parametrize(
    "given",
    ["*", "{tag}", '"other", {tag}', '{tag} , "other"', ', "a,b" ,, {tag},', 'W/"x", {tag}'],
)
async def test_what_matches(client: Client, given: str) -> None:
    await opened(client)
    only_if = {"If-Match": given.format(tag=await tag(client))}
    response = await client.patch(PATH, json=GREEN, headers={**PLATFORM, **only_if})
    assert response.status == 200


@pytest.mark.parametrize("given", ['"other"', "W/{tag}", '""', '"other", W/{tag}', '"x{tag}'])
async def test_what_does_not(client: Client, stand: Stand, given: str) -> None:
    await opened(client)
    # The last one: a quote is in no tag, so that is another tag and something that is none.
    headers = {**PLATFORM, "If-Match": given.format(tag=await tag(client))}
    for response in (
        await client.patch(PATH, json=GREEN, headers=headers),
        await client.patch(f"{PATH}/tracks/0", json=GREEN, headers=headers),
        await client.delete(PATH, headers=headers),
    ):
        assert response.status in (412, 422)
        assert (await problem(response))[1] in ("stale-etag", "invalid-field")
    session = stand.registry.get("session-1")
    assert session.version == 0
    assert not session.track_effects


@pytest.mark.parametrize("given", ["", "x", "'x'", '"a" "b"', "*, *", '"' + "a" * 1100 + '"'])
async def test_what_is_no_list_of_tags(client: Client, given: str) -> None:
    await opened(client)
    headers = {**PLATFORM, "If-Match": given}
    for response in (
        await client.patch(PATH, json=GREEN, headers=headers),
        await client.patch(f"{PATH}/tracks/0", json=GREEN, headers=headers),
        await client.delete(PATH, headers=headers),
    ):
        assert await problem(response) == (422, "invalid-field")
        assert (await response.json())["field"] == "If-Match"


async def test_two_fields_are_one_list(client: Client) -> None:
    await opened(client)
    headers = [("Authorization", f"Bearer {KEY}"), ("If-Match", '"a"')]
    headers.append(("If-Match", await tag(client)))
    assert (await client.patch(PATH, json=GREEN, headers=headers)).status == 200


async def test_a_delete_goes_by_it_too(client: Client) -> None:
    answer = await opened(client)
    stale, own = await tag(client), bearer(answer["token"])
    await client.patch(PATH, json=GREEN, headers=PLATFORM)
    response = await client.delete(PATH, headers={**own, "If-Match": stale})
    assert await problem(response) == (412, "stale-etag")
    response = await client.delete(PATH, headers={**own, "If-Match": await tag(client)})
    assert response.status == 204
    response = await client.delete(PATH, headers={**PLATFORM, "If-Match": "*"})
    assert await problem(response) == (404, "unknown-session")


async def test_of_two_who_saw_the_same_one_changes_it(client: Client) -> None:
    await opened(client)
    headers = {**PLATFORM, "If-Match": await tag(client)}
    answers = await asyncio.gather(
        *(client.patch(PATH, json=body, headers=headers) for body in (GREEN, RED, BLUR))
    )
    assert sorted(response.status for response in answers) == [200, 412, 412]


async def test_a_track_changes_the_sessions_version(client: Client) -> None:
    await opened(client)
    headers = {**PLATFORM, "If-Match": await tag(client)}
    assert (await client.patch(f"{PATH}/tracks/0", json=GREEN, headers=headers)).status == 200
    assert (await client.patch(PATH, json=RED, headers=headers)).status == 412
