"""The image, built once for all tests of this folder, and a container for each."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.image.builder import Builder, download_wheels
from tests.image.container import Container

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    try:
        download_wheels(folder)
    except (RuntimeError, subprocess.TimeoutExpired) as exc:
        pytest.skip(f"the wheels cannot be had: {exc}")
    return folder


@pytest.fixture(scope="session")
def builder(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Iterator[Builder]:
    """With the image built; its store, of several GB, is gone afterwards."""
    made = Builder(tmp_path_factory.mktemp("buildah"))
    try:
        try:
            made.make_base()
        except (RuntimeError, subprocess.TimeoutExpired) as exc:
            pytest.skip(f"no base image can be made: {exc}")
        made.build(wheels)
        yield made
    finally:
        shutil.rmtree(made.folder)


@pytest.fixture(scope="session")
def files(builder: Builder) -> Path:
    return builder.mounted()


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    made = Container(tmp_path / "bundle", f"backcloth-test-{os.getpid()}")
    yield made
    made.clear()
