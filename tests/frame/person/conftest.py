"""Networks for the tests of the models: shipped ones, and fetched ones where they can be had."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from service.frame.models import Models
from service.modelcards import MODELS_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fetched import Fetched


@pytest.fixture(scope="session")
def shipped() -> Models:
    return Models.load(MODELS_DIRECTORY, names=["blazeface_short", "facemesh"])


@pytest.fixture(scope="session")
def fetched(fetched_models: Fetched) -> Callable[[str], Models]:
    """Networks with one that is not shipped; the test is skipped where it cannot be fetched."""

    def load(name: str) -> Models:
        fetched_models.require(name)
        return Models.load(fetched_models.folder, names=[name])

    return load
