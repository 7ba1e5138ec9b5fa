"""If-Match: a change that is made only where nobody else made one meanwhile (RFC 9110 13.1.1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from service.errors import InvalidField

if TYPE_CHECKING:
    from aiohttp import web

TAG: Final = r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"'
"""An entity tag (RFC 9110 8.8.3); a comma may be in it."""
LIST: Final = re.compile(rf"[ \t,]*{TAG}(?:[ \t]*,[ \t,]*{TAG})*[ \t,]*")
MAX_CHARS: Final = 1024


def expected(request: web.Request) -> frozenset[str] | None:
    """The strong tags of which one must be the current; None: any will do. Raises InvalidField.

    A weak tag is none of them: the comparison is the strong one.
    """
    fields = request.headers.getall("If-Match", [])
    given = ", ".join(fields).strip()
    if not fields or given == "*":
        return None
    if len(given) > MAX_CHARS or LIST.fullmatch(given) is None:
        raise InvalidField(
            "If-Match", f"must be * or a list of entity tags, of {MAX_CHARS} characters at most"
        )
    return frozenset(f'"{tag}"' for weak, tag in re.findall(TAG, given) if not weak)
