"""Two running services under a Prometheus: one with sessions on it, one idle behind TLS.

What a healthy service under load never shows is provoked: a refused session, one that ends, one
that is limited to fewer frames than its camera sends, and a certificate that expires in two days.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
import aioice.ice
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.k8s.prometheus import ROOT, Prometheus, prometheus
from tests.peers import Camera, Client
from tests.rtc.pictures import moving_picture
from tests.running import Service, environment, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSY, IDLE = "backcloth-0", "backcloth-1"
CERTIFICATE_DAYS = 2
LOOPBACK = ipaddress.ip_address("127.0.0.1")
LIMITED_FPS = 5
LIMITED_FRAMES = 20
LIMITED_TIMEOUT_S = 60.0
PLANNED_SHARE = "1.5"
"""Above 1 lower levels are part of the plan: a machine that is slow today refuses nobody for it."""
LOAD_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Live:
    """What runs."""

    prometheus: Prometheus
    busy: Service
    idle: Service


@contextmanager
def live(folder: Path, *, certificate_days: int = CERTIFICATE_DAYS) -> Iterator[Live]:
    """Both services and a Prometheus, with nothing on them yet."""
    certificate, key = write_certificate(folder, certificate_days)
    with (
        running(PLANNED_SHARE=PLANNED_SHARE) as busy,
        running(TLS_CERT=str(certificate), TLS_KEY=str(key), MAX_SESSIONS="1") as idle,
        prometheus(folder, {BUSY: busy, IDLE: idle}) as made,
    ):
        yield Live(made, busy, idle)


def write_certificate(folder: Path, days: int) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(LOOPBACK)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "tls.pem", folder / "tls.key"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file


def start_load(service: Service, *arguments: str) -> subprocess.Popen[bytes]:
    """`python -m loadtest load` against it, as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "loadtest", "load", "--url", service.url, *arguments],
        cwd=ROOT,
        env=environment({}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends it where it still runs."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(20)


async def refused_and_ended(service: Service) -> None:
    """On a service that takes one session: a second is refused, then the first is ended."""
    connector = aiohttp.TCPConnector(ssl=service.trust or True)
    async with aiohttp.ClientSession(service.url, connector=connector) as http:
        async with http.post("/v1/sessions", json={}) as answer:
            assert answer.status == 201, await answer.text()
            opened = (await answer.json())["id"]
        async with http.post("/v1/sessions", json={}) as answer:
            assert answer.status == 503, await answer.text()
        async with http.delete(f"/v1/sessions/{opened}") as answer:
            assert answer.status == 204


async def limited(service: Service) -> None:
    """A session whose camera sends more frames than it may have."""
    usual = aioice.ice.get_host_addresses
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    try:
        async with aiohttp.ClientSession(service.url) as http:
            async with http.post("/v1/sessions", json={"max_fps": LIMITED_FPS}) as answer:
                assert answer.status == 201, await answer.text()
                opened = await answer.json()
            bearer = {"Authorization": f"Bearer {opened['token']}"}
            client = Client(Camera(moving_picture))
            head = {"Content-Type": "application/sdp", **bearer}
            async with http.post(
                opened["rtc_url"], data=await client.offer(), headers=head
            ) as answer:
                assert answer.status == 201, await answer.text()
                await client.accept(await answer.text())
            await client.frames(LIMITED_FRAMES, timeout_s=LIMITED_TIMEOUT_S)
            await client.close()
            async with http.delete(f"/v1/sessions/{opened['id']}", headers=bearer) as answer:
                assert answer.status == 204
    finally:
        aioice.ice.get_host_addresses = usual


def wait_for(made: Prometheus, expr: str, *, timeout_s: float) -> None:
    """Until this gives something. Raises TimeoutError."""
    until = time.monotonic() + timeout_s
    while not made.query(expr):
        if time.monotonic() > until:
            raise TimeoutError(f"nothing after {timeout_s} s: {expr}")
        time.sleep(0.5)


@contextmanager
def exercised(running_now: Live, *, seconds: float) -> Iterator[None]:
    """Two sessions for that long, and everything that is provoked; they go on until the end."""
    made = running_now.prometheus
    arguments = ("--sessions", "2", "--seconds", str(LOAD_TIMEOUT_S), "--rehearse", "0")
    loading = start_load(running_now.busy, *arguments)
    try:
        wait_for(made, 'backcloth_sessions{state="live"} >= 2', timeout_s=60)
        asyncio.run(limited(running_now.busy))
        asyncio.run(refused_and_ended(running_now.idle))
        time.sleep(seconds)
        yield
    finally:
        stop(loading)
