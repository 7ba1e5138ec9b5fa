"""The built-in backgrounds are what their manifest says, and drawing one is repeatable."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

FOLDER = Path(__file__).resolve().parents[1] / "backgrounds"
MOST_BYTES = 250_000
MANIFEST: dict[str, dict[str, Any]] = {
    entry["name"]: entry
    for entry in tomllib.loads((FOLDER / "manifest.toml").read_text("utf-8"))["background"]
}


def draw(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(FOLDER / "draw.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def decoded(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    with Image.open(path) as image:
        assert image.format == "WEBP"
        return np.asarray(image.convert("RGB"))


def test_manifest_lists_every_picture_and_no_other() -> None:
    assert sorted(MANIFEST) == sorted(path.stem for path in FOLDER.glob("*.webp"))
    assert len(MANIFEST) >= 8


def test_titles_are_there_and_differ() -> None:
    titles = {entry["title"].strip() for entry in MANIFEST.values()}
    assert "" not in titles
    assert len(titles) == len(MANIFEST)


@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_file_is_the_one_in_the_manifest(name: str) -> None:
    data = (FOLDER / f"{name}.webp").read_bytes()
    assert hashlib.sha256(data).hexdigest() == MANIFEST[name]["sha256"]
    assert len(data) <= MOST_BYTES


@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_picture_decodes_at_its_size(name: str) -> None:
    entry = MANIFEST[name]
    pixels = decoded(FOLDER / f"{name}.webp")
    assert pixels.shape == (entry["height"], entry["width"], 3)
    assert entry["width"] >= 1280
    assert entry["height"] >= 720


@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_picture_is_neither_dark_nor_burnt_out_nor_flat(name: str) -> None:
    grey = decoded(FOLDER / f"{name}.webp").mean(axis=2)
    assert 40 < grey.mean() < 215
    assert grey.std() > 5
    assert (grey > 252).mean() < 0.12


@pytest.mark.parametrize("name", ["slate", "city-dusk"])
def test_drawing_twice_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    files = []
    for turn in ("first", "second"):
        out = tmp_path / turn
        done = draw("--only", name, "--size", "128x72", "--out", str(out))
        assert done.returncode == 0, done.stderr
        # A picture of another size than the built-in ones gets no manifest.
        assert [path.name for path in out.iterdir()] == [f"{name}.webp"]
        files.append((out / f"{name}.webp").read_bytes())
        assert decoded(out / f"{name}.webp").shape == (72, 128, 3)
    assert files[0] == files[1]


@pytest.mark.parametrize("size", ["1280", "0x0", "-640x360", "axb"])
def test_bad_size_is_refused(size: str, tmp_path: Path) -> None:
    done = draw("--only", "slate", f"--size={size}", "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "--size" in done.stderr
    assert not (tmp_path / "out").exists()


def test_unknown_scene_is_refused(tmp_path: Path) -> None:
    done = draw("--only", "beach", "--out", str(tmp_path))
    assert done.returncode == 2
    assert "beach" in done.stderr
    assert list(tmp_path.iterdir()) == []
