"""The models in a bill of materials."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import bill

MODELS = Path(bill.__file__).parent


def bom() -> dict[str, Any]:
    """As cyclonedx-py writes one, in short."""
    return {
        "metadata": {"component": {"bom-ref": "root-component", "name": "backcloth"}},
        "components": [{"bom-ref": "aiohttp==1", "name": "aiohttp"}],
        "dependencies": [{"ref": "aiohttp==1"}, {"ref": "root-component", "dependsOn": ["x"]}],
    }


def test_every_shipped_model_is_there_with_its_files_digest() -> None:
    digests = {hashlib.sha256(file.read_bytes()).hexdigest() for file in MODELS.glob("*.onnx")}
    entered = bill.components()
    assert {one["hashes"][0]["content"] for one in entered} == digests
    assert {one["licenses"][0]["license"]["id"] for one in entered} == {"Apache-2.0"}
    assert all("mediapipe==0.10.14" in one["description"] for one in entered)


def test_the_application_depends_on_them_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "bom.json"
    path.write_text(json.dumps(bom()))
    bill.main(path)
    once = path.read_text()
    bill.main(path)
    assert path.read_text() == once, "entering them again changes nothing"
    made = json.loads(once)
    references = [one["bom-ref"] for one in made["components"]]
    assert references[0] == "aiohttp==1"
    models = references[1:]
    assert len(models) == len(list(MODELS.glob("*.onnx")))
    (root,) = (one for one in made["dependencies"] if one["ref"] == "root-component")
    assert root["dependsOn"] == sorted(["x", *models])
    assert {one["ref"] for one in made["dependencies"]} == {"root-component", *references}
