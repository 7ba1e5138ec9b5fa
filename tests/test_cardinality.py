"""500 sessions opened and closed: the metrics stay as small as they were."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.running import Service, running

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.model

SESSIONS = 500
LARGEST_BYTES = 100_000


def ask(service: Service, method: str, path: str, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(f"{service.url}{path}", body, method=method)
    if body is not None:
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        read: bytes = answer.read()
        return read


def names(page: bytes) -> set[str]:
    """Every series, without its value."""
    return set(re.findall(r"^(\S+) \S+$", page.decode(), re.MULTILINE))


@pytest.mark.timeout(300)
def test_the_page_does_not_grow_with_sessions(
    record_property: Callable[[str, object], None],
) -> None:
    with running() as service:
        before = ask(service, "GET", "/metrics")
        ids = set()
        for _ in range(SESSIONS):
            opened = json.loads(ask(service, "POST", "/v1/sessions", b"{}"))
            ids.add(opened["id"])
            ask(service, "DELETE", f"/v1/sessions/{opened['id']}")
        began = time.perf_counter()
        after = ask(service, "GET", "/metrics")
        took_s = time.perf_counter() - began
    assert len(ids) == SESSIONS
    assert f'backcloth_sessions_ended_total{{outcome="deleted"}} {SESSIONS}.0' in after.decode()
    assert names(after) == names(before)
    assert not [one for one in ids if one[:6].encode() in after]
    assert len(after) < LARGEST_BYTES
    record_property("bytes", len(after))
    record_property("milliseconds", round(took_s * 1e3, 1))
    print(f"/metrics: {len(after)} bytes in {took_s * 1e3:.1f} ms")  # noqa: T201 (pytest -s)
