"""A real Prometheus on 127.0.0.1 that scrapes services once a second, with the project's rules."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.running import Service, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
RULES = ROOT / "k8s" / "alerts" / "backcloth.rules.yaml"
NAMESPACE = "meet"
START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 10
QUERY_TIMEOUT_S = 20


class NoPrometheus(Exception):
    """There is none on this machine."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer: (Unix time, value), values that are no number left out."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that runs; `url` has no slash at its end."""

    url: str

    def query(self, expr: str) -> list[Series]:
        """The answer now. Raises RuntimeError with Prometheus's words where it refuses."""
        found = self._get("query", query=expr)["result"]
        if isinstance(found, list) and found and not isinstance(found[0], dict):
            return [_series({"metric": {}, "values": [found]})]
        return [_series(one) for one in found]

    def query_range(self, expr: str, start: float, end: float, step_s: float) -> list[Series]:
        """The answers at each step."""
        asked = {"query": expr, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step_s:g}"}
        return [_series(one) for one in self._get("query_range", **asked)["result"]]

    def label_values(self, label: str, series: str) -> list[str]:
        """What a board's variable offers."""
        found: list[str] = self._get(f"label/{label}/values", **{"match[]": series})
        return found

    def _get(self, path: str, **asked: str) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(asked)}"
        try:
            with urllib.request.urlopen(url, timeout=QUERY_TIMEOUT_S) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as exc:
            raise RuntimeError(f"{asked}: {json.load(exc).get('error')}") from exc


@contextmanager
def prometheus(folder: Path, services: Mapping[str, Service]) -> Iterator[Prometheus]:
    """Starts one whose data is in `folder`, and ends it. Each service has a pod's name."""
    program = shutil.which("prometheus")
    if program is None:
        raise NoPrometheus("no prometheus on this machine (Debian: apt-get install prometheus)")
    configuration = folder / "prometheus.yml"
    configuration.write_text(json.dumps(_configuration(services)))  # JSON is YAML
    port = free_port()
    log = folder / "prometheus.log"
    with log.open("w") as words:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={configuration}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
            stdout=words,
            stderr=subprocess.STDOUT,
        )
        made = Prometheus(f"http://127.0.0.1:{port}")
        try:
            _wait_until_ready(made, process, log)
            yield made
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_TIMEOUT_S)


def _configuration(services: Mapping[str, Service]) -> dict[str, Any]:
    jobs = []
    for pod, service in services.items():
        scheme, _, address = service.url.partition("://")
        job: dict[str, Any] = {
            "job_name": f"backcloth-{pod}",
            "scheme": scheme,
            "static_configs": [
                {"targets": [address], "labels": {"namespace": NAMESPACE, "pod": pod}}
            ],
        }
        if scheme == "https":
            job["tls_config"] = {"ca_file": service.environ["BACKCLOTH_TLS_CERT"]}
        jobs.append(job)
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": jobs,
    }


def _wait_until_ready(made: Prometheus, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{made.url}/-/ready", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("Prometheus did not start:\n" + log.read_text())


def _series(one: dict[str, Any]) -> Series:
    samples = one["values"] if "values" in one else [one["value"]]
    numbers = ((float(at), float(value)) for at, value in samples)
    return Series(one["metric"], tuple((at, v) for at, v in numbers if math.isfinite(v)))
