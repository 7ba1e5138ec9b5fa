"""Settings: every problem at once, by name and range; and the documentation is complete."""

from __future__ import annotations

import base64
import ipaddress
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import SettingsError
from service.setting_page import describe
from service.setting_text import IceServer
from service.settings import Settings, load

if TYPE_CHECKING:
    from pathlib import Path

KEY = "k" * 16
SECRET = "s" * 32
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"w" * 24).decode()
NONSENSE = "two words, or/3 \u00e9"
"""What no setting allows."""
RANGE = re.compile(r"(-?[\d.]+) to ([\d.]+)\b")
SETTINGS = {one.variable: one for one in describe()}
RANGED = {variable: RANGE.match(one.limits) for variable, one in SETTINGS.items()}


def problems(environ: dict[str, str], **overrides: object) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load(environ, **overrides)
    return str(raised.value).splitlines()


def test_an_empty_environment_is_development_mode_on_this_machine() -> None:
    settings = load({})
    assert settings.development
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.ice_servers == ()
    assert settings.udp_ports == (40000, 40999)
    assert load({"BACKCLOTH_PORT": "", "BACKCLOTH_API_KEYS": " "}).development


def test_a_secret_that_is_too_short_is_told_by_its_setting_and_the_least_length() -> None:
    assert problems({"BACKCLOTH_TURN_SECRET": "hush"})[0] == (
        "BACKCLOTH_TURN_SECRET: is shorter than 16 characters "
        "(allowed: 16 characters or more, no spaces)"
    )
    assert problems({"BACKCLOTH_TOKEN_SECRETS": f"{SECRET},hush"})[0].startswith(
        "BACKCLOTH_TOKEN_SECRETS: secret number 2 is shorter than 32 characters (allowed: "
    )


def test_token_secrets_are_random_where_none_is_given() -> None:
    first, second = load({}).token_secrets, load({}).token_secrets
    assert first != second
    assert len(first[0].encode()) >= 32


def test_every_field_is_read(tmp_path: Path) -> None:
    pem = tmp_path / "server.pem"
    pem.touch()
    settings = load(
        {
            "BACKCLOTH_HOST": "0.0.0.0",
            "BACKCLOTH_PORT": "8081",
            "BACKCLOTH_API_KEYS": f"{KEY}, {KEY}2",
            "BACKCLOTH_TOKEN_SECRETS": f"{SECRET},{SECRET}2",
            "BACKCLOTH_JWT_ISSUER": "https://meet.example.com",
            "BACKCLOTH_JWT_AUDIENCE": "video",
            "BACKCLOTH_JWKS_URL": "https://meet.example.com/jwks.json",
            "BACKCLOTH_JWKS_NETWORKS": "10.0.0.0/8, fd00::/8",
            "BACKCLOTH_JWT_LEEWAY_S": "5",
            "BACKCLOTH_JWT_ENDS_SESSIONS": "True",
            "BACKCLOTH_POLICY_FILE": str(pem),
            "BACKCLOTH_ALLOWED_ORIGINS": "https://meet.example.com,http://localhost:5173",
            "BACKCLOTH_TLS_CERT": str(pem),
            "BACKCLOTH_TLS_KEY": str(pem),
            "BACKCLOTH_ICE_ADDRESSES": "192.0.2.1,2001:DB8::1",
            "BACKCLOTH_ADVERTISED_ADDRESS": "198.51.100.7",
            "BACKCLOTH_UDP_PORTS": "50000-50099",
            "BACKCLOTH_ICE_SERVERS": '[{"urls": "stun:stun.example.com"}, {"urls": '
            '["turn:t.example.com?transport=udp"], "username": "u", "credential": "p"}, '
            '{"urls": "turn:short.example.com"}]',
            "BACKCLOTH_PEER_NETWORKS": "Public, 10.1.0.0/16,2001:DB8::/32",
            "BACKCLOTH_TURN_SECRET": KEY,
            "BACKCLOTH_TURN_TTL_S": "900",
            "BACKCLOTH_RELAY_ONLY": "true",
            "BACKCLOTH_CODECS": "VP8,h264",
            "BACKCLOTH_MAX_SESSIONS": "12",
            "BACKCLOTH_CPU_CORES": "1.5",
            "BACKCLOTH_SESSION_CORES": "0.25",
            "BACKCLOTH_CONNECT_TIMEOUT_S": "5",
            "BACKCLOTH_SILENCE_SUSPEND_S": "3",
            "BACKCLOTH_SILENCE_END_S": "9",
            "BACKCLOTH_IDLE_TTL_S": "90",
            "BACKCLOTH_MAX_PICTURE_BYTES": "2048",
            "BACKCLOTH_MAX_PICTURE_PIXELS": "4096",
            "BACKCLOTH_FLEET": "http://pods:8080, https://10.0.0.7",
            "BACKCLOTH_FLEET_ADDRESS": "10.0.0.6",
            "BACKCLOTH_FLEET_SECRETS": SECRET,
            "BACKCLOTH_WEBHOOK_URL": "https://meet.example.com/hooks?key=1",
            "BACKCLOTH_WEBHOOK_SECRETS": f"{WEBHOOK_SECRET}, {WEBHOOK_SECRET}",
            "BACKCLOTH_WEBHOOK_NETWORKS": "127.0.0.0/8",
            "BACKCLOTH_WEBHOOK_TIMEOUT_S": "3",
            "BACKCLOTH_WEBHOOK_RETRY_S": "2",
            "BACKCLOTH_WEBHOOK_RETRY_MAX_S": "20",
            "BACKCLOTH_WEBHOOK_GIVE_UP_S": "200",
            "BACKCLOTH_WEBHOOK_QUEUE": "64",
            "BACKCLOTH_MODELS_DIR": str(tmp_path),
            "BACKCLOTH_BACKGROUNDS_DIR": str(tmp_path),
            "BACKCLOTH_LOG_LEVEL": "WARNING",
            "BACKCLOTH_LOG_FORMAT": "json",
        }
    )
    assert settings == Settings(
        host="0.0.0.0",
        port=8081,
        api_keys=(KEY, f"{KEY}2"),
        token_secrets=(SECRET, f"{SECRET}2"),
        jwt_issuer="https://meet.example.com",
        jwt_audience="video",
        jwks_url="https://meet.example.com/jwks.json",
        jwks_networks=(ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")),
        jwt_leeway_s=5.0,
        jwt_ends_sessions=True,
        policy_file=pem,
        allowed_origins=("https://meet.example.com", "http://localhost:5173"),
        tls_cert=pem,
        tls_key=pem,
        ice_addresses=("192.0.2.1", "2001:db8::1"),
        advertised_address="198.51.100.7",
        udp_ports=(50000, 50099),
        ice_servers=(
            IceServer(("stun:stun.example.com",)),
            IceServer(("turn:t.example.com?transport=udp",), "u", "p"),
            IceServer(("turn:short.example.com",)),
        ),
        peer_networks=("public", "10.1.0.0/16", "2001:db8::/32"),
        turn_secret=KEY,
        turn_ttl_s=900.0,
        relay_only=True,
        codecs=("vp8", "h264"),
        max_sessions=12,
        cpu_cores=1.5,
        session_cores=0.25,
        connect_timeout_s=5.0,
        silence_suspend_s=3.0,
        silence_end_s=9.0,
        idle_ttl_s=90.0,
        max_picture_bytes=2048,
        max_picture_pixels=4096,
        fleet=("http://pods:8080", "https://10.0.0.7"),
        fleet_address="10.0.0.6",
        fleet_secrets=(SECRET,),
        webhook_url="https://meet.example.com/hooks?key=1",
        webhook_secrets=(b"w" * 24, b"w" * 24),
        webhook_networks=(ipaddress.ip_network("127.0.0.0/8"),),
        webhook_timeout_s=3.0,
        webhook_retry_s=2.0,
        webhook_retry_max_s=20.0,
        webhook_give_up_s=200.0,
        webhook_queue=64,
        models_dir=tmp_path,
        backgrounds_dir=tmp_path,
        log_level="warning",
        log_format="json",
    )


def test_ice_servers_in_the_words_of_a_browser() -> None:
    assert IceServer(("stun:a",)).as_json() == {"urls": ["stun:a"]}
    assert IceServer(("turn:a", "turns:a"), "u", "p").as_json() == {
        "urls": ["turn:a", "turns:a"],
        "username": "u",
        "credential": "p",
    }


def test_the_command_line_goes_before_the_environment() -> None:
    settings = load({"BACKCLOTH_PORT": "1"}, host=None, port=9000)
    assert (settings.host, settings.port) == ("127.0.0.1", 9000)
    assert problems({}, port=70000) == [
        "BACKCLOTH_PORT: 70000 is out of range (allowed: 0 to 65535)"
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOST", "two words"),
        ("PORT", "http"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("API_KEYS", "short"),
        ("API_KEYS", f"{KEY},short"),
        ("API_KEYS", ","),
        ("API_KEYS", "key with spaces in it"),
        ("TOKEN_SECRETS", "s" * 31),
        ("JWT_ISSUER", "two words"),
        ("JWT_PUBLIC_KEYS", "no/such/file.pem"),
        ("JWKS_URL", "meet.example.com/jwks.json"),
        ("JWKS_URL", "ftp://meet.example.com/jwks.json"),
        ("JWKS_URL", "https:///jwks.json"),
        ("JWKS_URL", "https://user:word@meet.example.com/"),
        ("JWKS_URL", "https://meet.example.com/#keys"),
        ("JWKS_URL", "https://meet.example.com:99999/"),
        ("JWKS_URL", "https://[::1/"),
        ("JWKS_URL", "https://meet.example.com;script-src/"),
        ("MOVE_TO", "https://other.example;script-src/"),
        ("MOVE_TO", "https://other.example,https://third.example/"),
        ("JWKS_URL", "file:///etc/passwd"),
        ("JWKS_NETWORKS", "10.0.0.1/8"),
        ("JWKS_NETWORKS", "localhost"),
        ("JWT_LEEWAY_S", "301"),
        ("JWT_ENDS_SESSIONS", "maybe"),
        ("POLICY_FILE", "no/such/file.toml"),
        ("ALLOWED_ORIGINS", "https://meet.example.com/"),
        ("ALLOWED_ORIGINS", "meet.example.com"),
        ("ALLOWED_ORIGINS", "null"),
        ("ALLOWED_ORIGINS", "https://Meet.example.com"),
        ("ALLOWED_ORIGINS", "https://user@meet.example.com"),
        ("TLS_CERT", "no/such/file.pem"),
        ("TLS_KEY", "no/such/file.pem"),
        ("ICE_ADDRESSES", "localhost"),
        ("ADVERTISED_ADDRESS", "300.1.1.1"),
        ("UDP_PORTS", "40000"),
        ("UDP_PORTS", "40999-40000"),
        ("UDP_PORTS", "80-90"),
        ("UDP_PORTS", "40000-70000"),
        ("ICE_SERVERS", "stun:example.com"),
        ("ICE_SERVERS", "{}"),
        ("ICE_SERVERS", '[{"url": "stun:a"}]'),
        ("PEER_NETWORKS", ","),
        ("PEER_NETWORKS", "everywhere"),
        ("PEER_NETWORKS", "10.0.0.1/8"),
        ("ICE_SERVERS", '[{"urls": []}]'),
        ("ICE_SERVERS", '[{"urls": ["https://a"]}]'),
        ("ICE_SERVERS", '[{"urls": ["stun:a>; rel=x"]}]'),
        ("ICE_SERVERS", '[{"urls": ["turn:a"], "username": "u"}]'),
        ("ICE_SERVERS", '[{"urls": ["turn:a"], "credential": "p"}]'),
        ("ICE_SERVERS", '[{"urls": ["turn:a"], "username": 1, "credential": "p"}]'),
        ("CODECS", "av1"),
        ("CODECS", "vp8,vp8"),
        ("MAX_SESSIONS", "1.5"),
        ("MAX_SESSIONS", "10001"),
        ("CPU_CORES", "nan"),
        ("CPU_CORES", "-1"),
        ("SESSION_CORES", "0"),
        ("CONNECT_TIMEOUT_S", "0"),
        ("SILENCE_SUSPEND_S", "soon"),
        ("SILENCE_END_S", "3601"),
        ("IDLE_TTL_S", "0"),
        ("MAX_PICTURE_BYTES", "10MB"),
        ("MAX_PICTURE_PIXELS", "1"),
        ("WEBHOOK_URL", "meet.example.com"),
        ("WEBHOOK_URL", "ftp://meet.example.com"),
        ("WEBHOOK_URL", "https://"),
        ("WEBHOOK_URL", "https://[::1"),
        ("WEBHOOK_URL", "https://meet.example.com:99999"),
        ("WEBHOOK_URL", "https://user:pass@meet.example.com"),
        ("WEBHOOK_URL", "https://meet.example.com/a b"),
        ("WEBHOOK_URL", "https://meet.example.com/\r\nX: y"),
        ("WEBHOOK_URL", "https://meet.example.com/\u00e9"),
        ("WEBHOOK_URL", "https://meet.example.com/#part"),
        ("WEBHOOK_URL", "https://meet.example.com/" + "a" * 2048),
        ("WEBHOOK_SECRETS", "hush"),
        ("WEBHOOK_SECRETS", "whsec_"),
        ("WEBHOOK_SECRETS", "whsec_!" + "A" * 31),
        ("WEBHOOK_SECRETS", WEBHOOK_SECRET.removeprefix("whsec_")),
        ("WEBHOOK_SECRETS", "whsec_" + base64.b64encode(b"w" * 23).decode()),
        ("WEBHOOK_SECRETS", "whsec_" + base64.b64encode(b"w" * 65).decode()),
        ("WEBHOOK_SECRETS", ",".join([WEBHOOK_SECRET] * 5)),
        ("WEBHOOK_NETWORKS", "127.0.0.1/8"),
        ("WEBHOOK_TIMEOUT_S", "0"),
        ("WEBHOOK_RETRY_S", "0"),
        ("WEBHOOK_RETRY_MAX_S", "3601"),
        ("WEBHOOK_GIVE_UP_S", "0"),
        ("WEBHOOK_QUEUE", "63"),
        ("LIBRARY", "pictures"),
        ("LIBRARY", "s3://"),
        ("LIBRARY", "s3://Bucket"),
        ("LIBRARY", "s3://b/prefix"),
        ("LIBRARY", "s3://bucket/a/../b"),
        ("LIBRARY", "s3://bucket/a b"),
        ("LIBRARY", "s3://key:secret@bucket"),
        ("LIBRARY", "gs://bucket"),
        ("LIBRARY_ENDPOINT", "minio:9000"),
        ("LIBRARY_MAX_PICTURES", "0"),
        ("LIBRARY_MAX_BYTES", "1"),
        ("MODELS_DIR", "no/such/directory"),
        ("BACKGROUNDS_DIR", "x" * 300),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_bad_value_is_named_with_the_range(name: str, value: str) -> None:
    refused(f"BACKCLOTH_{name}", value)


def refused(variable: str, value: str) -> None:
    lines = problems({variable: value})
    assert len(lines) == 1
    assert lines[0].startswith(f"{variable}: ")
    assert f"(allowed: {SETTINGS[variable].limits})" in lines[0]


@pytest.mark.parametrize("variable", SETTINGS)
def test_every_setting_stops_the_start_by_its_name_and_what_it_allows(variable: str) -> None:
    refused(variable, NONSENSE)


@pytest.mark.parametrize("variable", [name for name, found in RANGED.items() if found])
def test_every_range_is_the_one_that_is_documented(variable: str) -> None:
    found = RANGED[variable]
    assert found
    for end, outward in ((found[1], -1), (found[2], 1)):
        assert not said_of(variable, {variable: end})
        refused(variable, f"{float(end) + outward * 0.001:.3f}")
        refused(variable, f"{float(end) + outward:g}")


@given(st.sampled_from(sorted(SETTINGS)), st.text(st.characters(exclude_characters="\0")))
def test_any_text_is_taken_or_refused_with_its_name(variable: str, value: str) -> None:
    for line in said_of(variable, {variable: value}):
        assert f"(allowed: {SETTINGS[variable].limits})" in line


def test_a_file_holds_what_the_page_says_that_one_may(tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.write_text(NONSENSE)
    for variable, one in SETTINGS.items():
        (line,) = problems({f"{variable}_FILE": str(held)})
        if one.from_file:
            assert line.startswith(f"{variable}: ")
            assert f"(allowed: {one.limits})" in line
            assert NONSENSE not in line
        else:
            assert line.startswith(f"{variable}_FILE: is no setting")


def said_of(variable: str, environ: dict[str, str]) -> list[str]:
    """The problems of that variable's own value; another may miss its partner."""
    try:
        load(environ)
    except SettingsError as exc:
        lines = str(exc).splitlines()
        assert all("BACKCLOTH_" in line for line in lines)
        return [line for line in lines if line.startswith(f"{variable}: ") and "(allowed" in line]
    return []


def test_all_problems_at_once() -> None:
    lines = problems(
        {
            "BACKCLOTH_PORT": "x",
            "BACKCLOTH_CODECS": "x",
            "BACKCLOTH_API_KEY": KEY,
            "BACKCLOTH_HOST": "0.0.0.0",
        }
    )
    assert [line.partition(":")[0] for line in lines] == [
        "BACKCLOTH_API_KEY",
        "BACKCLOTH_PORT",
        "BACKCLOTH_CODECS",
        "BACKCLOTH_API_KEYS",
    ]
    assert "did you mean BACKCLOTH_API_KEYS?" in lines[0]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", "10.0.0.1"])
def test_without_keys_only_this_machine_is_served(host: str) -> None:
    (line,) = problems({"BACKCLOTH_HOST": host})
    assert f"BACKCLOTH_HOST is {host}: set at least one key" in line
    assert not load({"BACKCLOTH_HOST": host, "BACKCLOTH_API_KEYS": KEY}).development


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_hosts(host: str) -> None:
    assert load({"BACKCLOTH_HOST": host}).development


def test_what_contradicts_itself(tmp_path: Path) -> None:
    pem = tmp_path / "server.pem"
    pem.touch()
    assert problems({"BACKCLOTH_TLS_CERT": str(pem)}) == [
        "BACKCLOTH_TLS_CERT and BACKCLOTH_TLS_KEY: set both or none"
    ]
    (line,) = problems({"BACKCLOTH_SILENCE_SUSPEND_S": "40"})
    assert line == (
        "BACKCLOTH_SILENCE_END_S: 30 must be above BACKCLOTH_SILENCE_SUSPEND_S, which is 40"
    )
    both = "BACKCLOTH_WEBHOOK_URL and BACKCLOTH_WEBHOOK_SECRETS: set both or none"
    assert problems({"BACKCLOTH_WEBHOOK_URL": "https://meet.example.com"}) == [both]
    assert problems({"BACKCLOTH_WEBHOOK_SECRETS": WEBHOOK_SECRET}) == [both]
    plain = {
        "BACKCLOTH_WEBHOOK_URL": "http://meet.example.com",
        "BACKCLOTH_WEBHOOK_SECRETS": WEBHOOK_SECRET,
    }
    (line,) = problems(plain)
    assert "must begin with https, or BACKCLOTH_WEBHOOK_NETWORKS name where it leads" in line
    assert load({**plain, "BACKCLOTH_WEBHOOK_NETWORKS": "10.0.0.0/8"}).webhook_url
    assert problems({"BACKCLOTH_WEBHOOK_RETRY_MAX_S": "0.5"}) == [
        "BACKCLOTH_WEBHOOK_RETRY_MAX_S: 0.5 must be at least BACKCLOTH_WEBHOOK_RETRY_S, which is 1"
    ]


def test_what_a_relay_needs() -> None:
    servers = {"BACKCLOTH_ICE_SERVERS": '[{"urls": "turn:t.example.com"}]'}
    secret = {"BACKCLOTH_TURN_SECRET": KEY}
    assert load({**servers, **secret, "BACKCLOTH_RELAY_ONLY": "true"}).relay_only
    (line,) = problems(servers)
    assert line.endswith("no username and credential, and BACKCLOTH_TURN_SECRET is not set")
    for own in (
        "[]",
        '[{"urls": "stun:t.example.com"}]',
        '[{"urls": "turn:t.example.com", "username": "u", "credential": "p"}]',
    ):
        (line,) = problems({**secret, "BACKCLOTH_ICE_SERVERS": own})
        assert line.startswith("BACKCLOTH_TURN_SECRET: BACKCLOTH_ICE_SERVERS has no TURN server")
    (line,) = problems({"BACKCLOTH_RELAY_ONLY": "true"})
    assert line.startswith("BACKCLOTH_RELAY_ONLY: needs a TURN server")
    for wrong in ("hush-hush", f"{KEY},{KEY}", f"{KEY} {KEY}"):
        (line,) = problems({**servers, "BACKCLOTH_TURN_SECRET": wrong})
        assert line.startswith("BACKCLOTH_TURN_SECRET: ")
        assert wrong not in line


def test_what_a_fleet_needs() -> None:
    fleet = {
        "BACKCLOTH_API_KEYS": KEY,
        "BACKCLOTH_TOKEN_SECRETS": SECRET,
        "BACKCLOTH_FLEET": "http://pods:8080",
        "BACKCLOTH_FLEET_ADDRESS": "10.0.0.6",
        "BACKCLOTH_FLEET_SECRETS": SECRET,
    }
    assert load(fleet).fleet == ("http://pods:8080",)
    for name in ("BACKCLOTH_FLEET", "BACKCLOTH_FLEET_ADDRESS", "BACKCLOTH_FLEET_SECRETS"):
        (line,) = problems({**fleet, name: ""})
        assert line.endswith("set all or none")
    (line,) = problems({**fleet, "BACKCLOTH_TOKEN_SECRETS": ""})
    assert "BACKCLOTH_TOKEN_SECRETS: must be set, and the same" in line
    assert "development" in problems({**fleet, "BACKCLOTH_API_KEYS": ""})[0]
    assert "BACKCLOTH_PORT, which is 0" in problems({**fleet, "BACKCLOTH_PORT": "0"})[0]
    for url in ("http://pods:8080/v1", "ftp://pods", "http://pods?x=1", "http://key@pods", "pods"):
        (line,) = problems({**fleet, "BACKCLOTH_FLEET": url})
        assert line.startswith("BACKCLOTH_FLEET: ")
    many = ",".join(f"http://pod-{n}" for n in range(65))
    assert "is a list of 65" in problems({**fleet, "BACKCLOTH_FLEET": many})[0]


def test_public_keys_are_a_file_or_their_text(tmp_path: Path) -> None:
    text = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"
    file = tmp_path / "keys.pem"
    file.write_text(text)
    issuer = {"BACKCLOTH_JWT_ISSUER": "us"}
    for value in (str(file), text, text.replace("\n", "\\n")):
        assert load({**issuer, "BACKCLOTH_JWT_PUBLIC_KEYS": value}).jwt_public_keys == text
    file.write_text("x" * (64 * 1024 + 1))
    assert "more than 65536 bytes" in problems({"BACKCLOTH_JWT_PUBLIC_KEYS": str(file)})[0]
    file.write_bytes(b"\xff")
    assert "cannot be read as text" in problems({"BACKCLOTH_JWT_PUBLIC_KEYS": str(file)})[0]


def test_what_the_platforms_tokens_need(tmp_path: Path) -> None:
    url = {"BACKCLOTH_JWKS_URL": "https://meet.example.com/jwks.json"}
    issuer = {"BACKCLOTH_JWT_ISSUER": "us"}
    assert load({**url, **issuer}).jwks_url
    (line,) = problems(url)
    assert line == "BACKCLOTH_JWT_ISSUER: must say who signs the platform's tokens"
    (line,) = problems(issuer)
    assert "set one of BACKCLOTH_JWT_PUBLIC_KEYS and BACKCLOTH_JWKS_URL" in line
    keys = {"BACKCLOTH_JWT_PUBLIC_KEYS": "-----BEGIN PUBLIC KEY-----"}
    (line,) = problems({**url, **issuer, **keys})
    assert "set one of" in line
    plain = {"BACKCLOTH_JWKS_URL": "http://10.1.2.3/jwks.json", **issuer}
    (line,) = problems(plain)
    assert "must begin with https, or BACKCLOTH_JWKS_NETWORKS name where it leads" in line
    assert load({**plain, "BACKCLOTH_JWKS_NETWORKS": "10.0.0.0/8"}).jwks_url


def test_where_the_library_is() -> None:
    for value in ("/var/lib/pictures", "s3://bucket", "s3://my.bucket-1/a/b_c"):
        assert load({"BACKCLOTH_LIBRARY": value}).library == value
    endpoint = {"BACKCLOTH_LIBRARY_ENDPOINT": "http://minio:9000"}
    for folder in ({}, {"BACKCLOTH_LIBRARY": "/pictures"}):
        (line,) = problems({**endpoint, **folder})
        assert (
            line == "BACKCLOTH_LIBRARY_ENDPOINT: BACKCLOTH_LIBRARY must begin with s3:// beside it"
        )
    assert load({**endpoint, "BACKCLOTH_LIBRARY": "s3://bucket"}).library_endpoint
    assert len(problems({**endpoint, "BACKCLOTH_LIBRARY": "gs://x"})) == 1


def test_the_service_links_of_kubernetes_are_told_from_settings() -> None:
    links = {
        "BACKCLOTH_SERVICE_HOST": "10.0.0.9",
        "BACKCLOTH_SERVICE_PORT": "8080",
        "BACKCLOTH_SERVICE_PORT_HTTP": "8080",
        "BACKCLOTH_PORT_8080_TCP": "tcp://10.0.0.9:8080",
        "BACKCLOTH_PORT_8080_TCP_ADDR": "10.0.0.9",
    }
    assert load(links).development
    (line,) = problems({**links, "BACKCLOTH_PORT": "tcp://10.0.0.9:8080"})
    assert "enableServiceLinks: false" in line


def test_no_secret_in_a_message_or_a_repr() -> None:
    for environ in (
        {"BACKCLOTH_API_KEYS": "hush-hush"},
        {"BACKCLOTH_TOKEN_SECRETS": "hush-hush"},
        {"BACKCLOTH_ICE_SERVERS": '[{"urls": [], "credential": "hush-hush"}]'},
        {"BACKCLOTH_WEBHOOK_SECRETS": "whsec_hush-hush"},
        {"BACKCLOTH_WEBHOOK_URL": "https://a:hush-hush@example.com/?key=hush-hush"},
        {"BACKCLOTH_WEBHOOK_URL": "http://example.com/?key=hush-hush"},
        {"BACKCLOTH_LIBRARY": "s3://key:hush-hush@bucket/pictures"},
        {"BACKCLOTH_LIBRARY": "/tmp", "BACKCLOTH_LIBRARY_ENDPOINT": "https://a:hush-hush@s3"},
    ):
        assert "hush" not in "".join(problems(environ))
    settings = load({"BACKCLOTH_API_KEYS": "hush-hush-hush-hush"})
    assert "hush" not in repr(settings)
    assert settings.token_secrets[0] not in repr(settings)
    settings = load(
        {
            "BACKCLOTH_WEBHOOK_URL": "https://example.com/?key=hush-hush",
            "BACKCLOTH_WEBHOOK_SECRETS": WEBHOOK_SECRET,
        }
    )
    assert "hush" not in repr(settings)
    assert "wwww" not in repr(settings)


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    keys, signing = tmp_path / "keys", tmp_path / "signing"
    keys.write_text(f"{KEY},{KEY}2\n")
    signing.write_text(SECRET)
    environ = {
        "BACKCLOTH_API_KEYS_FILE": str(keys),
        "BACKCLOTH_TOKEN_SECRETS_FILE": str(signing),
    }
    settings = load(environ)
    assert settings.api_keys == (KEY, f"{KEY}2")
    assert settings.token_secrets == (SECRET,)
    assert load({"BACKCLOTH_API_KEYS_FILE": " "}).development


def test_a_secrets_file_that_is_not_usable_is_named_and_not_repeated(tmp_path: Path) -> None:
    absent, empty = tmp_path / "absent", tmp_path / "empty"
    short, long = tmp_path / "short", tmp_path / "long"
    empty.write_text(" \n")
    short.write_text("hunter2")
    long.write_bytes(b"k" * ((1 << 16) + 1))
    name = "BACKCLOTH_API_KEYS_FILE"
    assert "No such file" in problems({name: str(absent)})[0]
    assert "is empty" in problems({name: str(empty)})[0]
    assert "65536 bytes" in problems({name: str(long)})[0]
    said = problems({name: str(short)})[0]
    assert "BACKCLOTH_API_KEYS" in said
    assert "16 characters" in said
    assert "hunter2" not in said
    both = problems({name: str(short), "BACKCLOTH_API_KEYS": KEY})
    assert "set one of both" in both[0]
    assert "is no setting" in problems({"BACKCLOTH_PORT_FILE": str(short)})[0]
