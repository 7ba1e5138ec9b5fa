"""One name space, and sessions that follow what is put into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from service.errors import BuiltInPicture, LibraryUnavailable, NoLibrary, UnknownBackground
from service.frame.picture import Picture
from service.library.library import Library
from service.library.store import PictureStore
from service.library.stored import Bounds, StoredPictures
from service.session.pictures import BuiltInPictures
from tests.library.stand import BLUE, RED, Failures, anything, picture

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from service.frame.film import Film


class Shows:
    """A session that shows one picture."""

    def __init__(self, name: str, shown: Picture | Film) -> None:
        self.name = name
        self.shown = shown
        self.changes = 0

    def library_pictures(self) -> Mapping[str, set[str]]:
        return {self.name: {self.shown.key}}

    def show_library_picture(self, name: str, picture: Picture | Film) -> None:
        assert name == self.name
        self.shown = picture
        self.changes += 1


@pytest.fixture
def built_in(tmp_path: Path) -> BuiltInPictures:
    (tmp_path / "dawn.webp").write_bytes(picture((9, 9, 9), kind="WEBP"))
    return BuiltInPictures(tmp_path)


@pytest.fixture
def stored(tmp_path: Path) -> StoredPictures:
    store = PictureStore.open(str(tmp_path / "library"), endpoint="", counters=Failures())
    return StoredPictures(store, Bounds())


async def test_both_kinds_have_one_list(built_in: BuiltInPictures, stored: StoredPictures) -> None:
    library = Library(built_in, stored)
    await library.put("attic", RED, anything)
    # As if another release had brought a picture of a name that was taken.
    await stored.put("dawn", RED, anything)
    listed, current = await library.list()
    assert [(one.name, one.built_in) for one in listed] == [("attic", False), ("dawn", True)]
    assert current
    for one in listed:
        await library.require(one.name)
        assert await library.find(one.name) == one
        assert (await library.file(one.name)).etag == one.etag
        assert (await library.thumbnail(one.name)).data
        shown = await library.get(one.name)
        assert isinstance(shown, Picture)
        assert shown.rgb.shape == (180, 320, 3)
    for change in (library.put("dawn", RED, anything), library.delete("dawn", anything)):
        with pytest.raises(BuiltInPicture):
            await change
    with pytest.raises(UnknownBackground):
        await library.require("cellar")


async def test_without_a_place_for_others(built_in: BuiltInPictures) -> None:
    library = Library(built_in)
    assert [one.name for one in (await library.list())[0]] == ["dawn"]
    with pytest.raises(NoLibrary, match="BACKCLOTH_LIBRARY"):
        await library.put("attic", RED, anything)
    with pytest.raises(NoLibrary):
        await library.delete("attic", anything)
    for ask in (library.require, library.find, library.get, library.file, library.thumbnail):
        with pytest.raises(UnknownBackground):
            await ask("attic")
    await library.run(list)  # there is nothing to follow: it ends


async def test_sessions_get_what_replaced_their_picture_and_keep_what_was_deleted(
    built_in: BuiltInPictures, stored: StoredPictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library(built_in, stored)
    await library.put("attic", RED, anything)
    red = await library.get("attic")
    sessions = [Shows("attic", red), Shows("attic", red), Shows("dawn", red)]
    await library._follow(stored, lambda: sessions)
    assert [one.changes for one in sessions] == [0, 0, 0]
    await library.put("attic", BLUE, anything)
    await library._follow(stored, lambda: sessions)
    await library._follow(stored, lambda: sessions)
    blue = await library.get("attic")
    assert [one.shown for one in sessions] == [blue, blue, red]
    assert [one.changes for one in sessions] == [1, 1, 0]
    # One that took its picture before it was replaced, and showed it after.
    sessions.append(Shows("attic", red))
    await library._follow(stored, lambda: sessions)
    assert sessions[-1].shown is blue
    await library.delete("attic", anything)
    await library._follow(stored, lambda: sessions)
    assert [one.shown for one in sessions] == [blue, blue, red, blue]

    async def fails(name: str) -> str:
        raise LibraryUnavailable

    monkeypatch.setattr(stored, "pixels", fails)
    await library._follow(stored, lambda: sessions)
