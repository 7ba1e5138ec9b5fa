"""The bill of materials, made by scripts/sbom as a release makes it, against the lock."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bill
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.download, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 570
PINNED = re.compile(r"^(\w[^\s\\]*==[^\\\n]+?)\s*\\?$", re.MULTILINE)
UNREACHED = (
    "No matching distribution",
    "Could not find a version",
    "ConnectionError",
    "Max retries",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("sbom") / "sbom.cdx.json"
    ended = subprocess.run(
        [ROOT / "scripts" / "sbom", path],
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    if ended.returncode and any(one in ended.stderr for one in UNREACHED):
        pytest.skip("the packages cannot be had: " + ended.stderr[-500:])
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def locked() -> Iterator[tuple[str, str]]:
    """Name and version of what is installed on this machine's kind of system and Python."""
    for line in PINNED.findall((ROOT / "requirements" / "runtime.txt").read_text()):
        one = Requirement(line)
        if one.marker is None or one.marker.evaluate():
            (pin,) = one.specifier
            yield canonicalize_name(one.name), pin.version


def test_every_package_of_the_lock_is_there_with_its_version(made: dict[str, Any]) -> None:
    packages = [one for one in made["components"] if one["type"] == "library"]
    listed = {(canonicalize_name(one["name"]), one["version"]) for one in packages}
    assert len(listed) == len(packages)
    wanted = set(locked())
    assert len(wanted) > 40
    # No more than these: pip itself, and what makes the bill, are not what the image runs.
    assert listed == wanted
    for one in packages:
        assert one["purl"].startswith(f"pkg:pypi/{canonicalize_name(one['name'])}@")


def test_every_shipped_model_is_there(made: dict[str, Any]) -> None:
    models = [one for one in made["components"] if one["type"] == "machine-learning-model"]
    assert models == bill.components()
    assert len(models) == len(list((ROOT / "models").glob("*.onnx")))


def test_it_is_of_this_service_and_names_no_place(made: dict[str, Any]) -> None:
    root = made["metadata"]["component"]
    assert (made["specVersion"], root["name"], root["type"]) == ("1.6", "backcloth", "application")
    references = {one["bom-ref"] for one in made["components"]}
    (of_root,) = (one for one in made["dependencies"] if one["ref"] == root["bom-ref"])
    assert {one["bom-ref"] for one in bill.components()} <= set(of_root["dependsOn"]) <= references
    assert str(ROOT) not in json.dumps(made)
