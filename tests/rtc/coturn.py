"""A real coturn on 127.0.0.1, with a shared secret for short-lived credentials."""

from __future__ import annotations

import queue
import shutil
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.running import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_TIMEOUT_S = 20
STOP_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Coturn:
    """One that runs."""

    port: int
    secret: str

    @property
    def url(self) -> str:
        return f"turn:127.0.0.1:{self.port}?transport=udp"


@contextmanager
def coturn(directory: Path, secret: str, *options: str) -> Iterator[Coturn]:
    """Starts it and ends it; skips the test where it is not installed."""
    command = shutil.which("turnserver")
    if command is None:
        pytest.skip("coturn is not installed (Debian: apt-get install coturn)")
    port = free_port()
    process = subprocess.Popen(
        [
            command,
            *("-n", "--no-cli", "--no-tls", "--no-dtls", "--log-file=stdout", "--simple-log"),
            *("--listening-ip=127.0.0.1", f"--listening-port={port}", "--relay-ip=127.0.0.1"),
            *("--min-port=44000", "--max-port=44999", "--realm=backcloth"),
            *("--use-auth-secret", f"--static-auth-secret={secret}", "--allow-loopback-peers"),
            *(f"--pidfile={directory / 'turnserver.pid'}", f"--userdb={directory / 'turn.db'}"),
            *options,
        ],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(target=_read, args=(process, lines))
    reader.start()
    try:
        _await_listening(lines)
        yield Coturn(port, secret)
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_TIMEOUT_S)
        reader.join(STOP_TIMEOUT_S)
        if process.stdout is not None:
            process.stdout.close()


def _await_listening(lines: queue.Queue[str]) -> None:
    seen = ""
    while "Total General servers" not in seen:
        line = lines.get(timeout=START_TIMEOUT_S)
        if not line:
            raise RuntimeError(f"coturn did not start:\n{seen}")
        seen += line


def _read(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    """Until the process ends: its output must not fill the pipe."""
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put("")
