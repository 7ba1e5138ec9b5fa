"""The other servers of a session: `pull` and `push` of POST /v1/sessions and PATCH -> Endpoints.

For a platform key alone to say: they stand in no token, which its holder can read, and would have
this server send requests to wherever the holder of one likes. No message repeats an address or a
bearer, which are secrets.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from yarl import URL

from service.errors import InvalidField
from service.policy.addresses import Reach
from service.session.sfu import Endpoint
from service.setting_text import web_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.policy.addresses import Network

WAYS: Final = ("pull", "push")
ENDPOINT_FIELDS: Final = ("url", "token")
MAX_BEARER_CHARS: Final = 4096


def parse_endpoint(
    body: Mapping[str, object], way: str, networks: Sequence[Network]
) -> Endpoint | None:
    """What `way` of the body names, None where it names nothing. Raises InvalidField, also for
    what can be told beforehand not to be reached: an address, or http, outside of `networks`."""
    given = body.get(way)
    return None if given is None else _endpoint(_fields(given, way), way, networks)


def parse_replaced(
    body: Mapping[str, object], way: str, present: Endpoint | None, networks: Sequence[Network]
) -> Endpoint:
    """What takes the place of `present` by `way` of the body: its `token` alone, or another `url`,
    to which no bearer of the one before goes along. Raises InvalidField, also where there is none:
    what it would take is reserved when a session is opened."""
    if present is None:
        raise InvalidField(way, "is none that this session was opened with")
    fields = _fields(body[way], way)
    if not fields:
        raise InvalidField(way, f"must have {' or '.join(ENDPOINT_FIELDS)}")
    return _endpoint({"url": present.url, **fields}, way, networks)


def _fields(given: object, way: str) -> Mapping[str, object]:
    if not isinstance(given, Mapping):
        raise InvalidField(way, f"must be an object of {' and '.join(ENDPOINT_FIELDS)}")
    for name in given:
        if name not in ENDPOINT_FIELDS:
            known = " and ".join(ENDPOINT_FIELDS)
            raise InvalidField(f"{way}.{str(name)[:64]}", f"is not a field, which are {known}")
    return given


def _endpoint(given: Mapping[str, object], way: str, networks: Sequence[Network]) -> Endpoint:
    url, token = given.get("url"), given.get("token")
    if not isinstance(url, str):
        raise InvalidField(f"{way}.url", "must be an https URL")
    try:
        parsed = URL(web_address(url))
    except ValueError as exc:
        raise InvalidField(f"{way}.url", str(exc)) from None
    _require_reachable(parsed, f"{way}.url", networks)
    if token is None:
        return Endpoint(url)
    good = isinstance(token, str) and token.isascii() and token.isprintable() and " " not in token
    if not good or not isinstance(token, str) or not 1 <= len(token) <= MAX_BEARER_CHARS:
        raise InvalidField(
            f"{way}.token", f"must be 1 to {MAX_BEARER_CHARS} characters of ASCII, without spaces"
        )
    return Endpoint(url, token)


def _require_reachable(url: URL, field: str, networks: Sequence[Network]) -> None:
    """What a name leads to is judged when it is connected to; here what needs no look-up."""
    if url.scheme == "http" and not networks:
        raise InvalidField(field, "must begin with https: this server names no network for http")
    host = (url.host or "").partition("%")[0]
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return
    if not Reach.of(url.scheme, networks).allows(host):
        raise InvalidField(field, "is at an address that this server may not connect to")
