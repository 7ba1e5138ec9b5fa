"""Connections that do not say what they want are ended, and no others."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from service.web.connections import Site, patient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEAD_TIMEOUT_S = 0.2
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
async def slow_answer() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
async def address(slow_answer: asyncio.Event) -> AsyncIterator[tuple[str, int]]:
    async def answer(request: web.Request) -> web.Response:
        if request.query:
            await slow_answer.wait()
        return web.Response(text="yes")

    app = web.Application(middlewares=[patient])
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await Site(runner, "127.0.0.1", 0, head_timeout_s=HEAD_TIMEOUT_S).start()
    yield runner.addresses[0]
    await runner.cleanup()


@asynccontextmanager
async def connection(
    address: tuple[str, int],
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(*address)
        yield reader, writer
        writer.close()


async def is_ended(reader: asyncio.StreamReader) -> bool:
    """Whether nothing comes any more."""
    try:
        return await reader.read(1) == b""
    except ConnectionResetError:
        return True


async def answered(reader: asyncio.StreamReader) -> None:
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    await reader.readuntil(b"\r\n\r\nyes")


@pytest.mark.parametrize("begun", [b"", b"G", REQUEST[:-2]])
async def test_a_head_that_does_not_come(address: tuple[str, int], begun: bytes) -> None:
    async with connection(address) as (reader, writer):
        writer.write(begun)
        assert await is_ended(reader)


async def test_a_head_that_drips(address: tuple[str, int]) -> None:
    """Bytes that go on coming do not begin the time anew."""
    async with connection(address) as (reader, writer):
        ended = asyncio.create_task(is_ended(reader))
        writer.write(REQUEST[:-2])
        sent = 0
        while not ended.done():
            writer.write(b"X: y\r\n")
            sent += 1
            await asyncio.wait({ended}, timeout=HEAD_TIMEOUT_S / 10)
        assert await ended
        assert sent > 1


async def test_the_next_head_of_a_connection_too(address: tuple[str, int]) -> None:
    async with connection(address) as (reader, writer):
        writer.write(REQUEST)
        await answered(reader)
        writer.write(REQUEST[:10])
        assert await is_ended(reader)


async def test_who_waits_for_an_answer_or_between_requests_is_left_alone(
    address: tuple[str, int], slow_answer: asyncio.Event
) -> None:
    async with connection(address) as (reader, writer):
        writer.write(REQUEST.replace(b"/ ", b"/?slow=1 "))
        ended = asyncio.create_task(reader.readline())
        await asyncio.wait({ended}, timeout=3 * HEAD_TIMEOUT_S)
        assert not ended.done()
        slow_answer.set()
        assert await ended == b"HTTP/1.1 200 OK\r\n"
        await reader.readuntil(b"yes")
        between = asyncio.create_task(reader.read(1))
        await asyncio.wait({between}, timeout=3 * HEAD_TIMEOUT_S)
        assert not between.done()
        writer.write(REQUEST)
        assert await between == b"H"


@pytest.mark.parametrize(
    "head",
    [
        b"GET /?" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret-\x00key\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 10_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03 secret-\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_a_problem_too(
    address: tuple[str, int], head: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with connection(address) as (reader, writer):
        writer.write(head)
        answer = await reader.read()
    line, _, rest = answer.partition(b"\r\n")
    fields, _, body = rest.partition(b"\r\n\r\n")
    assert line.split()[1] == b"400"
    assert json.loads(body)["type"] == "/problems/bad-request"
    assert b"Content-Type: application/problem+json" in fields
    assert b"X-Content-Type-Options: nosniff" in fields
    assert "secret-" not in caplog.text
