"""The models that are not shipped, fetched once a test run from where they are published."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from service.errors import ModelError
from service.fetch import fetch
from service.modelcards import MODELS_DIRECTORY

ROOT = Path(__file__).resolve().parents[1]
STAND_IN = "models/bodypix_x050_s16_240x320_seg.onnx"
"""Of the test media: BodyPix' weights in another form, for where its authors cannot be reached."""
OF_NPM = ("posenet", "rvm", "mobilenet_v2")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A folder like models/ with all that could be fetched."""

    folder: Path
    missing: dict[str, str] = field(default_factory=dict)
    """Why a network is not there, by name."""

    def require(self, *names: str) -> None:
        """Skips the test where one of them could not be fetched."""
        for name in names:
            if name in self.missing:
                pytest.skip(f"{name} cannot be fetched: {self.missing[name]}")


def shipped(folder: Path) -> Path:
    """A copy of models/ with nothing fetched."""
    for pattern in ("*.py", "*.toml", "*.onnx"):
        for path in MODELS_DIRECTORY.glob(pattern):
            shutil.copy(path, folder / path.name)
    return folder


def fetch_all(folder: Path) -> Fetched:
    """Everything that can be had, into a copy of models/."""
    fetched = Fetched(shipped(folder))
    if shutil.which("npm") is None:
        fetched.missing.update(dict.fromkeys(OF_NPM, "npm is not installed"))
    else:
        try:
            fetch(folder, OF_NPM, path=None, accept_licence=True)
        except ModelError as error:
            fetched.missing.update(dict.fromkeys(OF_NPM, str(error)))
    media = Path(os.environ.get("BACKCLOTH_TEST_MEDIA", ROOT.parent / "shared" / "media"))
    reasons = []
    for path in (None, media / STAND_IN):
        if path is not None and not path.is_file():
            continue
        try:
            fetch(folder, ["bodypix"], path=path, accept_licence=False)
            break
        except ModelError as error:
            reasons.append(str(error))
    else:
        fetched.missing["bodypix"] = f"neither its authors' address nor test media: {reasons}"
    return fetched
