"""The list of a whole fleet's sessions: one server after another, each by its own pages.

Servers come in the order of their tags, which all of them agree on, and a cursor names the server
and the place in its list: a walk meets each session that stays once, while servers come and go.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from multidict import MultiDict

from service.errors import InvalidField
from service.web.peers import Unanswered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from multidict import MultiMapping

    from service.policy.fleet import Member
    from service.web.peers import Peers

PAGE_TIME_S: Final = 5.0
"""A page ends after this, full or not; the next one goes on where it ended."""
CURSOR: Final = re.compile(r"([A-Za-z0-9_-]{8})\.([A-Za-z0-9_-]{0,55})", re.ASCII)
SESSIONS: Final = "/v1/sessions"

Answer = dict[str, Any]


@dataclass(slots=True)
class Walk:
    """One page of the fleet's list."""

    sessions: list[Any] = field(default_factory=list)
    next_cursor: str | None = None
    unanswered: list[str] = field(default_factory=list)
    "Tags of servers that did not answer: ids of the sessions that are missing end in them."

    def as_json(self) -> Answer:
        return {
            "sessions": self.sessions,
            "next_cursor": self.next_cursor,
            "unanswered": self.unanswered,
        }


async def walk(
    peers: Peers,
    query: MultiMapping[str],
    *,
    limit: int,
    own_page: Callable[[MultiMapping[str]], Answer],
    authorization: str,
    now_s: Callable[[], float] = time.monotonic,
) -> Walk:
    """The page that a query asks for. `own_page` is this server's part of it; both that and the
    others raise InvalidField for a cursor that means nothing to them."""
    after, inner = _place(query.get("cursor"))
    servers: list[tuple[str, Member | None]] = [(peers.fleet.tag, None)]
    servers += [(peers.fleet.tag_of(one), one) for one in await peers.others()]
    servers = sorted((one for one in servers if one[0] >= after), key=lambda one: one[0])
    page = Walk()
    until_s = now_s() + PAGE_TIME_S
    for place, (tag, member) in enumerate(servers):
        if place and (len(page.sessions) >= limit or now_s() >= until_s):
            page.next_cursor = f"{tag}."
            break
        asked = _asked(query, limit - len(page.sessions), inner if tag == after else "")
        try:
            answer = (
                own_page(asked)
                if member is None
                else await _page_of(peers, member, asked, authorization)
            )
        except Unanswered:
            page.unanswered.append(tag)
            continue
        page.sessions += answer["sessions"]
        if answer["next_cursor"] is not None:
            page.next_cursor = f"{tag}.{answer['next_cursor']}"
            break
    return page


async def _page_of(
    peers: Peers, member: Member, query: MultiMapping[str], authorization: str
) -> Mapping[str, Any]:
    pairs = [(name, value) for name, value in query.items()]
    answer = await peers.ask(member, "GET", SESSIONS, query=pairs, authorization=authorization)
    if answer.status == 422 and answer.body.get("field") == "cursor":
        raise InvalidField("cursor", "is of a server that was started anew: begin the walk again")
    sessions, cursor = answer.body.get("sessions"), answer.body.get("next_cursor")
    if answer.status != 200 or not isinstance(sessions, list) or not _is_cursor(cursor):
        raise Unanswered
    return answer.body


def _place(cursor: str | None) -> tuple[str, str]:
    """The tag of the server where a page begins, and the cursor in its list."""
    if cursor is None:
        return "", ""
    found = CURSOR.fullmatch(cursor)
    if found is None:
        raise InvalidField("cursor", "must be the next_cursor of an answer that the fleet gave")
    return found[1], found[2]


def _asked(query: MultiMapping[str], limit: int, cursor: str) -> MultiDict[str]:
    asked = MultiDict((k, v) for k, v in query.items() if k not in ("limit", "cursor"))
    asked["limit"] = str(limit)
    if cursor:
        asked["cursor"] = cursor
    return asked


def _is_cursor(value: object) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= 55)
