"""Networks for the tests of the models: the shipped ones, and fetched ones where they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from service.errors import ModelUnavailable
from service.frame.models import Models

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).resolve().parents[3] / "models"


@pytest.fixture(scope="session")
def shipped() -> Models:
    return Models.load(FOLDER, names=["blazeface_short", "facemesh"])


@pytest.fixture(scope="session")
def fetched() -> Callable[[str], Models]:
    """Networks with one that is not shipped; the test is skipped where nobody has fetched it."""

    def load(name: str) -> Models:
        try:
            return Models.load(FOLDER, names=[name])
        except ModelUnavailable as exc:
            pytest.skip(str(exc))

    return load
