"""A platform's receiver as a process of its own, of the standard library alone: it can be killed.

`python -m tests.webhooks.standing PORT LOG MANNER` listens on 127.0.0.1 and appends one JSON object
for each request to LOG: when it came, its body, whether its signature holds, and the answer.
MANNER is `well` (204), `busy` (503) or `forgetful`: it has the message, and ends the connection in
place of an answer, for every third one that it sees the first time.

The secret, as a setting has it, is in STANDING_SECRET. Signatures are checked here by the words of
the specification of Standard Webhooks 1.0, not by the library that the service signs with.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

TOLERANCE_S: Final = 300
FORGETS_EVERY: Final = 3


def holds(secret: str, headers: Mapping[str, str | None], body: bytes, *, now_s: float) -> bool:
    """Whether one of the signatures is this secret's, and the time of sending is near."""
    kind, _, key = secret.partition("_")
    name, sent = headers.get("webhook-id"), headers.get("webhook-timestamp")
    if kind != "whsec" or not name or not sent or not sent.isdecimal():
        return False
    signed = f"{name}.{sent}.".encode() + body
    right = base64.b64encode(hmac.digest(base64.b64decode(key), signed, hashlib.sha256)).decode()
    given = (headers.get("webhook-signature") or "").split(" ")
    near = abs(int(sent) - now_s) <= TOLERANCE_S
    return near and any(hmac.compare_digest(one, f"v1,{right}") for one in given)


class Log:
    """Lines, whole, by whichever thread; in the file before the request is answered."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("a", buffering=1, encoding="ascii")  # noqa: SIM115 (as long as the process)
        self._lock = threading.Lock()
        self._seen: set[str] = set()

    def first(self, message_id: str) -> int | None:
        """How many messages there are with this one; None: it was here before."""
        with self._lock:
            if message_id in self._seen:
                return None
            self._seen.add(message_id)
            return len(self._seen)

    def write(self, line: dict[str, object]) -> None:
        with self._lock:
            self._file.write(json.dumps(line) + "\n")


class Hooks(BaseHTTPRequestHandler):
    """One connection, kept."""

    protocol_version = "HTTP/1.1"
    log_: Log
    manner: str
    secret: str

    def do_POST(self) -> None:  # the name is http.server's
        body = self.rfile.read(int(self.headers["Content-Length"]))
        message_id = self.headers["webhook-id"]
        now_s = time.time()
        count = self.log_.first(message_id)
        forget = self.manner == "forgetful" and count is not None and count % FORGETS_EVERY == 0
        status = 503 if self.manner == "busy" else 0 if forget else 204
        self.log_.write(
            {
                "at": now_s,
                "id": message_id,
                "signed": holds(self.secret, dict(self.headers.items()), body, now_s=now_s),
                "body": body.decode("ascii"),
                "status": status,
            }
        )
        if forget:
            self.close_connection = True
            return
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""


def main(port: str, log: str, manner: str) -> None:
    Hooks.log_, Hooks.manner, Hooks.secret = Log(log), manner, os.environ["STANDING_SECRET"]
    with ThreadingHTTPServer(("127.0.0.1", int(port)), Hooks) as server:
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
