"""One service for the tests that only look at pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aioice.ice
import pytest

from tests.running import Service, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    # Nobody is refused because the machine has other work, and levels are lowered.
    with running(MAX_SESSIONS="50", CPU_CORES="20", LOWEST_QUALITY="full") as process:
        yield process


@pytest.fixture(autouse=True)
def clients_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """aioice leaves 127.0.0.1 out; the clients of these tests have nothing else."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
