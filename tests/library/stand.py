"""A server that speaks S3, in a process of its own, and pictures to put."""

from __future__ import annotations

import io
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from PIL import Image

from tests.running import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

START_TIMEOUT_S = 60
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "library",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_REGION": "eu-central-1",
}


class Failures(Counter[str]):
    """Counts what fails, by operation."""

    def library_failed(self, operation: str) -> None:
        self[operation] += 1


@contextmanager
def s3_server() -> Iterator[str]:
    """Its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                make_bucket(url, "ready")
                break
            except urllib.error.URLError:
                assert process.poll() is None, "the S3 server ended"
                assert time.monotonic() < deadline_s, "the S3 server did not start"
                time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait(START_TIMEOUT_S)


def make_bucket(url: str, name: str) -> None:
    request = urllib.request.Request(f"{url}/{name}", method="PUT", data=b"")
    request.add_header("Authorization", "AWS4-HMAC-SHA256 Credential=library/a/us-east-1/s3/b")
    with urllib.request.urlopen(request, timeout=5) as answer:
        answer.read()


def picture(
    color: tuple[int, int, int], size: tuple[int, int] = (320, 180), kind: str = "PNG"
) -> bytes:
    """An encoded picture of one colour."""
    out = io.BytesIO()
    Image.new("RGB", size, color).save(out, kind)
    return out.getvalue()


RED, BLUE = picture((200, 0, 0)), picture((0, 0, 200))


def anything(_: str | None) -> None:
    """The condition that always holds."""
