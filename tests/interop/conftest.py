"""What the tests with other people's clients share: the service as a process, and a film."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest

from loadtest.wrtc import install
from tests.browser.camera_film import write_film
from tests.interop.stand import HEIGHT, KEY, WIDTH, Api
from tests.running import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.running import Service


HEADER_BYTES = len(b"FRAME\n")


@pytest.fixture(scope="package")
def modules() -> Path:
    """The folder that Node finds libwebrtc in."""
    try:
        return install.install()
    except install.NotInstalled as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="package")
def service() -> Iterator[Service]:
    with running(
        API_KEYS=KEY,
        TOKEN_SECRETS="s" * 32,
        CPU_CORES="20",
        LOWEST_QUALITY="full",
        # The clients send from whatever address this machine has.
        PEER_NETWORKS="0.0.0.0/0",
    ) as started:
        yield started


@pytest.fixture(scope="package")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "camera.y4m"
    write_film(path, WIDTH, HEIGHT)
    return path


@pytest.fixture(scope="package")
def raw_film(film: Path) -> Path:
    """The same without its headers."""
    _, _, frames = film.read_bytes().partition(b"\n")
    size = HEADER_BYTES + WIDTH * HEIGHT * 3 // 2
    planes = [frames[at + HEADER_BYTES : at + size] for at in range(0, len(frames), size)]
    path = film.with_suffix(".i420")
    path.write_bytes(b"".join(planes))
    return path


@pytest.fixture
async def api(service: Service) -> AsyncIterator[Api]:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        yield Api(http, service.url)
