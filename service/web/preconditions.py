"""If-Match and If-None-Match: a change that is made only where nobody else made one meanwhile
(RFC 9110 13.1.1, 13.1.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from service.errors import InvalidField, PreconditionFailed

if TYPE_CHECKING:
    from aiohttp import web

TAG: Final = r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"'
"""An entity tag (RFC 9110 8.8.3); a comma may be in it."""
LIST: Final = re.compile(rf"[ \t,]*{TAG}(?:[ \t]*,[ \t,]*{TAG})*[ \t,]*")
MAX_CHARS: Final = 1024
ANY: Final = frozenset({"*"})


def expected(request: web.Request) -> frozenset[str] | None:
    """The strong tags of which one must be the current; None: any will do. Raises InvalidField.

    A weak tag is none of them: the comparison is the strong one.
    """
    tags = _tags(request, "If-Match")
    return None if tags is None or tags == ANY else frozenset(tag for tag in tags if tag[0] == '"')


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a request asks of the picture that is there before it changes it."""

    if_match: frozenset[str] | None
    "Quoted tags, or ANY; None: it does not ask."
    if_none_match: frozenset[str] | None

    @classmethod
    def of(cls, request: web.Request) -> Conditions:
        """Raises InvalidField."""
        return cls(_tags(request, "If-Match"), _tags(request, "If-None-Match"))

    def require(self, etag: str | None) -> None:
        """Raises PreconditionFailed. ``etag``: without quotes, of what is there; None: nothing."""
        current = None if etag is None else f'"{etag}"'
        # RFC 9110 13.2.2: If-Match first. It compares strongly, If-None-Match weakly.
        if self.if_match is not None and not _among(current, self.if_match):
            raise PreconditionFailed(current)
        if self.if_none_match is not None and _among(
            current, frozenset(tag.removeprefix("W/") for tag in self.if_none_match)
        ):
            raise PreconditionFailed(current)


def _among(current: str | None, tags: frozenset[str]) -> bool:
    return current is not None and (tags == ANY or current in tags)


def _tags(request: web.Request, name: str) -> frozenset[str] | None:
    """The tags that a header lists, quoted, weak ones with W/ before; ANY; None where it is not
    sent."""
    fields = request.headers.getall(name, [])
    given = ", ".join(fields).strip()
    if not fields:
        return None
    if given == "*":
        return ANY
    if len(given) > MAX_CHARS or LIST.fullmatch(given) is None:
        raise InvalidField(
            name, f"must be * or a list of entity tags, of {MAX_CHARS} characters at most"
        )
    return frozenset(f'{weak}"{tag}"' for weak, tag in re.findall(TAG, given))
