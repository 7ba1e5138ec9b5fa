"""What a start and a scrape cost: `python -m tests.start_cost [STARTS]`, CPU of the whole process.

The service is started and stopped; the last one opens and ends 500 sessions, so that every series
of its metrics is there, and is then scraped 40 times.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import urllib.request
from pathlib import Path

from tests.running import Service, running

STARTS = 3
SESSIONS = 500
SCRAPES = 40


def cpu_s(process: int) -> float:
    """Of all its threads so far, by the scheduler's own count: /proc's is in hundredths."""
    total_ns = 0
    for task in (Path("/proc") / str(process) / "task").iterdir():
        total_ns += int((task / "schedstat").read_text().split()[0])
    return total_ns / 1e9


def ask(service: Service, method: str, path: str, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(f"{service.url}{path}", body, method=method)
    if body is not None:
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        read: bytes = answer.read()
        return read


def scrapes(service: Service) -> list[float]:
    """CPU ms of each."""
    for _ in range(SESSIONS):
        opened = json.loads(ask(service, "POST", "/v1/sessions", b"{}"))
        ask(service, "DELETE", f"/v1/sessions/{opened['id']}")
    found = []
    for _ in range(SCRAPES):
        before_s = cpu_s(service.process.pid)
        page = ask(service, "GET", "/metrics")
        found.append((cpu_s(service.process.pid) - before_s) * 1e3)
    sys.stdout.write(f"a scrape of {len(page)} bytes: ")
    return found


def main() -> None:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    starts = int(sys.argv[1]) if len(sys.argv) > 1 else STARTS
    for number in range(starts):
        began_s = time.monotonic()
        with running() as service:
            wall_s, used_s = time.monotonic() - began_s, cpu_s(service.process.pid)
            sys.stdout.write(f"ready: {used_s:.2f} s of CPU, {wall_s:.2f} s by the clock\n")
            if number == starts - 1:
                found = scrapes(service)
                median_ms = statistics.median(found)
                sys.stdout.write(f"{median_ms:.1f} ms of CPU, {max(found):.1f} at most\n")


if __name__ == "__main__":
    main()
