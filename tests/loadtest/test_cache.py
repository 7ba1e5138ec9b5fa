"""Clips come from the cache as they were put there, or are made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loadtest import cache
from loadtest.clip import Codec
from loadtest.stamp import Place

if TYPE_CHECKING:
    from loadtest.clip import EncodedClip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / cache.FOLDER


def never() -> EncodedClip:
    raise AssertionError("it was to be read")


def test_it_is_made_once(clip: EncodedClip, home: Path) -> None:
    assert cache.cached("key", lambda: clip) == clip
    assert len(list(home.glob("*"))) == 1
    assert cache.cached("key", never) == clip
    with pytest.raises(AssertionError):
        cache.cached("another key", never)


@pytest.mark.parametrize("damage", [b"", b"{}", b"{}\n", b"[]\nx", b'{"sizes": [9]}\nabc'])
def test_a_damaged_file_is_made_anew(clip: EncodedClip, home: Path, damage: bytes) -> None:
    cache.cached("key", lambda: clip)
    (file,) = home.glob("*.clip")
    file.write_bytes(damage)
    assert cache.cached("key", lambda: clip) == clip
    assert cache.cached("key", never) == clip


def test_a_file_that_is_cut_off_is_made_anew(clip: EncodedClip, home: Path) -> None:
    cache.cached("key", lambda: clip)
    (file,) = home.glob("*.clip")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(AssertionError):
        cache.cached("key", never)


def test_no_place_to_write(clip: EncodedClip, home: Path) -> None:
    home.write_text("a file, where the folder should be")
    assert cache.cached("key", lambda: clip) == clip


def test_old_files_go(clip: EncodedClip, home: Path) -> None:
    for number in range(cache.KEPT + 3):
        cache.cached(str(number), lambda: clip)
    assert len(list(home.glob("*.clip"))) == cache.KEPT
    assert cache.cached(str(cache.KEPT + 2), never) == clip


def test_the_folder_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache.folder() == Path("/home/somebody/.cache") / cache.FOLDER


def test_the_default_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtest.clip.LOOP_S", 1)
    monkeypatch.setattr("loadtest.clip.default_film.__defaults__", (1,))
    made = cache.default_clip((160, 96), Codec.VP8, 5, place=Place())
    assert (made.width, made.height, made.fps, made.numbered) == (160, 96, 5, 10)
    assert cache.default_clip((160, 96), Codec.VP8, 5, place=Place()) == made
    assert cache.default_clip((160, 96), Codec.VP8, 5, place=None).numbered == 0
