"""Two servers that share one store: what one writes the other has, within the bounds."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from service.errors import (
    LibraryFull,
    LibraryUnavailable,
    PictureError,
    PreconditionFailed,
    Refused,
    UnknownBackground,
)
from service.frame.background import SHARED, fitted
from service.frame.colour import Colour
from service.frame.film import Film
from service.frame.filmfile import stored_film
from service.frame.picture import Picture
from service.library.store import PictureStore, Stored
from service.library.stored import Bounds, StoredPictures
from service.policy.effects import Fit
from service.session.films import LEAST_BYTES, Films
from tests.frame.reels import RED as RED_FILM
from tests.frame.reels import reel
from tests.library.stand import BLUE, RED, Failures, anything, picture
from tests.web.signing import Clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from service.session.pictures import Listed


class Watched(PictureStore):
    """A folder that counts its lists, and may be down."""

    lists = 0
    down = False

    async def list(self) -> tuple[Stored, ...]:
        self.lists += 1
        if self.down:
            raise LibraryUnavailable
        return await super().list()


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    store = Watched.open(str(tmp_path / "library"), endpoint="", counters=Failures())
    assert isinstance(store, Watched)
    return store


def mean(shown: Picture | Film) -> list[int]:
    assert isinstance(shown, Picture)
    return [round(value) for value in shown.rgb.mean(axis=(0, 1)).tolist()]


def is_red(shown: Picture | Film) -> bool:
    red, green, blue = mean(shown)
    return red > 180 and green < 30 and blue < 30


async def test_what_one_server_writes_another_has(opened: Callable[[], PictureStore]) -> None:
    clock = Clock()
    here, there = (StoredPictures(opened(), Bounds(), clock=clock) for _ in range(2))
    assert await there.list() == ((), True)
    put = await here.put("attic", RED, anything)
    assert put.new
    assert (put.listed.width_px, put.listed.height_px) == (320, 180)
    clock.s += 0.001  # the other's list is of before, and no second old
    assert await there.find("attic") == put.listed
    assert is_red(await there.get("attic"))
    assert await there.list() == ((put.listed,), True)
    file = await there.file("attic")
    assert (len(file.data), file.etag) == (put.listed.size_bytes, put.listed.etag)
    with Image.open(io.BytesIO(file.data)) as image:
        assert (image.format, image.size) == ("WEBP", (320, 180))
    with Image.open(io.BytesIO((await there.thumbnail("attic")).data)) as image:
        assert (image.format, image.size) == ("WEBP", (320, 180))

    clock.s += 0.001
    again = await here.put("attic", BLUE, anything)
    assert not again.new
    assert again.listed.etag != put.listed.etag
    assert is_red(await there.get("attic"))
    clock.s += 1.1
    assert mean(await there.get("attic"))[2] > 180
    assert (await there.file("attic")).etag == again.listed.etag

    clock.s += 0.001
    await here.delete("attic", anything)
    clock.s += 1.1
    with pytest.raises(UnknownBackground):
        await there.get("attic")
    assert await there.list() == ((), True)
    with pytest.raises(UnknownBackground):
        await here.delete("attic", anything)


async def test_what_was_made_of_a_picture_goes_with_it(watched: Watched) -> None:
    clock = Clock()
    pictures = StoredPictures(watched, Bounds(), clock=clock)
    await pictures.put("attic", RED, anything)
    first = await pictures.get("attic")
    assert isinstance(first, Picture)
    assert await pictures.get("attic") is first
    small = await pictures.thumbnail("attic")
    assert await pictures.thumbnail("attic") is small
    clock.s += 0.001
    planes = fitted(first, Fit.COVER, (64, 36), Colour())
    assert fitted(first, Fit.COVER, (64, 36), Colour()) is planes
    assert await pictures.pixels("attic") == first.key
    await pictures.put("attic", BLUE, anything)
    assert fitted(first, Fit.COVER, (64, 36), Colour()) is not planes
    assert await pictures.get("attic") is not first
    assert await pictures.thumbnail("attic") is not small
    assert await pictures.pixels("attic") != first.key
    SHARED.forget(first.key)


async def test_conditions_are_held_against_what_is_there(
    opened: Callable[[], PictureStore],
) -> None:
    here, there = (StoredPictures(opened(), Bounds()) for _ in range(2))
    seen: list[str | None] = []

    def see(etag: str | None) -> None:
        seen.append(etag)

    first = await here.put("attic", RED, see)
    await there.put("attic", BLUE, see)
    assert seen == [None, first.listed.etag]

    def never(etag: str | None) -> None:
        raise PreconditionFailed(etag)

    for change in (here.put("attic", RED, never), here.delete("attic", never)):
        with pytest.raises(PreconditionFailed):
            await change
    assert mean(await here.get("attic"))[2] > 180

    # All at once, each only where there is nothing: one of them is first.
    def nothing(etag: str | None) -> None:
        if etag is not None:
            raise PreconditionFailed(etag)

    results = await asyncio.gather(
        *(one.put("new", RED, nothing) for one in (here, there, here)), return_exceptions=True
    )
    failed = [one for one in results if isinstance(one, PreconditionFailed)]
    assert len(failed) == 2


async def test_the_library_is_bounded(watched: Watched) -> None:
    pictures = StoredPictures(watched, Bounds(pictures=2))
    put = await pictures.put("a", RED, anything)
    await pictures.put("b", RED, anything)
    with pytest.raises(LibraryFull, match="2 pictures at most"):
        await pictures.put("c", RED, anything)
    assert not (await pictures.put("a", BLUE, anything)).new, "one takes another's place"
    small = StoredPictures(watched, Bounds(total_bytes=2 * put.listed.size_bytes + 4))
    with pytest.raises(LibraryFull, match="bytes at most"):
        await small.put("c", RED, anything)
    assert [one.name for one in (await pictures.list())[0]] == ["a", "b"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"x" * 5000, "at most 4096"),
        (picture((1, 2, 3), (200, 100)), "at most 10000 pixels"),
        (b"<svg/>", "cannot be decoded"),
    ],
)
async def test_what_is_not_taken(watched: Watched, data: bytes, why: str) -> None:
    bounds = Bounds(picture_bytes=4096, picture_pixels=10_000)
    pictures = StoredPictures(watched, bounds)
    with pytest.raises(PictureError, match=why):
        await pictures.put("attic", data, anything)
    assert await watched.list() == ()


async def test_unknown_names_cost_few_lists(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = StoredPictures(watched, Bounds())
    await pictures.put("attic", RED, anything)
    watched.lists = 0
    asked = [pictures.find(f"name-{n}") for n in range(100)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(one) for one in results} == {UnknownBackground}
    assert watched.lists == 1
    await pictures.find("attic")
    assert watched.lists == 1, "a picture that is known costs none for a second"


async def test_a_store_that_is_down_takes_nothing_from_what_is_known(watched: Watched) -> None:
    clock = Clock()
    pictures = StoredPictures(watched, Bounds(), clock=clock)
    put = await pictures.put("attic", RED, anything)
    shown = await pictures.get("attic")
    watched.down, watched.lists = True, 0
    clock.s += 60
    assert await pictures.get("attic") is shown
    assert await pictures.list() == ((put.listed,), False)
    for change in (
        pictures.find("cellar"),
        pictures.put("cellar", RED, anything),
        pictures.delete("attic", anything),
    ):
        with pytest.raises(LibraryUnavailable):
            await change
    assert watched.lists == 1, "it is left alone for a while"
    watched.down = False
    clock.s += 60
    with pytest.raises(UnknownBackground):
        await pictures.find("cellar")


async def test_files_that_are_no_pictures_are_left_out(watched: Watched) -> None:
    await watched.write("fake", b"RIFF but nothing more than that, however long it is")
    pictures = StoredPictures(watched, Bounds())
    put = await pictures.put("attic", RED, anything)
    header = (await watched.read("attic", max_bytes=9999))[0][:30]
    await watched.write("broken", header + b"\0" * 100)
    listed, _ = await pictures.list()
    assert put.listed in listed
    assert "fake" not in [one.name for one in listed]
    with pytest.raises(UnknownBackground):
        await pictures.get("fake")
    with pytest.raises(PictureError):
        await pictures.get("broken")


async def known(pictures: StoredPictures, listed: Listed) -> None:
    """Until a server has read what another one wrote: a second at most."""
    async with asyncio.timeout(10):
        while await pictures.find(listed.name) != listed:  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(0.05)


async def test_films_beside_pictures(opened: Callable[[], PictureStore]) -> None:
    """One takes the other's place in one step, and every server plays it."""
    here, there = (StoredPictures(opened(), Bounds()) for _ in range(2))
    for form in ("mp4", "webm"):
        await here.put("waves", BLUE, anything)
        await known(there, (await here.find("waves")))
        assert not (await there.find("waves")).is_film
        put = await here.put("waves", reel(form=form), anything)
        assert not put.new
        assert (put.listed.media_type, put.listed.is_film) == (f"video/{form}", True)
        assert (put.listed.width_px, put.listed.height_px) == (320, 180)
        await known(there, put.listed)
        shown = await there.get("waves")
        assert isinstance(shown, Film)
        assert len(shown.frames) == 15
        assert await there.pixels("waves") == shown.key
        assert await there.get("waves") is shown, "decoded once"
        file = await there.file("waves")
        assert (file.media_type, len(file.data)) == (f"video/{form}", put.listed.size_bytes)
        small = await there.thumbnail("waves")
        assert small.media_type == "image/webp"
        with Image.open(io.BytesIO(small.data)) as image:
            assert (image.format, image.size) == ("WEBP", (320, 180))
        # One that starts now knows it by its file's beginning.
        assert await StoredPictures(opened(), Bounds()).list() == ((put.listed,), True)
        await here.delete("waves", anything)
        assert await here.list() == ((), True)


async def test_films_are_held_to_the_limits(watched: Watched) -> None:
    bounds = Bounds(picture_bytes=1800)
    pictures = StoredPictures(watched, bounds)
    for data, words in (
        (reel(), "has 2[0-9]+ bytes; at most 1800"),
        (reel()[:1000], "as MP4 or WebM"),
        (reel((RED_FILM,), each=901, size=(32, 32)), "900 frames"),
    ):
        with pytest.raises(PictureError, match=words):
            await pictures.put("waves", data, anything)
    full = StoredPictures(watched, Bounds(), films=Films(LEAST_BYTES - 1))
    with pytest.raises(Refused, match="film_memory"):
        await full.put("waves", reel(), anything)
    little = StoredPictures(watched, Bounds(total_bytes=1000))
    with pytest.raises(LibraryFull):
        await little.put("waves", reel(), anything)
    assert await watched.list() == ()


async def test_a_film_that_is_damaged_in_the_store(watched: Watched) -> None:
    """It is known by its beginning, and cannot be played."""
    whole = bytearray(stored_film(reel(form="webm")))
    whole[600:] = bytes(len(whole) - 600)
    await watched.write("torn", bytes(whole))
    await watched.write("no-film", b"\x1a\x45\xdf\xa3" + bytes(900))
    pictures = StoredPictures(watched, Bounds())
    assert [one.name for one in (await pictures.list())[0]] == ["torn"]
    with pytest.raises(UnknownBackground):
        await pictures.get("no-film")
    with pytest.raises(PictureError):
        await pictures.get("torn")
