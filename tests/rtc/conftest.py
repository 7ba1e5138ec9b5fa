"""Real models and stock clients for peer tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import aioice.ice
import pytest

from service.frame.models import Models
from service.frame.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.frame.look import Look

MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture(scope="session")
def models() -> Models:
    return Models.load(MODELS)


@pytest.fixture
def make_pipeline(models: Models) -> Callable[[Look], Pipeline]:
    return lambda look: Pipeline(models, look)


@pytest.fixture(autouse=True)
def clients_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """aioice leaves 127.0.0.1 out; the stock clients of these tests have nothing else."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
