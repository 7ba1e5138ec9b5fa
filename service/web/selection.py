"""Which sessions a platform means: a filter from a query or from JSON, and a place in the list."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from service.errors import InvalidField
from service.policy.effects import EFFECT_TYPES, effect_type
from service.policy.levels import Level
from service.session.session import State
from service.web.spec import (
    MAX_METADATA_ENTRIES,
    MAX_METADATA_KEY_CHARS,
    MAX_METADATA_VALUE_CHARS,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from multidict import MultiMapping

    from service.session.session import Session

CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "state": tuple(state.value for state in State if state is not State.ENDED),
    "effect": EFFECT_TYPES,
    "quality_level": tuple(level.value for level in Level),
}
METADATA: Final = "metadata"
METADATA_PREFIX: Final = "metadata."
PAGING: Final = ("limit", "cursor")
DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
CURSOR: Final = re.compile(r"([0-9a-f]{8})\.([0-9]{1,15})", re.ASCII)
MAX_CURSOR_CHARS: Final = 64


@dataclass(frozen=True, slots=True)
class Filter:
    """What all of the sessions that are meant have; nothing that is empty is asked for."""

    choices: Mapping[str, frozenset[str]] = field(default_factory=dict)
    "By name, of CHOICES: one of these."
    metadata: Mapping[str, str] = field(default_factory=dict)
    "Every one of these."

    def __bool__(self) -> bool:
        return bool(self.choices or self.metadata)

    def takes(self, session: Session) -> bool:
        """Whether that session is one of them."""
        for name, wanted in self.choices.items():
            if _value(session, name) not in wanted:
                return False
        has = session.spec.metadata
        return all(has.get(key) == value for key, value in self.metadata.items())


@dataclass(frozen=True, slots=True)
class Page:
    """What one request for the list asks for."""

    filter: Filter
    limit: int
    after: int
    "The serial number after which it begins."


class Cursors:
    """Places in this server's list, in words that mean something here alone."""

    def __init__(self) -> None:
        # A place of another server, or of this one before it was started anew, is none here.
        self._server = secrets.token_hex(4)

    def write(self, serial: int) -> str:
        """After the session of that serial number."""
        text = f"{self._server}.{serial}".encode()
        return base64.urlsafe_b64encode(text).decode().rstrip("=")

    def read(self, cursor: str) -> int:
        """Raises InvalidField."""
        try:
            if len(cursor) > MAX_CURSOR_CHARS:
                raise ValueError
            padded = cursor + "=" * (-len(cursor) % 4)
            text = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
            found = CURSOR.fullmatch(text)
            if found is None or found[1] != self._server:
                raise ValueError
        except ValueError:  # of which those of base64 and of ASCII are kinds
            raise InvalidField(
                "cursor", "must be the next_cursor of an answer that this server gave"
            ) from None
        return int(found[2])


def parse_page(query: MultiMapping[str], cursors: Cursors) -> Page:
    """What a query asks for; raises InvalidField, also for what it does not know."""
    metadata: dict[str, str] = {}
    for name in query:
        key = name.removeprefix(METADATA_PREFIX)
        if key != name:
            if len(query.getall(name)) > 1:
                raise InvalidField(name[:80], "may be given once")
            metadata[key] = query[name]
        elif name not in CHOICES and name not in PAGING:
            known = ", ".join([*CHOICES, f"{METADATA_PREFIX}KEY", *PAGING])
            raise InvalidField(name[:64], f"is no parameter, which are {known}")
        elif name in PAGING and len(query.getall(name)) > 1:
            raise InvalidField(name, "may be given once")
    choices = {name: _chosen(name, query.getall(name)) for name in CHOICES if name in query}
    after = cursors.read(query["cursor"]) if "cursor" in query else -1
    return Page(Filter(choices, _metadata(metadata)), _limit(query.get("limit")), after)


def parse_filter(value: object) -> Filter:
    """A filter in JSON; raises InvalidField."""
    if not isinstance(value, Mapping):
        raise InvalidField("filter", f"must be an object of {', '.join([*CHOICES, METADATA])}")
    for name in value:
        if name not in CHOICES and name != METADATA:
            known = ", ".join([*CHOICES, METADATA])
            raise InvalidField(f"filter.{str(name)[:64]}", f"is not a field, which are {known}")
    choices = {}
    for name in CHOICES:
        if name in value:
            given = value[name]
            found = given if isinstance(given, list) else [given]
            choices[name] = _chosen(name, found, field=f"filter.{name}")
    return Filter(choices, _metadata(value.get(METADATA, {}), field=f"filter.{METADATA}"))


def _value(session: Session, name: str) -> str:
    match name:
        case "state":
            return session.state.value
        case "effect":
            return effect_type(session.effect)
    return session.level.value


def _chosen(name: str, given: Sequence[object], *, field: str = "") -> frozenset[str]:
    names = CHOICES[name]
    found = frozenset(one for one in given if isinstance(one, str) and one in names)
    # More than there are would be some of them twice, and no end of those.
    if not found or len(found) != len(given):
        raise InvalidField(field or name, f"must be one or more of {', '.join(names)}, each once")
    return found


def _metadata(given: object, *, field: str = METADATA) -> Mapping[str, str]:
    usable = isinstance(given, Mapping) and len(given) <= MAX_METADATA_ENTRIES
    if not isinstance(given, Mapping) or not usable or not all(map(_is_entry, given.items())):
        raise InvalidField(
            field,
            f"must be {MAX_METADATA_ENTRIES} entries at most, names of 1 to "
            f"{MAX_METADATA_KEY_CHARS} and values of {MAX_METADATA_VALUE_CHARS} characters at most",
        )
    return dict(given)


def _is_entry(entry: tuple[object, object]) -> bool:
    key, value = entry
    return (
        isinstance(key, str)
        and 1 <= len(key) <= MAX_METADATA_KEY_CHARS
        and isinstance(value, str)
        and len(value) <= MAX_METADATA_VALUE_CHARS
    )


def _limit(given: str | None) -> int:
    if given is None:
        return DEFAULT_LIMIT
    if re.fullmatch(r"[0-9]{1,3}", given, re.ASCII) is None or not 1 <= int(given) <= MAX_LIMIT:
        raise InvalidField("limit", f"must be a whole number from 1 to {MAX_LIMIT}")
    return int(given)
