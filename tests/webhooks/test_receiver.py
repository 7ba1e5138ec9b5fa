"""One try against real receivers, good and hostile: what it is taken for, and that it ends."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from service.webhooks import receiver as receiving
from service.webhooks.message import Message
from service.webhooks.receiver import Delivered, Failed, Unwanted
from tests.running import free_port
from tests.webhooks.platform import Platform, Received, event, raw, receiver

if TYPE_CHECKING:
    from pathlib import Path

    from service.webhooks.receiver import Answer


def answering(status: int, **headers: str) -> Platform:
    async def answer(_: web.Request, __: Received) -> web.StreamResponse:
        return web.Response(
            status=status, headers={name.replace("_", "-"): text for name, text in headers.items()}
        )

    return Platform(answer)


async def answer_of(platform: Platform) -> Answer:
    async with platform.serving() as url, receiver(url) as out:
        return await out.post(Message.of(event(1)))


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_is_delivered(status: int) -> None:
    platform = answering(status)
    assert await answer_of(platform) == Delivered()
    assert platform.accepted[0].data["metadata"] == {"meeting": "42\r\nX: y"}


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 500, 502, 504])
async def test_anything_else_is_not(status: int) -> None:
    assert await answer_of(answering(status)) == Failed(f"status {status}")


async def test_410_is_the_receivers_no() -> None:
    assert await answer_of(answering(410)) == Unwanted()


@pytest.mark.parametrize(
    ("status", "after", "wait_s"),
    [
        (503, "7", 7),
        (429, "0", 0),
        (429, "999999999999", receiving.MAX_RETRY_AFTER_S),
        (429, "9" * 8000, receiving.MAX_RETRY_AFTER_S),
        (503, "-5", 0),
        (503, "Wed, 21 Oct 2026 07:28:00 GMT", 0),
        (503, "\u0663", 0),
        (500, "7", 0),
    ],
)
async def test_a_wait_that_is_asked_for(status: int, after: str, wait_s: int) -> None:
    answer = await answer_of(answering(status, Retry_After=after))
    assert answer == Failed(f"status {status}", wait_s)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    target = Platform()
    async with target.serving() as elsewhere:
        assert await answer_of(answering(status, Location=elsewhere)) == Failed(f"status {status}")
    assert not target.received


async def test_one_that_does_not_answer() -> None:
    async with raw(pause_s=60) as url, receiver(url, timeout_s=0.3) as out:
        assert await out.post(Message.of(event(1))) == Failed("no answer in 0.3 s")


async def test_one_that_drips_its_headers() -> None:
    lines = [b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 50]
    async with raw(*lines, pause_s=0.05) as url, receiver(url, timeout_s=0.3) as out:
        assert await out.post(Message.of(event(1))) == Failed("no answer in 0.3 s")


async def test_one_that_is_not_there() -> None:
    async with receiver(f"http://127.0.0.1:{free_port()}/hooks") as out:
        answer = await out.post(Message.of(event(1)))
    assert isinstance(answer, Failed)
    assert answer.why.startswith("no connection: ")


async def test_a_huge_body_is_not_read() -> None:
    sent = 0

    async def endless(request: web.Request, _: Received) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while sent < 256 << 20:
                await response.write(b"x" * 65536)
                sent += 65536
        except ConnectionError:
            pass
        return response

    platform = Platform(endless)
    async with platform.serving() as url, receiver(url) as out:
        assert await out.post(Message.of(event(1))) == Delivered()
        platform.answer = answering(204).answer
        assert await out.post(Message.of(event(2))) == Delivered()
    # What the buffers of two sockets and of two programs hold, and no more.
    assert sent < 32 << 20


async def test_a_compressed_body_is_not_inflated() -> None:
    async def bomb(_: web.Request, __: Received) -> web.StreamResponse:
        return web.Response(body=b"\x1f\x8b no gzip", headers={"Content-Encoding": "gzip"})

    assert await answer_of(Platform(bomb)) == Delivered()


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "ANSWER_TIMEOUT_S", 0.2)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    async with raw(head, pause_s=60) as url, receiver(url) as out:
        began_s = time.monotonic()
        assert await out.post(Message.of(event(1))) == Delivered()
        assert time.monotonic() - began_s < 4, "the limit of the whole try is 5 s"


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    ],
)
async def test_what_is_no_answer(answer: bytes) -> None:
    async with raw(answer) as url, receiver(url, timeout_s=1) as out:
        assert isinstance(await out.post(Message.of(event(1))), Failed)


async def test_cookies_are_not_kept() -> None:
    cookies: list[str | None] = []

    async def set_one(request: web.Request, _: Received) -> web.StreamResponse:
        cookies.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "a=b"})

    async with Platform(set_one).serving() as url, receiver(url) as out:
        for number in range(2):
            assert await out.post(Message.of(event(number))) == Delivered()
    assert cookies == [None, None]


async def test_the_environments_proxy_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await answer_of(Platform()) == Delivered()


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's TLS for 127.0.0.1, which nobody but itself vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context


async def test_a_certificate_is_checked(tmp_path: Path) -> None:
    came = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=self_signed(tmp_path))
    port = server.sockets[0].getsockname()[1]
    async with server, receiver(f"https://127.0.0.1:{port}/hooks") as out:
        answer = await out.post(Message.of(event(1)))
    assert isinstance(answer, Failed)
    assert "certificate verify failed" in answer.why
    assert not any(came)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"])
async def test_this_machine_is_refused_unless_it_is_allowed(host: str) -> None:
    platform = Platform()
    async with platform.serving() as url:
        port = url.rpartition(":")[2]
        async with receiver(f"http://{host}:{port}", networks=()) as out:
            answer = await out.post(Message.of(event(1)))
    assert answer == Failed("no connection: the address is in a range that is not allowed")
    assert not platform.received


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "017700000001"])
async def test_old_ways_of_writing_an_address(host: str) -> None:
    platform = Platform()
    async with platform.serving() as url:
        port = url.rpartition(":")[2]
        async with receiver(f"http://{host}:{port}", networks=()) as out:
            assert isinstance(await out.post(Message.of(event(1))), Failed)
    assert not platform.received


async def test_a_name_that_is_bound_to_another_address_gains_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: whatever was looked up, the address of the socket is what is judged."""
    answers = iter(["127.0.0.1", "169.254.169.254", "10.0.0.1"])
    asked = []

    def lie(host: str, port: int, **_: object) -> list[Any]:
        asked.append(host)
        address = (next(answers), port)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)]

    connected = []

    async def connects(_: object, sock: socket.socket, address: object) -> None:
        connected.append(address)
        raise OSError("no connection is ever begun")

    monkeypatch.setattr(socket, "getaddrinfo", lie)
    monkeypatch.setattr(asyncio.get_running_loop().__class__, "sock_connect", connects)
    for _ in range(3):
        async with receiver("https://hooks.example.com/x", networks=()) as out:
            answer = await out.post(Message.of(event(1)))
        assert answer == Failed("no connection: the address is in a range that is not allowed")
    assert asked == ["hooks.example.com"] * 3
    assert connected == []


async def test_a_public_address_is_connected_to_as_it_was_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def one(_: str, port: int, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("1.1.1.1", port))]

    connected = []

    async def connects(_: object, sock: socket.socket, address: object) -> None:
        connected.append(address)
        raise OSError("only looked at")

    monkeypatch.setattr(socket, "getaddrinfo", one)
    monkeypatch.setattr(asyncio.get_running_loop().__class__, "sock_connect", connects)
    async with receiver("https://hooks.example.com:8443/x", networks=()) as out:
        assert isinstance(await out.post(Message.of(event(1))), Failed)
    assert connected == [("1.1.1.1", 8443)]
    async with receiver("http://hooks.example.com/x") as out:
        answer = await out.post(Message.of(event(1)))
    assert answer == Failed("no connection: the address is in a range that is not allowed")
    assert connected == [("1.1.1.1", 8443)], "what is not encrypted stays in private networks"


async def test_a_name_that_nobody_has() -> None:
    async with receiver("https://nobody.invalid/hooks") as out:
        answer = await out.post(Message.of(event(1)))
    assert isinstance(answer, Failed)
    assert "hooks" not in answer.why


async def test_a_name_server_that_does_not_answer_holds_up_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither the loop, nor its executor, nor, past its limit, the try."""
    release = threading.Event()

    def hangs(*_: object, **__: object) -> list[Any]:
        release.wait(20)
        raise OSError("too late")

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    try:
        async with receiver("https://hooks.example.com/", timeout_s=0.2) as out:
            answers = [await out.post(Message.of(event(1))) for _ in range(3)]
            threads = [one for one in threading.enumerate() if one.name == "names"]
            assert len(threads) == 1, "one look-up at a time"
            assert await asyncio.to_thread(lambda: "pictures are decoded") is not None
        assert answers == [Failed("no answer in 0.2 s")] * 3
    finally:
        release.set()
