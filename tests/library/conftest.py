"""The two kinds of store, for tests that hold for both."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from service.library.store import PictureStore
from tests.library.stand import CREDENTIALS, Failures, make_bucket, s3_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Place = tuple[str, str]

_numbers = itertools.count()


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The URL of a server that speaks S3."""
    with s3_server() as url:
        yield url


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The settings library and library_endpoint, of an empty one."""
    if request.param == "folder":
        return str(tmp_path / "made" / "library"), ""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    url = request.getfixturevalue("s3")
    bucket = f"bucket-{next(_numbers)}"
    make_bucket(url, bucket)
    return f"s3://{bucket}/pictures/of-all", url


@pytest.fixture
def failures() -> Failures:
    return Failures()


@pytest.fixture
def opened(place: Place, failures: Failures) -> Callable[[], PictureStore]:
    """Opens the same place as often as is wished: each as another server would."""
    where, endpoint = place
    return lambda: PictureStore.open(where, endpoint=endpoint, counters=failures)


@pytest.fixture
def store(opened: Callable[[], PictureStore]) -> PictureStore:
    return opened()
