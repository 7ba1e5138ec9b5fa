"""`python -m service.alive`: exit status 0 when the service of this environment answers /healthz.

For HEALTHCHECK, in an image without curl. It reads the same variables as the service and imports
the standard library alone, so that a check costs little. Kubernetes asks over HTTP by itself.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys
from typing import TYPE_CHECKING, Final

from service import settings as configuration
from service.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S: Final = 2.0
"""Below the Dockerfile's --timeout, so that the reason is told."""
PATH: Final = "/healthz"
THIS_MACHINE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (asked, not bound)


def trouble(environ: Mapping[str, str]) -> str | None:
    """Why the service is not alive; None when it is."""
    try:
        settings = configuration.load(environ)
    except SettingsError as exc:
        return str(exc)
    host = THIS_MACHINE.get(settings.host, settings.host)
    try:
        status = _ask(host, settings.port, tls=settings.tls_cert is not None)
    except (OSError, http.client.HTTPException) as exc:
        return f"{host} port {settings.port}: {exc or type(exc).__name__}"
    return None if status == http.client.OK else f"{PATH} answered {status}"


def _ask(host: str, port: int, *, tls: bool) -> int:
    if tls:
        # The certificate is for the name that clients use, and is not what is checked here:
        # nothing is sent, and nothing but a status is read.
        context = ssl._create_unverified_context()  # noqa: S323
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, port, timeout=TIMEOUT_S, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", PATH, headers={"Connection": "close"})
        return connection.getresponse().status
    finally:
        connection.close()


if __name__ == "__main__":
    found = trouble(os.environ)
    if found is not None:
        sys.exit(f"backcloth: not alive: {found}")
