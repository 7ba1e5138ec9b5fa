"""What schemathesis is told of this API beside the document: how SDP is written into a body.

Loaded by its command line (SCHEMATHESIS_HOOKS), in a process of its own.
"""

from __future__ import annotations

from typing import Any

import schemathesis

from service.web.rtc import SDP, SDP_FRAGMENT


@schemathesis.serializer(SDP, SDP_FRAGMENT)
def text(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """As it is: made data is text, or for what must be refused any JSON."""
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")
