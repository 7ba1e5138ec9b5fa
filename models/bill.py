"""Enters the shipped models into a bill of materials: `python models/bill.py BOM.json`.

scripts/sbom runs it after cyclonedx-py, which sees Python packages alone. A model is no package:
what it is, its digest, licence and origin stand in manifest.toml.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

MANIFEST = Path(__file__).parent / "manifest.toml"


def components(manifest: Path = MANIFEST) -> list[dict[str, Any]]:
    """The models as CycloneDX 1.6 components, in the manifest's order."""
    return [
        {
            "bom-ref": f"model:{model['name']}",
            "type": "machine-learning-model",
            "name": model["name"],
            "description": f"{model['purpose']}; made from {model['origin']['path']} "
            f"of {model['origin']['package']}",
            "hashes": [{"alg": "SHA-256", "content": model["sha256"]}],
            "licenses": [{"license": {"id": model["licence"]}}],
        }
        for model in tomllib.loads(manifest.read_text())["model"]
    ]


def enter(bom: dict[str, Any], models: list[dict[str, Any]]) -> None:
    """Adds them beside the packages, as what the application depends on, in place of older ones."""
    names = {model["bom-ref"] for model in models}
    kept = [one for one in bom.get("components", []) if one.get("bom-ref") not in names]
    bom["components"] = kept + models
    root = bom["metadata"]["component"]["bom-ref"]
    dependencies = [one for one in bom.get("dependencies", []) if one["ref"] not in names]
    for one in dependencies:
        if one["ref"] == root:
            one["dependsOn"] = sorted({*one.get("dependsOn", []), *names})
    bom["dependencies"] = dependencies + [{"ref": name} for name in sorted(names)]


def main(path: Path) -> None:
    bom = json.loads(path.read_text())
    enter(bom, components())
    path.write_text(json.dumps(bom, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
