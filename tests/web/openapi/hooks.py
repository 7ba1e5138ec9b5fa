"""What schemathesis is told of this API beside the document: how SDP is written into a body, and
that other servers are on this machine.

Loaded by its command line (SCHEMATHESIS_HOOKS), in a process of its own.
"""

from __future__ import annotations

from typing import Any

import schemathesis

from service.web.endpoints import WAYS
from service.web.rtc import SDP, SDP_FRAGMENT


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


def _nearby(other: Any) -> Any:
    url = other.get("url") if isinstance(other, dict) else None
    if not isinstance(url, str) or not url.startswith(("http:", "https:")):
        return other
    return {**other, "url": f"https://127.0.0.1:9/{url.partition('//')[2].partition('/')[2]}"}
