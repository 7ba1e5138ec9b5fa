"""The built-in pictures: names, decoding, and a bound on what is kept decoded."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from service.errors import PictureError, UnknownBackground
from service.session.pictures import BuiltInPictures, Listed

if TYPE_CHECKING:
    from pathlib import Path

SIZE_PX = (640, 360)
DECODED_BYTES = 640 * 360 * 3


def save(path: Path, color: tuple[int, int, int] = (10, 200, 30)) -> None:
    Image.new("RGB", SIZE_PX, color).save(path, "WEBP", lossless=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "attic.webp", (10, 200, 30))
    save(tmp_path / "book-shelf_2.webp", (200, 30, 10))
    save(tmp_path / "Capital.webp")
    save(tmp_path / "session.webp")
    (tmp_path / "draw.py").write_text("")
    return tmp_path


async def test_the_names_are_those_of_the_files(folder: Path) -> None:
    pictures = BuiltInPictures(folder)
    # A name that no effect may have is not listed, and "session" means another picture.
    assert pictures.names() == ("attic", "book-shelf_2")
    listed = await pictures.list()
    files = [await pictures.file(name) for name in pictures.names()]
    assert listed == tuple(
        Listed(name, title, *SIZE_PX, len(file.data), etag=file.etag, built_in=True)
        for name, title, file in zip(
            pictures.names(), ("Attic", "Book shelf 2"), files, strict=True
        )
    )


async def test_a_folder_that_is_not_there_is_an_empty_library(tmp_path: Path) -> None:
    assert BuiltInPictures(tmp_path / "nowhere").names() == ()


async def test_a_picture_is_decoded_once_for_all_who_ask(folder: Path) -> None:
    pictures = BuiltInPictures(folder)
    first, *others = await asyncio.gather(*(pictures.get("attic") for _ in range(5)))
    assert first.rgb.shape == (360, 640, 3)
    assert first.rgb[0, 0].tolist() == [10, 200, 30]
    assert all(other is first for other in others)


async def test_what_is_kept_is_bounded(folder: Path) -> None:
    pictures = BuiltInPictures(folder, max_cached_bytes=DECODED_BYTES)
    first = await pictures.get("attic")
    second = await pictures.get("book-shelf_2")
    assert await pictures.get("book-shelf_2") is second
    assert await pictures.get("attic") is not first


async def test_a_picture_larger_than_the_bound_is_kept_alone(folder: Path) -> None:
    pictures = BuiltInPictures(folder, max_cached_bytes=1)
    assert await pictures.get("attic") is await pictures.get("attic")


async def test_unknown_names(folder: Path) -> None:
    pictures = BuiltInPictures(folder)
    for ask in (pictures.get, pictures.file, pictures.thumbnail):
        for name in ("cellar", "../attic", "session", "draw", ""):
            with pytest.raises(UnknownBackground):
                await ask(name)


async def test_a_damaged_file_fails_each_time_it_is_asked_for(folder: Path) -> None:
    (folder / "broken.webp").write_bytes(b"RIFF")
    pictures = BuiltInPictures(folder)
    for _ in range(2):
        with pytest.raises(PictureError):
            await pictures.get("broken")
    assert (await pictures.get("attic")).rgb.shape == (360, 640, 3)
    assert [one.name for one in await pictures.list()] == ["attic", "book-shelf_2"]


async def test_files_and_thumbnails(folder: Path) -> None:
    pictures = BuiltInPictures(folder)
    file = await pictures.file("attic")
    assert file.data == (folder / "attic.webp").read_bytes()
    small = await pictures.thumbnail("attic")
    with Image.open(io.BytesIO(small.data)) as image:
        assert (image.format, image.size) == ("WEBP", (320, 180))
    assert file.etag != small.etag
    assert await pictures.thumbnail("attic") is small
