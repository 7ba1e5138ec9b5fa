"""The real service as a process of its own, on 127.0.0.1, for tests that call it from outside."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[1]
COMMAND = (sys.executable, "-m", "service", "serve")
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 15


@dataclass(slots=True)
class Service:
    """One process; `url` has no slash at its end."""

    port: int
    environ: dict[str, str]
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        scheme = "https" if "BACKCLOTH_TLS_CERT" in self.environ else "http"
        return f"{scheme}://{self.environ.get('BACKCLOTH_HOST', '127.0.0.1')}:{self.port}"

    @property
    def trust(self) -> ssl.SSLContext | None:
        """What a client of it by HTTPS needs: its own certificate is trusted."""
        certificate = self.environ.get("BACKCLOTH_TLS_CERT")
        return ssl.create_default_context(cafile=certificate) if certificate else None

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """Tells it to stop; its exit status."""
        self.process.send_signal(sign)
        return self.process.wait(STOP_TIMEOUT_S)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(STOP_TIMEOUT_S)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with these BACKCLOTH_ settings and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BACKCLOTH_")}
    return kept | dict(settings)


@contextmanager
def running(
    port: int | None = None, /, *, wrapper: Sequence[str] = (), **environ: str
) -> Iterator[Service]:
    """Starts the service, waits until it answers, ends it. `environ` without the prefix;
    `wrapper` is a command that becomes the one given after it."""
    port = port or free_port()
    first_udp = 42000 + (os.getpid() % 150) * 100
    settings = {
        # Tests end their service when they are done: nobody is left to move.
        "BACKCLOTH_DRAIN_S": "0",
        "BACKCLOTH_ICE_ADDRESSES": "127.0.0.1",
        # A browser on this machine may tell of an address that is neither public nor private.
        "BACKCLOTH_PEER_NETWORKS": "0.0.0.0/0,::/0",
        "BACKCLOTH_UDP_PORTS": f"{first_udp}-{first_udp + 99}",
        **{f"BACKCLOTH_{name}": value for name, value in environ.items()},
    }
    process = subprocess.Popen(
        [*wrapper, *COMMAND, "--port", str(port)],
        cwd=ROOT,
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    service = Service(port, settings, process)
    listening = threading.Event()
    reader = threading.Thread(target=_read, args=(service, listening))
    reader.start()
    try:
        if not listening.wait(START_TIMEOUT_S) or process.poll() is not None:
            raise RuntimeError("the service did not start:\n" + "".join(service.lines))
        # Development mode knows 127.0.0.1, and none of the other addresses of this machine.
        ready = urllib.request.Request(f"{service.url}/readyz", headers={"Host": "localhost"})
        with urllib.request.urlopen(
            ready, timeout=START_TIMEOUT_S, context=service.trust
        ) as answer:
            answer.read()
        yield service
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_TIMEOUT_S)
        reader.join(STOP_TIMEOUT_S)
        if process.stdout is not None:
            process.stdout.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _read(service: Service, listening: threading.Event) -> None:
    """Until the process ends: its output must not fill the pipe."""
    assert service.process.stdout is not None
    for line in service.process.stdout:
        service.lines.append(line)
        if str(service.port) in line:
            listening.set()
    listening.set()
