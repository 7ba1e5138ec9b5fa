"""The page: each file at its own name, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.web.pages import content_security_policy
from tests.web.conftest import ORIGIN, Stand, problem

PAGE = Path(__file__).parent.parent.parent / "service" / "web" / "page"


@pytest.fixture
def page(stand: Stand, tmp_path: Path) -> Stand:
    (tmp_path / "page").mkdir()
    files = {
        "index.html": "<!doctype html>",
        "client.js": "export {};",
        "page.css": "body {}",
        "icon.svg": "<svg/>",
        "notes.md": "not for the public",
    }
    for name, text in files.items():
        (tmp_path / "page" / name).write_text(text)
    (tmp_path / "secret.js").write_text("secret")
    stand.page_dir = tmp_path / "page"
    return stand


@pytest.mark.parametrize(
    ("path", "content_type", "text"),
    [
        ("/", "text/html; charset=utf-8", "<!doctype html>"),
        ("/client.js", "text/javascript; charset=utf-8", "export {};"),
        ("/page.css", "text/css; charset=utf-8", "body {}"),
        ("/icon.svg", "image/svg+xml", "<svg/>"),
    ],
)
async def test_files(page: Stand, path: str, content_type: str, text: str) -> None:
    async with page.client() as client:
        response = await client.get(path)
        assert await response.text() == text
        assert response.headers["Content-Type"] == content_type
        assert response.headers["Content-Security-Policy"] == content_security_policy()
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-cache"
        again = await client.get(path, headers={"If-None-Match": response.headers["ETag"]})
        assert again.status == 304


@pytest.mark.parametrize(
    "path", ["/index.html", "/notes.md", "/../secret.js", "/%2e%2e/secret.js", "/..%2fsecret.js"]
)
async def test_nothing_else(page: Stand, path: str) -> None:
    async with page.client() as client:
        assert await problem(await client.get(path)) == (404, "not-found")


async def test_a_file_is_asked_for_anew_or_in_part(page: Stand) -> None:
    """RFC 9110 13 and 14, each answer with the page's own headers."""
    async with page.client() as client:
        whole = await client.get("/client.js")
        etag = whole.headers["ETag"]
        assert whole.headers["Accept-Ranges"] == "bytes"
        for headers, status, text in (
            ({"If-None-Match": etag}, 304, ""),
            ({"If-Match": '"another"'}, 412, ""),
            ({"Range": "bytes=0-5"}, 206, "export"),
            ({"Range": "bytes=100-"}, 416, ""),
        ):
            response = await client.get("/client.js", headers=headers)
            assert (response.status, await response.text()) == (status, text)
            assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("move_to", "connect"),
    [
        ("", "'self'"),
        ("https://other.example", "'self' https://other.example"),
        ("https://other.example:8443/a/path/?key=1", "'self' https://other.example:8443"),
        ("http://127.0.0.3:8080/", "'self' http://127.0.0.3:8080"),
    ],
)
async def test_where_calls_move_to_may_be_asked_and_nobody_else(
    page: Stand, move_to: str, connect: str
) -> None:
    page.registry.move_to = move_to
    async with page.client() as client:
        policy = (await client.get("/")).headers["Content-Security-Policy"]
    parts = dict(one.split(" ", 1) for one in policy.split("; "))
    assert parts["connect-src"] == connect
    alone = dict(one.split(" ", 1) for one in content_security_policy().split("; "))
    assert {**parts, "connect-src": ""} == {**alone, "connect-src": ""}


async def test_client_js_may_be_imported_by_an_allowed_origin(page: Stand) -> None:
    async with page.client() as client:
        response = await client.get("/client.js", headers={"Origin": ORIGIN})
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN


async def test_the_page_of_this_repository(stand: Stand) -> None:
    stand.page_dir = PAGE
    async with stand.client() as client:
        assert "<!doctype html>" in (await (await client.get("/")).text()).lower()
        assert (await client.get("/client.js")).status == 200
