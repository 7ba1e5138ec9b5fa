"""Networks that are not shipped are fetched after their licence was shown, and verified."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from service import fetch as fetching
from service.errors import ModelError
from service.fetch import fetch, read_fetchable
from service.frame.models import FETCHABLE_NAME, Models, read_manifest
from service.modelcards import MODELS_DIRECTORY

if TYPE_CHECKING:
    from pathlib import Path

ENTRY = """
[[model]]
name = "{name}"
purpose = "a test"
licence = "CC0-1.0"
licence_note = "Made by a test"
normalisation = "0..1"
{more}
[model.source]
address = "https://nowhere.invalid/"
files = [{{ path = "model.json" }}]
weights_sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
weights_norm = 0.0
[model.image]
source = "image"
shape = [1, 4, 6, 3]
[[model.output]]
name = "doubled"
source = "sum"
shape = [1, 3, 4, 6]
range = [0.0, 2.0]
meaning = "twice the picture"
"""
"""Its digest is of no weights at all: there is no convolution in the network."""
MODEL = {
    "modelTopology": {
        "node": [
            {"name": "image", "op": "Placeholder"},
            {"name": "sum", "op": "AddV2", "input": ["image", "image"]},
        ]
    },
    "weightsManifest": [],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Looks like models/, with the converter and two networks of the test's own to fetch."""
    made = tmp_path / "models"
    made.mkdir()
    for path in MODELS_DIRECTORY.glob("*.py"):
        shutil.copy(path, made / path.name)
    shutil.copy(MODELS_DIRECTORY / "manifest.toml", made)
    text = ENTRY.format(name="free", more="")
    text += ENTRY.format(name="odd", more='consent = "Nobody knows whose it is"')
    (made / FETCHABLE_NAME).write_text(text, encoding="utf-8")
    (tmp_path / "model.json").write_text(json.dumps(MODEL), encoding="utf-8")
    return made


def test_a_network_is_installed_from_a_copy(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = folder.parent / "model.json"
    fetch(folder, ["free"], path=copy, accept_licence=False)
    said = capfd.readouterr().out.splitlines()
    assert said[0] == f"free, from {copy}"
    assert said[1].strip() == "licence CC0-1.0: Made by a test"
    assert said[-1] == f"installed in {folder / 'fetched'}: free"
    assert read_manifest(folder / "fetched")["free"].licence == "CC0-1.0"
    (doubled,) = Models.load(folder, [])["free"].run(np.full((4, 6, 3), 255, np.uint8))
    np.testing.assert_allclose(doubled, 2, rtol=1e-6)


def test_a_licence_that_needs_consent_is_not_fetched_without(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = folder.parent / "model.json"
    with pytest.raises(ModelError, match=r"--accept-licence is needed\. odd: Nobody knows whose"):
        fetch(folder, ["odd"], path=copy, accept_licence=False)
    assert "odd: Made by a test" in capfd.readouterr().out
    assert not (folder / "fetched").exists()
    fetch(folder, ["odd"], path=copy, accept_licence=True)
    assert (folder / "fetched" / "odd.onnx").is_file()


def test_what_cannot_be_had_is_told(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError, match="not everything was fetched"):
        fetch(folder, ["free"], path=None, accept_licence=False)
    said = capfd.readouterr()
    assert said.out.startswith("free, from https://nowhere.invalid/\n")
    assert "free: https://nowhere.invalid/model.json cannot be had: " in said.err
    assert "--from" in said.err


def test_bad_requests_change_nothing(folder: Path) -> None:
    with pytest.raises(ModelError, match="no network 'yolo' to fetch, only free, odd"):
        fetch(folder, ["free", "yolo"], path=None, accept_licence=False)
    with pytest.raises(ModelError, match="--from is a copy of one network"):
        fetch(folder, ["free", "odd"], path=folder, accept_licence=True)
    assert not (folder / "fetched").exists()


def test_a_folder_without_a_list_has_nothing_to_fetch(tmp_path: Path) -> None:
    assert read_fetchable(tmp_path) == {}
    with pytest.raises(ModelError, match="no network 'free' to fetch, only none"):
        fetch(tmp_path, ["free"], path=None, accept_licence=False)


@pytest.mark.parametrize("text", ["[[model]", "model = 3", "[[model]]\nname = 'x'"])
def test_a_list_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FETCHABLE_NAME).write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"fetchable\.toml: cannot be read"):
        read_fetchable(tmp_path)


def test_the_list_says_whose_everything_is() -> None:
    known = read_fetchable(MODELS_DIRECTORY)
    for entry in known.values():
        assert entry.licence
        assert entry.licence_note
        assert entry.source
    assert known["rvm"].consent is not None
    assert "GPL-3.0" in known["rvm"].consent
    assert [name for name, entry in known.items() if entry.consent] == ["rvm"]


def test_without_its_packages_the_lock_file_is_needed(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr(fetching, "NEEDED_PACKAGE", "no_such_package")
    with pytest.raises(ModelError, match=r"requirements/models\.txt is missing"):
        fetch(folder, ["free"], path=folder.parent / "model.json", accept_licence=False)


@pytest.mark.download
@pytest.mark.timeout(600)
def test_without_its_packages_an_environment_is_made_for_it(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fetching, "NEEDED_PACKAGE", "no_such_package")
    requirements = folder.parent / "requirements"
    requirements.mkdir()
    shutil.copy(MODELS_DIRECTORY.parent / "requirements" / "models.txt", requirements)
    fetch(folder, ["free"], path=folder.parent / "model.json", accept_licence=False)
    assert "making a temporary environment" in capfd.readouterr().out
    assert Models.load(folder, ["free"])["free"].shape == (4, 6, 3)
