"""A folder and a real S3 server: the same calls, whole writes, bounded time."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from service.errors import LibraryUnavailable, SettingsError, UnknownBackground
from service.library import store as module
from service.library.store import Changed, PictureStore, Stored
from tests.library.stand import Failures, make_bucket
from tests.running import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


async def test_pictures_from_writing_to_deletion(store: PictureStore, failures: Failures) -> None:
    assert await store.list() == ()
    first = await store.write("attic", b"first", new=True)
    assert (first.name, first.size_bytes) == ("attic", 5)
    await store.write("cellar-2", b"second one")
    assert {one.name: one for one in await store.list()} == {
        "attic": first,
        "cellar-2": Stored("cellar-2", (await store.read("cellar-2", max_bytes=99))[1], 10),
    }
    assert await store.read("attic", max_bytes=99) == (b"first", first.version)
    assert await store.head("cellar-2", 6) == b"second"
    assert await store.head("attic", 99) == b"first"
    again = await store.write("attic", b"first, again", replacing=first.version)
    assert again.version != first.version
    await store.delete("attic")
    with pytest.raises(UnknownBackground):
        await store.read("attic", max_bytes=99)
    assert [one.name for one in await store.list()] == ["cellar-2"]
    assert not failures


async def test_two_who_write_at_once(store: PictureStore) -> None:
    results = await asyncio.gather(
        *(store.write("attic", bytes([n]), new=True) for n in range(4)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in results) == ["Changed"] * 3 + ["Stored"]


async def test_a_bucket_replaces_what_was_seen_and_nothing_else(
    s3: str, monkeypatch: pytest.MonkeyPatch, failures: Failures
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    make_bucket(s3, "replaced")
    store = PictureStore.open("s3://replaced", endpoint=s3, counters=failures)
    first = await store.write("attic", b"first")
    await store.write("attic", b"second")
    with pytest.raises(Changed):
        await store.write("attic", b"third", replacing=first.version)
    assert (await store.read("attic", max_bytes=99))[0] == b"second"


async def test_a_reader_never_sees_half_a_picture(opened: Callable[[], PictureStore]) -> None:
    writer, reader = opened(), opened()
    size = 1 << 20
    await writer.write("attic", b"0" * size)

    async def write() -> None:
        for number in range(1, 9):
            await writer.write("attic", str(number).encode() * size)

    writing = asyncio.create_task(write())
    seen = set()
    while not writing.done():
        data, _ = await reader.read("attic", max_bytes=size)
        assert data == data[:1] * size
        seen.add(data[:1])
    await writing
    assert seen


@pytest.mark.parametrize(
    "name", ["../attic", "a/b", "/etc/passwd", "", ".", "a" * 65, "Attic", "a.b", "%2e%2e", "a\n"]
)
async def test_names_lead_nowhere_else(store: PictureStore, name: str) -> None:
    for call in (
        store.write(name, b"x"),
        store.delete(name),
        store.read(name, max_bytes=9),
        store.head(name, 9),
    ):
        with pytest.raises(UnknownBackground):
            await call
    assert await store.list() == ()


async def test_what_else_lies_in_a_folder(tmp_path: Path, failures: Failures) -> None:
    store = PictureStore.open(str(tmp_path), endpoint="", counters=failures)
    await store.write("attic", b"x")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "Attic.webp").write_text("")
    (tmp_path / "session.webp").write_text("")
    (tmp_path / "no-suffix").write_text("")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "cellar.webp").write_text("")
    (tmp_path / "half.webp#1").write_text("")  # a write that broke off
    assert [one.name for one in await store.list()] == ["attic"]


async def test_a_file_that_is_too_large_is_not_read(store: PictureStore) -> None:
    await store.write("attic", b"x" * 100)
    with pytest.raises(UnknownBackground):
        await store.read("attic", max_bytes=99)


def test_a_folder_that_cannot_be_had(tmp_path: Path, failures: Failures) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="BACKCLOTH_LIBRARY"):
        PictureStore.open(str(tmp_path / "file" / "library"), endpoint="", counters=failures)


async def test_a_store_that_is_down(
    failures: Failures, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "an-access-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "an-aws-secret")
    endpoint = f"http://127.0.0.1:{free_port()}"
    store = PictureStore.open("s3://bucket", endpoint=endpoint, counters=failures)
    calls = (store.list(), store.read("a", max_bytes=9), store.write("a", b""), store.delete("a"))
    with caplog.at_level(logging.WARNING):
        for call in calls:
            with pytest.raises(LibraryUnavailable):
                await call
    assert failures == {"list": 1, "read": 1, "write": 1, "delete": 1}
    assert "the library: list failed" in caplog.text
    assert "an-a" not in caplog.text


async def test_a_bucket_that_is_not_there(
    s3: str, failures: Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    store = PictureStore.open("s3://nowhere", endpoint=s3, counters=failures)
    with pytest.raises(LibraryUnavailable):
        await store.list()
    with pytest.raises((LibraryUnavailable, UnknownBackground)):
        await store.write("a", b"x")


async def test_a_store_that_hangs_holds_so_many_calls_and_no_more(
    failures: Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setattr(module, "READ_TIMEOUT_S", 0.3)
    connected = 0

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected += 1
        try:
            while await reader.read(1024):  # asked, and never answered
                pass
        finally:
            writer.close()

    async with await asyncio.start_server(never, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        store = PictureStore.open(
            "s3://bucket", endpoint=f"http://127.0.0.1:{port}", counters=failures
        )
        calls = [store.read("a", max_bytes=9) for _ in range(3 * module.MAX_AT_ONCE)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(one) for one in results} == {LibraryUnavailable}
        assert failures["read"] == len(calls)
        assert 1 <= connected <= module.MAX_AT_ONCE
        await store.close()
