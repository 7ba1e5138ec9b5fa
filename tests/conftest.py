"""What every test may use: where the test media is, and property tests that repeat themselves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.fetched import Fetched, fetch_all

ROOT = Path(__file__).resolve().parent.parent

# The same examples each run, and no deadline: a shared machine is slow at times.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def media() -> Path:
    """The folder of test media; the test is skipped where there is none."""
    folder = Path(os.environ.get("BACKCLOTH_TEST_MEDIA", ROOT.parent / "shared" / "media"))
    if not folder.is_dir():
        pytest.skip(f"no test media at {folder} (BACKCLOTH_TEST_MEDIA)")
    return folder


@pytest.fixture(scope="session")
def fetched_models(tmp_path_factory: pytest.TempPathFactory) -> Fetched:
    """All models, shipped and fetched: the tests that need one that cannot be had are skipped."""
    return fetch_all(tmp_path_factory.mktemp("models"))
