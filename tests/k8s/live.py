"""Three services under a Prometheus: a busy one, and a fleet of two idle ones, one with TLS.

What a healthy service under load never shows is provoked: a session that does not fit and is opened
by the other one of the fleet, one that does not fit there either, one that ends, one that may have
fewer frames than its camera sends, some beside another server, and a certificate that expires in
two days.
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

from tests.far_server import TOKEN, far_server
from tests.k8s.prometheus import ROOT, Prometheus, prometheus
from tests.peers import Camera, Client
from tests.rtc.pictures import moving_picture
from tests.running import Service, environment, free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSY, IDLE, OTHER = "backcloth-0", "backcloth-1", "backcloth-2"
CERTIFICATE_DAYS = 2
IDLE_HOST, OTHER_HOST = "127.0.0.2", "127.0.0.3"
"""Members of a fleet are told apart by their addresses."""
KEY = "platform-key-of-the-fleet"
LIMITED_FPS = 5
LIMITED_FRAMES = 20
LIMITED_TIMEOUT_S = 60.0
SFU_FRAMES = 5
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
    """The services and a Prometheus, with nothing on them yet."""
    certificate, key = write_certificate(folder, certificate_days)
    idle_port, other_port = free_port(), free_port()
    fleet = {
        "FLEET": f"https://{IDLE_HOST}:{idle_port},http://{OTHER_HOST}:{other_port}",
        "FLEET_SECRETS": "f" * 32,
        "TOKEN_SECRETS": "t" * 32,
        "API_KEYS": KEY,
        "CPU_CORES": "8",
        "MAX_SESSIONS": "1",
    }
    with (
        running(PLANNED_SHARE=PLANNED_SHARE, SFU_NETWORKS="127.0.0.0/8") as busy,
        running(
            idle_port,
            HOST=IDLE_HOST,
            FLEET_ADDRESS=IDLE_HOST,
            TLS_CERT=str(certificate),
            TLS_KEY=str(key),
            **fleet,
        ) as idle,
        running(
            other_port,
            wrapper=("env", f"SSL_CERT_FILE={certificate}"),
            HOST=OTHER_HOST,
            FLEET_ADDRESS=OTHER_HOST,
            **fleet,
        ) as other,
        prometheus(folder, {BUSY: busy, IDLE: idle, OTHER: other}) as made,
    ):
        yield Live(made, busy, idle)


def write_certificate(folder: Path, days: int) -> tuple[Path, Path]:
    """A certificate for IDLE_HOST that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, IDLE_HOST)])
    address = x509.IPAddress(ipaddress.ip_address(IDLE_HOST))
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
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


async def passed_on_and_refused(service: Service) -> None:
    """On one of two services that take one session each: the other one opens a second, a third is
    refused, and both are ended."""
    connector = aiohttp.TCPConnector(ssl=service.trust or True)
    platform = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(service.url, connector=connector, headers=platform) as http:
        opened = []
        for status in (201, 201, 503):
            async with http.post("/v1/sessions", json={}) as answer:
                assert answer.status == status, await answer.text()
                if status == 201:
                    opened.append((await answer.json())["id"])
        for one in opened:
            async with http.delete(f"/v1/sessions/{one}") as answer:
                assert answer.status == 204


async def beside_an_sfu(service: Service, *, seconds: float) -> None:
    """A session that is pulled from and pushed to another server for that long, and one whose
    bearer that server refuses."""
    async with far_server() as far, aiohttp.ClientSession(service.url) as http:
        opened = []
        for bearer in (TOKEN, "one-that-expired"):
            pull, push = ({"url": url, "token": bearer} for url in (far.whep, far.whip))
            body = {"pull": pull, "push": push, "max_width": 320, "max_height": 240}
            async with http.post("/v1/sessions", json=body) as answer:
                assert answer.status == 201, await answer.text()
                opened.append((await answer.json())["id"])
        await far.frames(SFU_FRAMES, timeout_s=LIMITED_TIMEOUT_S)
        await asyncio.sleep(seconds)
        for one in opened:
            async with http.delete(f"/v1/sessions/{one}") as answer:
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
        asyncio.run(passed_on_and_refused(running_now.idle))
        asyncio.run(beside_an_sfu(running_now.busy, seconds=1))
        time.sleep(seconds)
        yield
    finally:
        stop(loading)
