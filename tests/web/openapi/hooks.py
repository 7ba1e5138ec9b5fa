"""What schemathesis is told of this API beside the document: how SDP is written into a body, that
other servers are on this machine, and what is there to be met.

A made-up name meets no picture twice and a made-up method no route, so that every change would be
the first one and every preflight refused: calls take turns at a few names and methods. Loaded by
its command line (SCHEMATHESIS_HOOKS), in a process of its own.
"""

from __future__ import annotations

from itertools import count, cycle
from typing import Any

import schemathesis

from service.policy.effects import BACKGROUND_NAME
from service.web.endpoints import WAYS
from service.web.rtc import SDP, SDP_FRAGMENT

NAMES = ("attic", "barn", "cellar", "dawn")
"""More than the library of the tests has room for; the last one is built in."""
METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
STAND_IN = "0"
"""What is put where nothing can be made by a pattern. It is no entity tag, and a call whose body is
what it tries would be refused for that alone."""
TAGS = {"If-Match": "*", "If-None-Match": '"an-etag"'}
KEY = "Idempotency-Key"
ASKED_METHOD = "Access-Control-Request-Method"

_names = cycle(NAMES)
_numbers = count(1)
_methods = cycle(METHODS)


@schemathesis.serializer(SDP, SDP_FRAGMENT)
def text(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """As it is: made data is text, or for what must be refused any JSON."""
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")


@schemathesis.hook
def map_body(_: schemathesis.HookContext, body: Any) -> Any:
    """Whatever address is made up, nothing but 127.0.0.1 is called, where nobody listens."""
    if not isinstance(body, dict):
        return body
    return {name: _nearby(one) if name in WAYS else one for name, one in body.items()}


@schemathesis.hook
def before_call(
    _: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]
) -> None:
    """Takes turns, in place of what a good name or method was made up."""
    made = case.path_parameters.get("name")
    if isinstance(made, str) and BACKGROUND_NAME.fullmatch(made):
        case.path_parameters["name"] = next(_names)
    for name, good in TAGS.items():
        if case.headers.get(name) == STAND_IN:
            case.headers[name] = good
    if case.headers.get(KEY) == STAND_IN:
        # The same key would come with another body each time, and be refused for that.
        case.headers[KEY] = f"key-{next(_numbers)}"
    if case.method == "OPTIONS" and isinstance(case.headers.get(ASKED_METHOD), str):
        case.headers[ASKED_METHOD] = next(_methods)


def _nearby(other: Any) -> Any:
    url = other.get("url") if isinstance(other, dict) else None
    if not isinstance(url, str) or not url.startswith(("http:", "https:")):
        return other
    return {**other, "url": f"https://127.0.0.1:9/{url.partition('//')[2].partition('/')[2]}"}
