"""The text of one setting -> its value: a ValueError that says what is wrong with it.

Beside ``service.settings``, which names the variable and the allowed range around these messages.
No message repeats a value that may be a secret.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

MIN_UDP_PORT: Final = 1024
MAX_PORT: Final = 65535
MAX_PEM_BYTES: Final = 64 * 1024
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MAX_URL_CHARS: Final = 2048
MAX_FLEET_URLS: Final = 64
PEER_WORDS: Final = ("public", "private")
WEBHOOK_SECRET_PREFIX: Final = "whsec_"  # noqa: S105
WEBHOOK_SECRET_BYTES: Final = (24, 64)
"""As Standard Webhooks 1.0 asks for."""
MAX_WEBHOOK_SECRETS: Final = 4
"""Each costs every message a signature."""
MAX_SECRET_FILE_BYTES: Final = 1 << 16
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_PREFIX: Final = re.compile(r"[\w./-]{0,512}", re.ASCII)
ICE_SCHEMES: Final = ("stun", "stuns", "turn", "turns")


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server, in the words of RTCIceServer."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = None

    @property
    def lacks_credential(self) -> bool:
        """Whether it is a TURN server, which takes nobody without one, and has none here."""
        return self.username is None and any(url.startswith("turn") for url in self.urls)

    def as_json(self) -> dict[str, object]:
        """What a browser's RTCPeerConnection takes."""
        members: dict[str, object] = {"urls": list(self.urls)}
        if self.username is not None and self.credential is not None:
            members |= {"username": self.username, "credential": self.credential}
        return members


def is_loopback(host: str) -> bool:
    """Whether nothing outside of this machine can reach that host name or address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def word(value: str) -> str:
    """Text without spaces."""
    if len(value.split()) != 1:
        raise ValueError(f"{value!r} is not one word")
    return value


def integer(least: int, most: int) -> Callable[[str], int]:
    """Whole numbers of a range, both ends included."""

    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError(f"{value!r} is not a whole number") from None
        if not least <= number <= most:
            raise ValueError(f"{number} is out of range")
        return number

    return parse


def number(least: float, most: float) -> Callable[[str], float]:
    """Numbers of a range, both ends included."""

    def parse(value: str) -> float:
        try:
            parsed = float(value)
        except ValueError:
            raise ValueError(f"{value!r} is not a number") from None
        if math.isnan(parsed) or not least <= parsed <= most:
            raise ValueError(f"{parsed:g} is out of range")
        return parsed

    return parse


def choice(*names: str) -> Callable[[str], str]:
    """One of the names, in any case."""

    def parse(value: str) -> str:
        if value.lower() not in names:
            raise ValueError(f"{value!r} is not one of them")
        return value.lower()

    return parse


def ordered_choices(*names: str) -> Callable[[str], tuple[str, ...]]:
    """Some of the names, each once, in the order given."""

    def parse(value: str) -> tuple[str, ...]:
        chosen = tuple(name.lower() for name in _items(value))
        if not chosen or len(set(chosen)) != len(chosen) or not set(chosen) <= set(names):
            raise ValueError(f"{value!r} is not a list of them")
        return chosen

    return parse


def secrets_list(min_bytes: int) -> Callable[[str], tuple[str, ...]]:
    """Secrets; the message tells their place in the list, never their text."""

    def parse(value: str) -> tuple[str, ...]:
        found = tuple(_items(value))
        if not found:
            raise ValueError("is an empty list")
        for place, one in enumerate(found, 1):
            if problem := _unfit(one, min_bytes):
                raise ValueError(f"secret number {place} {problem}")
        return found

    return parse


def secret(min_bytes: int) -> Callable[[str], str]:
    """One secret; no message repeats it."""

    def parse(value: str) -> str:
        if "," in value:
            raise ValueError("has a comma, as a list has")
        if problem := _unfit(value, min_bytes):
            raise ValueError(problem)
        return value

    return parse


def _unfit(secret: str, min_bytes: int) -> str:
    """What is wrong with a secret, if anything; of what it is made nothing is told."""
    if len(secret.encode()) < min_bytes:
        return f"is shorter than {min_bytes} characters"
    if not (secret.isascii() and secret.isprintable()) or " " in secret:
        return "has a character that no HTTP header carries"
    return ""


def origins(value: str) -> tuple[str, ...]:
    """Origins as browsers write them (RFC 6454 6.2): scheme, host, and a port if not the usual."""
    found = tuple(_items(value))
    for origin in found:
        parts = urlsplit(origin)
        plain = f"{parts.scheme}://{parts.netloc}"
        usable = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
        if origin != "*" and (not usable or origin != plain.lower()):
            raise ValueError(f"{origin!r} is not an origin: no path, no '/' at the end, lower case")
    return found


def address(value: str) -> str:
    """An IP address in its usual form."""
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError(f"{value!r} is not an IP address") from None


def addresses(value: str) -> tuple[str, ...]:
    """IP addresses."""
    return tuple(address(item) for item in _items(value))


def port_range(value: str) -> tuple[int, int]:
    """FIRST-LAST, both included."""
    first, dash, last = value.partition("-")
    if not dash or not first.strip().isdecimal() or not last.strip().isdecimal():
        raise ValueError(f"{value!r} is not of the form FIRST-LAST")
    ends = int(first), int(last)
    if not MIN_UDP_PORT <= ends[0] <= ends[1] <= MAX_PORT:
        raise ValueError(f"{value!r} is out of range or upside down")
    return ends


def ice_servers(value: str) -> tuple[IceServer, ...]:
    """A JSON list in the words of RTCIceServer."""
    try:
        entries = json.loads(value)
    except ValueError:
        raise ValueError("is not JSON") from None
    if not isinstance(entries, list):
        raise ValueError("is not a JSON list")
    return tuple(_ice_server(entry, place) for place, entry in enumerate(entries, 1))


def _ice_server(entry: object, place: int) -> IceServer:
    if not isinstance(entry, dict) or not entry.keys() <= {"urls", "username", "credential"}:
        raise ValueError(f"entry {place} is not an object of urls, username and credential")
    urls = [entry["urls"]] if isinstance(entry.get("urls"), str) else entry.get("urls")
    if not isinstance(urls, list) or not urls:
        raise ValueError(f"entry {place} has no urls")
    for url in urls:
        scheme, _, rest = url.partition(":") if isinstance(url, str) else ("", "", "")
        # The URLs go into a Link header (RFC 9725 4.6): nothing that would end it early.
        if scheme not in ICE_SCHEMES or not rest or not url.isprintable() or set(url) & set(' <>"'):
            raise ValueError(f"entry {place} has a url that is not stun:, stuns:, turn: or turns:")
    username, credential = entry.get("username"), entry.get("credential")
    for secret in (username, credential):
        if secret is not None and not (isinstance(secret, str) and secret.isprintable()):
            raise ValueError(f"entry {place}: username and credential must be text")
    if bool(username) != bool(credential):
        raise ValueError(f"entry {place} has one of username and credential, and not the other")
    return IceServer(tuple(urls), username or None, credential or None)


def switch(value: str) -> bool:
    """true or false, in any case."""
    return choice("true", "false")(value) == "true"


def networks(value: str) -> tuple[Network, ...]:
    """IP networks such as 10.0.0.0/8, or single addresses."""
    try:
        return tuple(ipaddress.ip_network(item) for item in _items(value))
    except ValueError:
        raise ValueError(f"{value!r} is not a list of IP networks") from None


def peer_networks(value: str) -> tuple[str, ...]:
    """Words for ranges, and IP networks in their usual form."""
    found = tuple(
        item.lower() if item.lower() in PEER_WORDS else str(networks(item)[0])
        for item in _items(value)
    )
    if not found:
        raise ValueError("is an empty list")
    return found


def web_address(value: str) -> str:
    """An http or https URL; the message does not repeat it, as its query may hold a secret."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("is not an http or https URL")
    if len(value) > MAX_URL_CHARS:
        raise ValueError(f"has {len(value)} characters")
    if not (value.isascii() and value.isprintable()) or " " in value or "#" in value:
        raise ValueError("has a space, a fragment or a character outside ASCII")
    if "@" in parts.netloc:
        raise ValueError("has a user name or a password, which would be sent to nobody")
    # It may become part of a header, whose parts such characters would divide.
    if any(one in parts.netloc for one in ";,'\""):
        raise ValueError("has a character in its host that no host has")
    return value


def fleet_urls(value: str) -> tuple[str, ...]:
    """URLs of servers: scheme, host and port alone."""
    found = tuple(_items(value))
    if not 1 <= len(found) <= MAX_FLEET_URLS:
        raise ValueError(f"is a list of {len(found)}")
    for url in found:
        parts = urlsplit(web_address(url))
        if f"{parts.scheme}://{parts.netloc}" != url.lower().rstrip("/"):
            raise ValueError(f"{url!r} has a path or a query")
    return found


def pem(value: str) -> str:
    """PEM text itself, or that of a file; what is in it is for service.policy.keys to say."""
    if value.startswith("-----BEGIN "):
        return value.replace("\\n", "\n")  # one line, as many secret stores keep it
    path = existing_file(value)
    if path.stat().st_size > MAX_PEM_BYTES:
        raise ValueError(f"{value!r} has more than {MAX_PEM_BYTES} bytes")
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        raise ValueError(f"{value!r} cannot be read as text") from None


def webhook_secrets(value: str) -> tuple[bytes, ...]:
    """Secrets in the words of Standard Webhooks: "whsec_" and base64. The message tells their place
    in the list, never their text."""
    found = []
    for place, secret in enumerate(_items(value), 1):
        try:
            key = base64.b64decode(secret.removeprefix(WEBHOOK_SECRET_PREFIX), validate=True)
        except ValueError:
            raise ValueError(f"number {place} is not base64") from None
        if not secret.startswith(WEBHOOK_SECRET_PREFIX):
            raise ValueError(f"number {place} does not begin with {WEBHOOK_SECRET_PREFIX}")
        least, most = WEBHOOK_SECRET_BYTES
        if not least <= len(key) <= most:
            raise ValueError(f"number {place} has {len(key)} bytes")
        found.append(key)
    if not 1 <= len(found) <= MAX_WEBHOOK_SECRETS:
        raise ValueError(f"is a list of {len(found)}")
    return tuple(found)


def secret_file(path: str) -> str:
    """The text of a file that holds a secret, without the line's end; no message repeats it."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_SECRET_FILE_BYTES + 1)
    except OSError as exc:
        raise ValueError(f"{path!r} cannot be read: {exc.strerror}") from None
    if len(content) > MAX_SECRET_FILE_BYTES:
        raise ValueError(f"{path!r} has more than {MAX_SECRET_FILE_BYTES} bytes")
    try:
        secret = content.decode().strip()
    except UnicodeDecodeError:
        raise ValueError(f"{path!r} is not UTF-8 text") from None
    if not secret:
        raise ValueError(f"{path!r} is empty")
    return secret


def library(value: str) -> str:
    """A folder's absolute path, or s3://BUCKET/PREFIX; no message repeats what may hold a key."""
    if value.startswith("/"):
        return value
    bucket, _, prefix = value.removeprefix("s3://").partition("/")
    if not value.startswith("s3://") or _BUCKET.fullmatch(bucket) is None:
        raise ValueError("is neither an absolute path nor s3:// and a bucket's name")
    if _PREFIX.fullmatch(prefix) is None or ".." in prefix.split("/"):
        raise ValueError(f"{prefix!r} has more than letters, digits, '/' and '._-'")
    return value


def existing_file(value: str) -> Path:
    """A file that is there."""
    path = Path(value)
    if not _holds(path.is_file):
        raise ValueError(f"there is no file {value!r}")
    return path


def directory(value: str) -> Path:
    """A directory that is there."""
    path = Path(value)
    if not _holds(path.is_dir):
        raise ValueError(f"there is no directory {value!r}")
    return path


def _holds(found: Callable[[], bool]) -> bool:
    try:
        return found()
    except (OSError, ValueError):  # a name that is too long, or one that no file can have
        return False


def _items(value: str) -> list[str]:
    return [item.strip() for item in value.split(",") if item.strip()]
