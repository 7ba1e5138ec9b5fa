"""The picture library over HTTP."""

from __future__ import annotations

import pytest

from tests.web.conftest import KEY, Client, bearer, opened, problem

PLATFORM = bearer(KEY)


async def test_the_list_is_for_platforms_and_for_every_token(client: Client) -> None:
    token = (await opened(client))["token"]
    for credential in (KEY, token):
        response = await client.get("/v1/backgrounds", headers=bearer(credential))
        assert await response.json() == {
            "backgrounds": [
                {
                    "name": name,
                    "title": name.title(),
                    "width": 1920,
                    "height": 1080,
                    "size": len(f"large {name}"),
                    "kind": "picture",
                    "type": "image/webp",
                    "built_in": True,
                    "etag": f'"etag-large-{name}"',
                    "url": f"/v1/backgrounds/{name}",
                    "thumbnail_url": f"/v1/backgrounds/{name}/thumbnail",
                }
                for name in ("attic", "library-warm")
            ],
            "current": True,
        }


@pytest.mark.parametrize(
    ("query", "size"), [("", "large"), ("?size=thumbnail", "small"), ("/thumbnail", "small")]
)
async def test_pictures_are_kept_by_browsers(client: Client, query: str, size: str) -> None:
    path = f"/v1/backgrounds/attic{query}"
    response = await client.get(path, headers=PLATFORM)
    assert response.status == 200
    assert response.content_type == "image/webp"
    assert await response.read() == f"{size} attic".encode()
    assert response.headers["Cache-Control"] == "private, max-age=3600"
    etag = response.headers["ETag"]
    for known in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        again = await client.get(path, headers={**PLATFORM, "If-None-Match": known})
        assert (again.status, await again.read()) == (304, b"")
        assert again.headers["ETag"] == etag
    changed = await client.get(path, headers={**PLATFORM, "If-None-Match": '"other"'})
    assert changed.status == 200


async def test_what_the_library_has_not(client: Client) -> None:
    response = await client.get("/v1/backgrounds/cellar", headers=PLATFORM)
    assert await problem(response) == (404, "unknown-background")
    response = await client.get("/v1/backgrounds/..%2Fsecret", headers=PLATFORM)
    assert await problem(response) == (404, "unknown-background")
    response = await client.get("/v1/backgrounds/attic?size=huge", headers=PLATFORM)
    assert await problem(response) == (422, "invalid-field")
