"""The real service as a process of its own, on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[1]
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0
READY = re.compile(r"ready on (https?://\S+)")


@dataclass
class Running:
    """A service that answers at `url`."""

    process: subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)
    "What it has logged so far."

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to stop; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(sign)
        return self.process.wait(STOP_TIMEOUT_S)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with these BACKCLOTH_ settings and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BACKCLOTH_")}
    return kept | dict(settings)


@contextmanager
def running(*arguments: str, **settings: str) -> Iterator[Running]:
    """`python -m service serve` with these settings, ready; killed at the end if need be."""
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "serve", "--port", "0", *arguments],
        cwd=ROOT,
        env=environment(settings),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    service = Running(process)
    ready: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            service.lines.append(line.rstrip())
            if (match := READY.search(line)) is not None:
                ready.put(match.group(1))
        ready.put("")

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        service.url = ready.get(timeout=START_TIMEOUT_S)
        assert service.url, "\n".join(service.lines)
        yield service
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        reader.join(5)
        if process.stderr is not None:
            process.stderr.close()
