"""The configuration: a frozen dataclass from the environment, validated at the start.

Read by ``service.__main__`` alone, which passes values on. Every field's range, unit and meaning
stand beside it; ``service.setting_page`` makes docs/settings.md of them, ``service.setting_text``
reads each, and ``service.setting_rules`` says which do not go together.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from service import setting_text as text
from service.errors import SettingsError
from service.setting_rules import PREFIX, contradictions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from service.setting_text import IceServer, Network

FROM_FILE: Final = "_FILE"
"""After the name of a secret's variable: the file that holds it."""
ROOT: Final = Path(__file__).resolve().parent.parent

# Kubernetes puts these beside a Service that is named "backcloth"; BACKCLOTH_PORT, which it also
# sets ("tcp://..."), is a setting, and its error message says what to do.
_SERVICE_LINK: Final = re.compile(r"BACKCLOTH_(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP)\w*)")


def _setting(
    parse: Callable[[str], Any],
    default: Any,
    limits: str,
    meaning: str,
    *,
    unit: str = "",
    shown: str = "",
    secret: bool = False,
) -> Any:
    """A field: how its text is read, and what the documentation says of it. ``unit`` is given where
    the name does not end with it; ``shown`` is the default in words, where the value itself says
    little; ``secret`` keeps it out of repr(), and lets a file hold it."""
    about = {"parse": parse, "limits": limits, "meaning": meaning, "unit": unit, "shown": shown}
    if callable(default):
        return field(default_factory=default, metadata=about, repr=not secret)
    return field(default=default, metadata=about, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator may choose."""

    host: str = _setting(text.word, "127.0.0.1", "an address or host name", "where HTTP listens")
    port: int = _setting(
        text.integer(0, 65535), 8080, "0 to 65535", "HTTP port; 0 takes any free one"
    )
    api_keys: tuple[str, ...] = _setting(
        text.secrets_list(16),
        (),
        "comma list, 16 characters or more each, no spaces",
        "platform keys; none, on a loopback host, is development mode",
        shown="none",
        secret=True,
    )
    token_secrets: tuple[str, ...] = _setting(
        text.secrets_list(32),
        lambda: (secrets.token_urlsafe(32),),
        "comma list, 32 bytes or more each, no spaces",
        "sign session tokens: the first signs, any verifies; set it where there is more than one "
        "server or tokens must survive a restart",
        shown="random at each start",
        secret=True,
    )
    jwt_issuer: str = _setting(
        text.word,
        "",
        "one word",
        "`iss` of the tokens that the platform signs itself; they are taken where this is set",
        shown="none",
    )
    jwt_audience: str = _setting(text.word, "backcloth", "one word", "`aud` of those tokens")
    jwt_public_keys: str = _setting(
        text.pem,
        "",
        "a PEM file, or its text",
        "public keys that verify them: RSA of 2048 to 4096 bits (RS256), P-256 (ES256), Ed25519 "
        "(EdDSA); several, for a rotation, one after the other",
        shown="none",
    )
    jwks_url: str = _setting(
        text.web_address,
        "",
        "an https URL; http only into jwks_networks",
        "or the address of their key set (RFC 7517), fetched every five minutes and when a token "
        "names a key that is not known",
        shown="none",
    )
    jwks_networks: tuple[Network, ...] = _setting(
        text.networks,
        (),
        "comma list of IP networks such as 10.0.0.0/8",
        "networks that are not public and that jwks_url may lead into",
        shown="none",
    )
    jwt_leeway_s: float = _setting(
        text.number(0, 300),
        30.0,
        "0 to 300 s",
        "how far the platform's clock may be from this one, for `exp`, `nbf` and `iat`",
    )
    jwt_ends_sessions: bool = _setting(
        text.switch,
        False,
        "true or false",
        "whether a session ends when the platform's token that opened it expires, where the token "
        "does not say",
        shown="false",
    )
    policy_file: Path | None = _setting(
        text.existing_file,
        None,
        "a TOML file, or JSON by its suffix",
        "rules for [tenants](operations.md#tenants), and logos",
        shown="none",
    )
    allowed_origins: tuple[str, ...] = _setting(
        text.origins,
        (),
        "comma list of origins such as https://meet.example.com, or *",
        "pages of other origins that may call the API (CORS)",
        shown="none",
    )
    tls_cert: Path | None = _setting(
        text.existing_file,
        None,
        "a PEM file",
        "certificate chain: HTTPS in place of HTTP",
        shown="none",
    )
    tls_key: Path | None = _setting(
        text.existing_file, None, "a PEM file", "private key of the certificate", shown="none"
    )
    ice_addresses: tuple[str, ...] = _setting(
        text.addresses,
        (),
        "comma list of IP addresses",
        "addresses that media sockets are bound to and that are offered",
        shown="the machine's",
    )
    advertised_address: str | None = _setting(
        text.address,
        None,
        "an IP address",
        "what a NAT in front shows in place of the bound address",
        shown="none",
    )
    udp_ports: tuple[int, int] = _setting(
        text.port_range,
        (40000, 40999),
        "FIRST-LAST, each 1024 to 65535",
        "UDP ports of media sockets, both ends included",
        shown="40000-40999",
    )
    ice_servers: tuple[IceServer, ...] = _setting(
        text.ice_servers,
        (),
        "a JSON list of {urls, username, credential}",
        "STUN and TURN servers, for the service and for browsers; nothing outside is asked "
        "unless it is listed",
        shown="[]",
        secret=True,
    )
    peer_networks: tuple[str, ...] = _setting(
        text.peer_networks,
        ("public", "private"),
        "comma list of public, private and IP networks",
        "where browsers may be: ICE candidates elsewhere are passed over; private is RFC 1918, "
        "RFC 6598 and fc00::/7; the addresses that are offered count too",
    )
    turn_secret: str = _setting(
        text.secret(16),
        "",
        "16 characters or more, no spaces",
        "shared with the TURN servers of ice_servers that have no credential there (coturn: "
        "`static-auth-secret`); short-lived ones are made of it",
        shown="none",
        secret=True,
    )
    turn_ttl_s: float = _setting(
        text.number(900, 604_800),
        86_400.0,
        "900 to 604800 s",
        "the longest that such a credential is good for; one of a session ends with it",
    )
    relay_only: bool = _setting(
        text.switch,
        False,
        "true or false",
        "whether the service offers media at its TURN server alone, and no address of its own",
    )
    codecs: tuple[str, ...] = _setting(
        text.ordered_choices("h264", "vp8"),
        ("h264", "vp8"),
        "comma list of h264 and vp8",
        "video codecs that are negotiated, preferred first",
        shown="h264,vp8",
    )
    max_sessions: int = _setting(
        text.integer(0, 10_000),
        0,
        "0 to 10000",
        "most sessions at once; 0 is as many as the CPU budget has room for",
        unit="sessions",
    )
    cpu_cores: float = _setting(
        text.number(0, 1024),
        0.0,
        "0 to 1024 cores",
        "the CPU budget; 0 reads the cgroup quotas and the CPU affinity",
    )
    session_cores: float = _setting(
        text.number(0.01, 16),
        0.4,
        "0.01 to 16 cores",
        "what a session of 1280x720 at 30 fps is expected to use of the CPU budget, until it has "
        "been learned from sessions that ran",
    )
    planned_share: float = _setting(
        text.number(0.1, 2),
        0.85,
        "0.1 to 2",
        "how much of the CPU budget sessions may reserve; above 1 they are meant to run at lower "
        "quality levels",
        unit="of the CPU budget",
    )
    lowest_quality: str = _setting(
        text.choice("full", "half", "third", "smaller", "fewer", "background"),
        "background",
        "full, half, third, smaller, fewer, background",
        "the lowest quality level that a session is put on while there is too little CPU; full "
        "keeps all of them there",
    )
    connect_timeout_s: float = _setting(
        text.number(1, 300), 15.0, "1 to 300 s", "from an answer to a connected peer"
    )
    silence_suspend_s: float = _setting(
        text.number(1, 300),
        6.0,
        "1 to 300 s",
        "without any packet or ICE consent: the peer is suspended",
    )
    silence_end_s: float = _setting(
        text.number(2, 3600),
        30.0,
        "2 to 3600 s, above silence_suspend_s",
        "without any packet or ICE consent: the peer is ended",
    )
    idle_ttl_s: float = _setting(
        text.number(1, 86_400),
        60.0,
        "1 to 86400 s",
        "a session without a peer, never connected or hung up, is ended after this; after its last "
        "packet where its browser fell silent",
    )
    drain_s: float = _setting(
        text.number(0, 3600),
        20.0,
        "0 to 3600 s",
        "so long a server that was told to stop (SIGTERM) waits for its clients to move to another "
        "one, before it ends what is left",
    )
    move_to: str = _setting(
        text.web_address,
        "",
        "an http or https URL",
        "where they are sent: the address of other servers; none: the same address, whose front "
        "picks another server",
        shown="none",
    )
    max_picture_bytes: int = _setting(
        text.integer(1024, 1 << 28),
        10 << 20,
        "1024 to 268435456 bytes",
        "largest uploaded picture, as a file",
    )
    max_picture_pixels: int = _setting(
        text.integer(1024, 200_000_000),
        24_000_000,
        "1024 to 200000000 pixels",
        "largest uploaded picture, width times height, before it is decoded",
    )
    library: str = _setting(
        text.library,
        "",
        "the absolute path of a directory, made where it is not there, or s3://BUCKET/PREFIX",
        "where the pictures are kept that platforms put into the "
        "[library](operations.md#the-picture-library); none: there are the built-in ones alone",
        shown="none",
    )
    library_endpoint: str = _setting(
        text.web_address,
        "",
        "an http or https URL",
        "the server that speaks S3, where it is not Amazon's; credentials and region come from "
        "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and the like",
        shown="Amazon's",
    )
    library_max_pictures: int = _setting(
        text.integer(1, 1000),
        200,
        "1 to 1000",
        "most pictures in the library, built-in ones aside",
        unit="pictures",
    )
    library_max_bytes: int = _setting(
        text.integer(1 << 20, 1 << 34),
        256 << 20,
        "1048576 to 17179869184 bytes",
        "most bytes in the library, as pictures are kept",
    )
    webhook_url: str | None = _setting(
        text.web_address,
        None,
        "an https URL; http only into webhook_networks",
        "where the platform is told what happens; none: nowhere",
        shown="none",
        secret=True,
    )
    webhook_secrets: tuple[bytes, ...] = _setting(
        text.webhook_secrets,
        (),
        "comma list of 1 to 4, each whsec_ and base64 of 24 to 64 bytes",
        "sign webhooks, every one of them each message",
        shown="none",
        secret=True,
    )
    webhook_networks: tuple[Network, ...] = _setting(
        text.networks,
        (),
        "comma list of IP networks such as 10.0.0.0/8",
        "networks that are not public and that webhook_url may lead into",
        shown="none",
    )
    webhook_timeout_s: float = _setting(
        text.number(0.1, 60), 10.0, "0.1 to 60 s", "for one try of a webhook"
    )
    webhook_retry_s: float = _setting(
        text.number(0.05, 60),
        1.0,
        "0.05 to 60 s",
        "from a webhook's first failure to its next try; doubled after each other one",
    )
    webhook_retry_max_s: float = _setting(
        text.number(0.05, 3600),
        60.0,
        "0.05 to 3600 s, at least webhook_retry_s",
        "longest wait between two tries of a webhook",
    )
    webhook_give_up_s: float = _setting(
        text.number(1, 86_400),
        3600.0,
        "1 to 86400 s",
        "a webhook that is older is tried no more",
    )
    webhook_queue: int = _setting(
        text.integer(64, 100_000),
        4096,
        "64 to 100000",
        "most webhooks that wait; one more, and the oldest goes",
        unit="webhooks",
    )
    sfu_networks: tuple[Network, ...] = _setting(
        text.networks,
        (),
        "comma list of IP networks such as 10.0.0.0/8",
        "networks that are not public and that sessions may be "
        "[pulled from and pushed to](api.md#pull-and-push-beside-an-sfu); http is for these alone",
        shown="none",
    )
    sfu_timeout_s: float = _setting(
        text.number(0.5, 60), 10.0, "0.5 to 60 s", "for one request to such a server"
    )
    sfu_ice_servers: bool = _setting(
        text.switch,
        False,
        "true or false",
        "whether STUN and TURN servers that such a server names (`Link`) are asked, where "
        "ice_servers has none of their kind",
    )
    sfu_silence_s: float = _setting(
        text.number(2, 300),
        10.0,
        "2 to 300 s",
        "when nothing has come from such a server for so long (of a pull: no media), the "
        "connection is made anew",
    )
    sfu_retry_s: float = _setting(
        text.number(0.1, 60),
        1.0,
        "0.1 to 60 s",
        "from the first failure of such a connection to the next try; doubled after each other one",
    )
    sfu_retry_max_s: float = _setting(
        text.number(0.1, 600),
        15.0,
        "0.1 to 600 s, at least sfu_retry_s",
        "longest wait between two tries",
    )
    sfu_give_up_s: float = _setting(
        text.number(1, 86_400),
        300.0,
        "1 to 86400 s",
        "what has not been live for so long is tried no more",
    )
    fleet: tuple[str, ...] = _setting(
        text.fleet_urls,
        (),
        "comma list of up to 64 http or https URLs without a path",
        "the servers that answer for each other's sessions, this one among them or not: every "
        "address of each host name is one",
        shown="none",
    )
    fleet_address: str | None = _setting(
        text.address,
        None,
        "an IP address",
        "this server's own among those addresses",
        shown="none",
    )
    fleet_secrets: tuple[str, ...] = _setting(
        text.secrets_list(32),
        (),
        "comma list, 32 bytes or more each, no spaces",
        "sign what they send each other: the first signs, any verifies",
        shown="none",
        secret=True,
    )
    models_dir: Path = _setting(
        text.directory,
        ROOT / "models",
        "a directory",
        "the models and their manifest",
        shown="models/",
    )
    backgrounds_dir: Path = _setting(
        text.directory,
        ROOT / "backgrounds",
        "a directory",
        "the built-in background pictures",
        shown="backgrounds/",
    )
    log_level: str = _setting(
        text.choice("debug", "info", "warning", "error"),
        "info",
        "debug, info, warning, error",
        "how much is logged",
    )
    log_format: str = _setting(
        text.choice("text", "json"),
        "text",
        "text, json",
        "lines for people, or one JSON object a line for a log store",
    )

    otel_endpoint: str | None = _setting(
        text.web_address,
        None,
        "an http or https URL",
        "the OTLP/HTTP collector that [traces](operations.md#traces) of session set-up go to, such "
        "as http://collector:4318; none: as OTEL_EXPORTER_OTLP_ENDPOINT says, or nowhere",
        shown="none",
    )

    @property
    def development(self) -> bool:
        """No platform keys: nobody is asked for one, and only this machine may call."""
        return not self.api_keys


def load(environ: Mapping[str, str], **overrides: Any) -> Settings:
    """The settings of this environment; raises SettingsError with every problem at once.

    ``overrides`` are fields that the command line names; None leaves the environment's.
    """
    problems = [_unknown(name) for name in environ if _is_unknown(name)]
    values: dict[str, Any] = {}
    for one in dataclasses.fields(Settings):
        variable = PREFIX + one.name.upper()
        given = environ.get(variable, "").strip()
        if is_secret(one):
            try:
                given = _from_file(environ, variable) or given
            except ValueError as exc:
                problems.append(f"{variable}{FROM_FILE}: {exc}")
                continue
        if overrides.get(one.name) is not None:
            given = str(overrides[one.name])
        if not given:  # an empty variable is one that is not set: Compose and Helm write those
            continue
        try:
            values[one.name] = one.metadata["parse"](given)
        except ValueError as exc:
            hint = _link_hint(variable, given)
            problems.append(f"{variable}: {exc} (allowed: {one.metadata['limits']}){hint}")
    settings = Settings(**values)
    failed = {problem.partition(":")[0] for problem in problems}
    if settings.fleet and not settings.development and "token_secrets" not in values:
        problems.append(
            f"{PREFIX}TOKEN_SECRETS: must be set, and the same on every server of {PREFIX}FLEET"
        )
    problems += contradictions(settings, failed)
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def is_secret(one: dataclasses.Field[Any]) -> bool:
    """Whether a field is shown to nobody, and may come from a file."""
    return not one.repr


def _from_file(environ: Mapping[str, str], variable: str) -> str:
    """The text of the file that VARIABLE_FILE names: orchestrators mount secrets as files, which no
    child process inherits and no listing of the environment shows. "" where it is not set."""
    path = environ.get(variable + FROM_FILE, "").strip()
    if not path:
        return ""
    if environ.get(variable, "").strip():
        raise ValueError(f"{variable} is set too: set one of both")
    return text.secret_file(path)


def _is_unknown(name: str) -> bool:
    if not name.startswith(PREFIX) or name.startswith(f"{PREFIX}TEST_"):
        return False
    return name not in _VARIABLES and _SERVICE_LINK.fullmatch(name) is None


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, _VARIABLES, n=1)
    return f"{name}: is no setting" + (f"; did you mean {near[0]}?" if near else "")


def _link_hint(variable: str, given: str) -> str:
    if variable == f"{PREFIX}PORT" and given.startswith("tcp://"):
        return (
            "; Kubernetes sets this for a Service named backcloth: put enableServiceLinks: false "
            "in the pod spec"
        )
    return ""


_VARIABLES: Final = tuple(
    variable
    for one in dataclasses.fields(Settings)
    for name in [PREFIX + one.name.upper()]
    for variable in ([name, name + FROM_FILE] if is_secret(one) else [name])
)
