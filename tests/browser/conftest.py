"""Chromium, a film for its camera, and one running service for all tests that share it."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from loadtest.wrtc import install
from tests.browser.camera_film import write_film
from tests.browser.meeting import platform
from tests.browser.visitor import chromium, visit
from tests.running import ROOT, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from playwright.async_api import BrowserContext

    from tests.browser.meeting import Platform
    from tests.browser.visitor import Visitor
    from tests.running import Service


GONE_S = 10.0
"""For a session to end after its page has gone; where nothing told the service it takes longer."""


@pytest.fixture(scope="session")
def executable() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium on this machine")


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "camera.y4m"
    write_film(path)
    return path


@pytest.fixture(scope="session")
def npm_modules() -> Path:
    """The npm packages that these tests use; where they cannot be had, what needs them skips."""
    try:
        return install.install(ROOT / "tests" / "browser" / "npm") / "node_modules"
    except install.NotInstalled as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="session")
def axe(npm_modules: Path) -> str:
    return (npm_modules / "axe-core" / "axe.min.js").read_text()


@pytest.fixture(scope="session")
def service(executable: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Asks for `executable` so that nothing starts where there is no browser."""
    with running(LIBRARY=str(tmp_path_factory.mktemp("library"))) as started:
        yield started


@pytest_asyncio.fixture
async def context(executable: str, film: Path) -> AsyncIterator[BrowserContext]:
    async with chromium(executable, film) as opened:
        yield opened


@pytest_asyncio.fixture
async def visitor(context: BrowserContext, service: Service) -> AsyncIterator[Visitor]:
    visiting = await visit(context, service.url)
    yield visiting
    # Leaves as people do, which ends the session: the next test counts them. What a page sends as
    # it goes arrives a moment later.
    await visiting.page.goto("about:blank")
    async with asyncio.timeout(GONE_S):
        while await sessions_of(visiting, service):  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.1)


async def sessions_of(visiting: Visitor, service: Service) -> list[object]:
    answer = await visiting.page.request.get(f"{service.url}/v1/sessions")
    found: list[object] = (await answer.json())["sessions"]
    return found


@pytest.fixture
def meeting(executable: str) -> Iterator[Platform]:
    with platform() as running:
        yield running
