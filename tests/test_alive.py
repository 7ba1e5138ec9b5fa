"""`python -m service.alive` against a real service, a closed port and a wrong configuration."""

from __future__ import annotations

import subprocess
import sys

import pytest

from service.alive import trouble
from tests.running import ROOT, environment, free_port, running


def asked(**settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service.alive"],
        cwd=ROOT,
        env=environment({f"BACKCLOTH_{name}": value for name, value in settings.items()}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.model
def test_a_service_that_answers_is_alive_until_it_stops() -> None:
    with running() as service:
        port = str(service.port)
        assert asked(PORT=port).returncode == 0
        # As the image has it: asked on this machine, wherever it listens.
        everywhere = {"HOST": "0.0.0.0", "API_KEYS": "k" * 16}
        assert asked(PORT=port, **everywhere).returncode == 0
        assert service.stop() == 0
        stopped = asked(PORT=port)
        assert stopped.returncode == 1
        assert f"127.0.0.1 port {port}" in stopped.stderr


def test_a_wrong_setting_is_told() -> None:
    said = trouble({"BACKCLOTH_PORT": "no"})
    assert said is not None
    assert "BACKCLOTH_PORT" in said


def test_plain_http_where_tls_is_set_is_not_alive(tmp_path_factory: pytest.TempPathFactory) -> None:
    pem = tmp_path_factory.mktemp("tls") / "cert.pem"
    pem.write_text("not read by who asks")
    environ = {
        "BACKCLOTH_PORT": str(free_port()),
        "BACKCLOTH_TLS_CERT": str(pem),
        "BACKCLOTH_TLS_KEY": str(pem),
    }
    said = trouble(environ)
    assert said is not None
    assert "127.0.0.1 port" in said


def test_the_check_loads_nothing_heavy() -> None:
    code = "import sys, service.alive; print(*sorted({n.partition('.')[0] for n in sys.modules}))"
    loaded = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).split()
    assert not {"numpy", "cv2", "aiohttp", "av", "onnxruntime"} & set(loaded)
