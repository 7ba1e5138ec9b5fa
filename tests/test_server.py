"""The whole service as a process: it starts, serves a peer, stops, and refuses to start wrongly."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING

import aiohttp
import aioice.ice
import pytest
from PIL import Image

from service import server
from tests.peers import Camera, Client
from tests.rtc.pictures import moving_picture
from tests.rtc.test_peer import is_green
from tests.running import ROOT, Service, environment, running
from tests.web.signing import ISSUER, KeyServer, jwk, signed
from tests.webhooks.test_receiver import self_signed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.model

GREEN = {"type": "color", "color": "#00b140"}
SHOWN_BY_THE_NAT = "203.0.113.7"
"""Of the addresses for documentation (RFC 5737): nobody has it."""


@pytest.fixture(autouse=True)
def clients_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])


async def call(url: str) -> str:
    """One session from its opening to its end over HTTP; the metrics afterwards."""
    async with aiohttp.ClientSession(url) as http:
        async with http.post("/v1/sessions", json={"effect": GREEN}) as response:
            assert response.status == 201
            opened = await response.json()
        bearer = {"Authorization": f"Bearer {opened['token']}"}
        client = Client(Camera(moving_picture))
        async with http.post(
            opened["rtc_url"],
            data=await client.offer(),
            headers={"Content-Type": "application/sdp", **bearer},
        ) as response:
            assert response.status == 201
            assert response.headers["ETag"]
            location = response.headers["Location"]
            await client.accept(await response.text())
        await client.frames(20)
        assert all(is_green(frame) for frame in client.video.frames)
        async with http.get(f"/v1/sessions/{opened['id']}", headers=bearer) as response:
            told = await response.json()
            assert told["state"] == "live"
            assert told["tracks"][0]["frames"]["raw"] == 0
        async with http.delete(location, headers=bearer) as response:
            assert response.status == 200
        async with http.delete(f"/v1/sessions/{opened['id']}", headers=bearer) as response:
            assert response.status == 204
        await client.close()
        async with http.get("/metrics") as response:
            return await response.text()


@pytest.mark.peer
def test_a_call_through_the_whole_service() -> None:
    with running() as service:
        metrics = asyncio.run(call(service.url))
        assert "backcloth_raw_frames_total 0.0" in metrics
        assert 'backcloth_sessions_ended_total{outcome="deleted"} 1.0' in metrics
        assert 'backcloth_stage_cpu_seconds_total{stage="encode"}' in metrics
        assert "backcloth_jwks_age_seconds" not in metrics
        assert service.stop() == 0
    assert not [line for line in service.lines if "Traceback" in line]


@pytest.mark.peer
def test_vp8_alone() -> None:
    with running(CODECS="vp8") as service:
        assert "raw_frames_total 0.0" in asyncio.run(call(service.url))


async def answered(url: str, client: Client) -> str:
    """The answer to the offer of a client that goes no further."""
    async with aiohttp.ClientSession(url) as http:
        async with http.post("/v1/sessions", json={"effect": GREEN}) as response:
            opened = await response.json()
        async with http.post(
            opened["rtc_url"],
            data=await client.offer(),
            headers={"Content-Type": "application/sdp"},
        ) as response:
            assert response.status == 201
            return await response.text()


@pytest.mark.peer
async def test_behind_a_nat_the_address_that_it_shows_is_the_one_that_is_offered() -> None:
    """Whose checks come from elsewhere all the same, as through the NAT: the call is made."""
    starting = running(ADVERTISED_ADDRESS=SHOWN_BY_THE_NAT)
    service = await asyncio.to_thread(starting.__enter__)
    client = Client(Camera(moving_picture))
    try:
        answer = await answered(service.url, client)
        hosts = re.findall(
            r"^a=candidate:\S+ \d udp \d+ (\S+) (\d+) typ host", answer, re.MULTILINE
        )
        assert {address for address, _ in hosts} == {SHOWN_BY_THE_NAT}
        first, last = map(int, service.environ["BACKCLOTH_UDP_PORTS"].split("-"))
        assert all(first <= int(port) <= last for _, port in hosts), "as bound: a NAT of 1:1"
        assert "127.0.0.1" not in re.sub(r"^o=.*$", "", answer, flags=re.MULTILINE)
        await client.accept(answer)
        await client.frames(5)
    finally:
        await client.close()
        await asyncio.to_thread(starting.__exit__, None, None, None)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_when_told_to(sign: signal.Signals) -> None:
    with running() as service:
        assert service.stop(sign) == 0


def start_wrongly(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=ROOT,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_missing_model_stops_the_start_and_is_named(tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(ROOT / "models", models)
    (models / "blazeface_short.onnx").unlink()
    ended = start_wrongly("serve", "--port", "0", BACKCLOTH_MODELS_DIR=str(models))
    assert ended.returncode == 1
    assert "blazeface_short.onnx" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_public_address_without_a_key_is_refused() -> None:
    ended = start_wrongly("serve", "--host", "0.0.0.0")
    assert ended.returncode == 2
    assert "BACKCLOTH_API_KEYS" in ended.stderr


def test_a_wrong_setting_is_named_with_its_range() -> None:
    ended = start_wrongly("serve", BACKCLOTH_PORT="99999")
    assert ended.returncode == 2
    assert "BACKCLOTH_PORT" in ended.stderr
    assert "0 to 65535" in ended.stderr


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (
            {"JWT_ISSUER": "us", "JWT_PUBLIC_KEYS": "-----BEGIN PUBLIC KEY-----"},
            "BACKCLOTH_JWT_PUBLIC_KEYS: must hold 1 to 64 public keys in PEM",
        ),
        ({"POLICY_FILE": "{file}"}, "tenants.acme.max_fps: must be a whole number from 1 to 60"),
        ({"POLICY_FILE": "{logos}"}, "logos.acme.file: the picture cannot be decoded"),
    ],
)
def test_keys_and_rules_that_cannot_be_used_stop_the_start(
    tmp_path: Path, settings: dict[str, str], why: str
) -> None:
    (tmp_path / "policy.toml").write_text("[tenants.acme]\nmax_fps = 61\n")
    (tmp_path / "logos.toml").write_text('[logos.acme]\nfile = "acme.png"\n')
    (tmp_path / "acme.png").write_text("no picture")
    paths = {"file": str(tmp_path / "policy.toml"), "logos": str(tmp_path / "logos.toml")}
    given = {f"BACKCLOTH_{name}": value.format(**paths) for name, value in settings.items()}
    ended = start_wrongly("serve", "--port", "0", **given)
    assert ended.returncode == 2
    assert why in ended.stderr
    assert "Traceback" not in ended.stderr


async def age_of_keys(service: Service) -> list[float]:
    async with aiohttp.ClientSession(service.url) as http, http.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    return [
        float(line.split()[1]) for line in lines if line.startswith("backcloth_jwks_age_seconds ")
    ]


async def with_the_platforms_token(service: Service) -> None:
    token = signed(
        {"tenant": "acme", "effect": GREEN, "lock": "effect", "ends_with_token": True},
        now=time.time(),
        kid="first",
        exp=int(time.time()) + 8,
    )
    bearer = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(service.url) as http:
        async with http.post("/v1/sessions", headers=bearer) as response:
            assert response.status == 201, await response.text()
            opened = await response.json()
        client = Client(Camera(moving_picture))
        async with http.post(
            opened["rtc_url"],
            data=await client.offer(),
            headers={"Content-Type": "application/sdp", **bearer},
        ) as response:
            assert response.status == 201
            await client.accept(await response.text())
        await client.frames(10)
        for frame in client.video.frames:
            logo = frame.to_ndarray(format="yuv420p")[4:20, 4:20]
            assert int(logo.mean()) > 200  # white, on green
        url = f"/v1/sessions/{opened['id']}"
        async with http.patch(url, json={"effect": {"type": "blur"}}, headers=bearer) as response:
            assert response.status == 403
        async with http.get(f"{url}/events", headers=bearer) as response:
            assert '"cause": "expired"' in await response.text()
        await client.close()


@pytest.mark.peer
async def test_a_platforms_token_from_its_key_set_to_the_end_of_its_session(
    tmp_path: Path,
) -> None:
    Image.new("RGB", (64, 64), "white").save(tmp_path / "acme.png")
    (tmp_path / "policy.toml").write_text(
        '[logos.acme]\nfile = "acme.png"\ncorner = "top-left"\nmargin = 0\nwidth = 0.2\n'
        '[tenants.acme]\nlogo = "acme"\n'
    )
    async with KeyServer().running() as keys:
        keys.publish(jwk("ES256", "first"))
        settings = {
            "API_KEYS": "platform-key-for-tests",
            "JWT_ISSUER": ISSUER,
            "JWKS_URL": keys.url,
            "JWKS_NETWORKS": "127.0.0.0/8",
            "POLICY_FILE": str(tmp_path / "policy.toml"),
        }
        starting = running(**settings)
        service = await asyncio.to_thread(starting.__enter__)
        try:
            async with asyncio.timeout(60):
                await with_the_platforms_token(service)
                (age_s,) = await age_of_keys(service)
                assert 0 < age_s < 60
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)
    assert not [line for line in service.lines if "Traceback" in line]


def test_a_certificate_that_is_none_stops_the_start(tmp_path: Path) -> None:
    pem = tmp_path / "tls.pem"
    pem.write_text("no certificate\n")
    ended = start_wrongly("serve", BACKCLOTH_TLS_CERT=str(pem), BACKCLOTH_TLS_KEY=str(pem))
    assert ended.returncode == 2
    assert "BACKCLOTH_TLS_CERT: holds no certificate" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_key_that_is_not_the_certificates_stops_the_start(tmp_path: Path) -> None:
    certificate, key = (tmp_path / name / "server.pem" for name in ("one", "another"))
    for path in (certificate, key):
        path.parent.mkdir()
        self_signed(path.parent)
    ended = start_wrongly(
        "serve", "--port", "0", BACKCLOTH_TLS_CERT=str(certificate), BACKCLOTH_TLS_KEY=str(key)
    )
    assert ended.returncode == 2
    assert "BACKCLOTH_TLS_KEY: cannot be used with BACKCLOTH_TLS_CERT" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("host", "setting"), [("127.0.0.1", "BACKCLOTH_PORT"), ("192.0.2.1", "BACKCLOTH_HOST")]
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_where_nobody_can_listen_the_setting_is_named(host: str, setting: str, form: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        settings = {"BACKCLOTH_API_KEYS": "platform-key-for-tests", "BACKCLOTH_LOG_FORMAT": form}
        ended = start_wrongly("serve", "--host", host, "--port", port, **settings)
    assert ended.returncode == 2
    assert f"{setting}: cannot listen on {host}:{port}: " in ended.stderr
    assert "Traceback" not in ended.stderr
    if form == "json":
        (line,) = map(json.loads, ended.stderr.splitlines())
        assert line["setting"] == setting


def test_what_stops_the_start_is_json_where_the_log_is() -> None:
    ended = start_wrongly(
        "serve",
        BACKCLOTH_LOG_FORMAT="JSON",
        BACKCLOTH_HOST="0.0.0.0",
        BACKCLOTH_PORT="many",
        BACKCLOTH_POTR="8080",
    )
    assert ended.returncode == 2
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [line["setting"] for line in lines] == [
        "BACKCLOTH_POTR",
        "BACKCLOTH_PORT",
        "BACKCLOTH_API_KEYS",
    ]
    for line in lines:
        assert datetime.fromisoformat(line["time"]).tzinfo is not None
        assert line["level"] == "error"
        assert line["message"].startswith(f"the configuration is not usable: {line['setting']}: ")
    assert "'many' is not a whole number (allowed: 0 to 65535)" in lines[1]["message"]


def test_a_missing_model_is_a_line_of_json_too(tmp_path: Path) -> None:
    ended = start_wrongly(
        "serve", "--port", "0", BACKCLOTH_LOG_FORMAT="json", BACKCLOTH_POLICY_FILE="/no/such"
    )
    assert ended.returncode == 2
    assert "/no/such" in json.loads(ended.stderr)["message"]
    models = tmp_path / "models"
    shutil.copytree(ROOT / "models", models)
    (models / "blazeface_short.onnx").unlink()
    ended = start_wrongly(
        "serve", "--port", "0", BACKCLOTH_LOG_FORMAT="json", BACKCLOTH_MODELS_DIR=str(models)
    )
    assert ended.returncode == 1
    line = json.loads(ended.stderr)
    assert "blazeface_short.onnx" in line["message"]
    assert "setting" not in line


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_fault_of_the_start_has_its_traceback(form: str) -> None:
    code = (
        "import sys; from service import __main__, server\n"
        "async def fails(_settings): raise LookupError('injected')\n"
        "server.serve = fails\n"
        "sys.exit(__main__.main(['serve']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment({"BACKCLOTH_LOG_FORMAT": form}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 1
    if form == "json":
        line = json.loads(ended.stderr)
        assert (line["message"], line["error"]) == ("a fault ended the service", "LookupError")
        assert line["traceback"].endswith("LookupError: injected")
    else:
        assert ended.stderr.startswith("Traceback")


def test_a_token_is_minted_with_the_servers_secret() -> None:
    ended = start_wrongly("token")
    assert ended.returncode == 2
    assert "BACKCLOTH_TOKEN_SECRETS" in ended.stderr
    secret = "s" * 32
    ended = start_wrongly("token", "--spec", '{"ttl_s": 60}', BACKCLOTH_TOKEN_SECRETS=secret)
    assert ended.returncode == 0, ended.stderr
    minted = json.loads(ended.stdout)
    assert minted["token"].count(".") == 2
    ended = start_wrongly("token", "--spec", '{"ttl_s": 1}', BACKCLOTH_TOKEN_SECRETS=secret)
    assert ended.returncode == 1
    assert "ttl_s" in ended.stderr


@pytest.mark.parametrize("command", ["serve", "matte", "bench", "models", "token"])
def test_every_command_explains_itself(command: str) -> None:
    ended = start_wrongly(command, "--help")
    assert ended.returncode == 0
    assert "usage: python -m service" in ended.stdout


def test_a_pool_has_its_threads_from_the_start() -> None:
    with server.threads(3, "early"):
        assert sum(each.name.startswith("early_") for each in threading.enumerate()) == 3
    assert not any(each.name.startswith("early_") for each in threading.enumerate())


def test_a_thread_that_cannot_be_started_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "THREADS_TIMEOUT_S", 0.1)
    start, tried = threading.Thread.start, []

    def limited(thread: threading.Thread) -> None:
        tried.append(thread.name)
        if len(tried) > 1:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with pytest.raises(RuntimeError):
        server.threads(2, "few")
    assert len(tried) == 2
