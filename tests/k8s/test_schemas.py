"""Every rendered resource against its schema: Kubernetes' own strictly, others by their CRD.

What an API server would do beyond that is not done here: rules in CEL (`x-kubernetes-validations`)
are not evaluated, `metadata` of a custom resource is any object, defaults are not filled in, and no
admission webhook or controller has a say. tests/k8s/crds/README.md says which rules those are.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.k8s.rendered import OPTIONAL, OVERLAYS, Resource, render, render_folder, render_with

OLDEST = "1.30"
"""The first in which a preStop hook may sleep without a feature gate of its own."""
NEWEST = "1.37"
ALONE = ("dashboards", "alerts")
"""Folders that are applied by themselves; an overlay has the second one as well."""
OWN_GROUPS = ("apps", "autoscaling", "policy", "networking.k8s.io")


def _closed(schema: Any) -> Any:
    """The schema as the API server prunes by it: what a CRD does not name is not kept."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed: dict[str, Any] = {
        key: {name: _closed(one) for name, one in value.items()}
        if key == "properties"
        else _closed(value)
        for key, value in schema.items()
    }
    if (
        isinstance(closed.get("properties"), dict)
        and "additionalProperties" not in closed
        and not closed.get("x-kubernetes-preserve-unknown-fields")
    ):
        closed["additionalProperties"] = False
    if closed.pop("x-kubernetes-int-or-string", False):
        closed.pop("type", None)
    if isinstance(closed.get("pattern"), str) and "(?i)" in closed["pattern"]:
        # Go takes this flag anywhere, Python in front.
        closed["pattern"] = "(?i)" + closed["pattern"].replace("(?i)", "")
    return closed


def _definitions() -> dict[tuple[str, str], Any]:
    found = {}
    for path in sorted((Path(__file__).parent / "crds").glob("*.yaml")):
        definition = yaml.safe_load(path.read_text())["spec"]
        for version in definition["versions"]:
            key = (f"{definition['group']}/{version['name']}", definition["names"]["kind"])
            schema = _closed(version["schema"]["openAPIV3Schema"])
            # A CRD says no more of it: the API server's own rules for names and labels hold, and
            # are not written down there.
            schema["properties"]["metadata"] = {"type": "object"}
            jsonschema.Draft202012Validator.check_schema(schema)
            found[key] = jsonschema.Draft202012Validator(schema)
    return found


CUSTOM = _definitions()
RENDERED = [
    pytest.param(one, id=f"{overlay}-{one['kind']}-{one['metadata']['name']}")
    for overlay in OVERLAYS
    for one in render(overlay)
] + [
    pytest.param(one, id=f"{overlay}-with-options-{one['kind']}-{one['metadata']['name']}")
    for overlay in OVERLAYS
    for one in render_with(overlay, *OPTIONAL)
    if one not in render(overlay)
]
RENDERED += [
    pytest.param(one, id=f"{folder}-{one['kind']}-{one['metadata']['name']}")
    for folder in ALONE
    for one in render_folder(folder)
]


def _is_custom(resource: Resource) -> bool:
    group, slash, _ = resource["apiVersion"].rpartition("/")
    return bool(slash) and group not in OWN_GROUPS


def problems(resource: Resource, versions: tuple[str, ...] = (OLDEST, NEWEST)) -> list[str]:
    """What a resource has against its schema, in words."""
    if _is_custom(resource):
        validator = CUSTOM[resource["apiVersion"], resource["kind"]]
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(resource)]
    found = []
    for version in versions:
        try:
            kubernetes_validate.validate(resource, version, strict=True)
        except kubernetes_validate.ValidationError as exc:
            found.append(f"{version}: {exc}")
    return found


@pytest.mark.parametrize("resource", RENDERED)
def test_every_resource_holds_to_its_schema(resource: Resource) -> None:
    assert problems(resource) == []


@pytest.mark.parametrize("resource", RENDERED)
def test_a_misspelt_field_would_be_found(resource: Resource) -> None:
    wrong = copy.deepcopy(resource)
    # What data may hold is free: there the misspelling goes to the top.
    spec = wrong.get("spec")
    (spec if isinstance(spec, dict) else wrong)["replicsa"] = 3
    assert problems(wrong, (NEWEST,))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_is_there_twice(overlay: str) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in render(overlay)]
    assert len(names) == len(set(names))
