"""The components that no overlay has: the one way out that each opens."""

from __future__ import annotations

import ipaddress
import re
import textwrap
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import yaml

from service.policy.addresses import METADATA
from service.settings import load
from tests.k8s.rendered import (
    K8S,
    OPTIONAL,
    OVERLAYS,
    of_kind,
    only,
    render,
    render_own,
    render_with,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.k8s.rendered import Resource

KEYED = {
    "BACKCLOTH_API_KEYS": "k" * 16,
    "BACKCLOTH_TOKEN_SECRETS": "t" * 32,
    "BACKCLOTH_FLEET_SECRETS": "f" * 32,
    "BACKCLOTH_FLEET_ADDRESS": "192.0.2.7",
}


def settings_of(resources: Iterable[Resource]) -> dict[str, str]:
    (found,) = (
        one["data"]
        for one in resources
        if one["kind"] == "ConfigMap" and one["metadata"]["name"].startswith("backcloth-")
    )
    return dict(found)


def rules_of(overlay: str, option: str) -> list[dict[str, Any]]:
    (policy,) = (
        one
        for one in render_with(overlay, option)
        if one["kind"] == "NetworkPolicy" and one["metadata"]["name"] == f"backcloth-{option}"
    )
    labels = only(overlay, "Deployment")["spec"]["template"]["metadata"]["labels"]
    spec = policy["spec"]
    # It adds a way out, and neither opens nor closes a way in.
    assert set(spec) == {"podSelector", "policyTypes", "egress"}
    assert spec["policyTypes"] == ["Egress"]
    assert spec["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["metadata"]["namespace"] == only(overlay, "Deployment")["metadata"]["namespace"]
    rules: list[dict[str, Any]] = spec["egress"]
    return rules


def test_these_are_the_components_that_no_overlay_has() -> None:
    texts = [(K8S / "overlays" / one / "kustomization.yaml").read_text() for one in OVERLAYS]
    there = {one.name for one in (K8S / "components").iterdir()}
    unused = {one for one in there if not any(f"components/{one}" in text for text in texts)}
    assert unused == set(OPTIONAL)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_without_them_nothing_is_on_and_no_way_is_open(overlay: str) -> None:
    names = {one["metadata"]["name"] for one in of_kind(overlay, "NetworkPolicy")}
    assert names <= {"backcloth"}
    found = settings_of(render(overlay))
    assert not {"BACKCLOTH_OTEL_ENDPOINT", "BACKCLOTH_LIBRARY"} & set(found)


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("option", OPTIONAL)
def test_all_else_stays_as_it_is(overlay: str, option: str) -> None:
    added = [one for one in render_with(overlay, option) if one not in render(overlay)]
    assert [(one["kind"], one["metadata"]["name"]) for one in added] == [
        ("NetworkPolicy", f"backcloth-{option}")
    ]
    assert len(render_with(overlay, option)) == len(render(overlay)) + 1


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_traces_go_to_the_collector_alone(overlay: str) -> None:
    (rule,) = rules_of(overlay, "tracing")
    (target,) = rule["to"]
    # Both in one: these pods in that namespace, and not either of the two.
    assert set(target) == {"namespaceSelector", "podSelector"}
    parts = urlsplit(load(documented()).otel_endpoint or "")
    assert rule["ports"] == [{"port": parts.port, "protocol": "TCP"}]
    name, _, namespace = (parts.hostname or "").partition(".")
    assert target["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": namespace}
    assert target["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": name}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pictures_go_to_public_addresses_alone(overlay: str) -> None:
    (rule,) = rules_of(overlay, "library")
    assert rule["ports"] == [{"port": 443, "protocol": "TCP"}]
    assert [set(target) for target in rule["to"]] == [{"ipBlock"}] * 2
    blocks = [target["ipBlock"] for target in rule["to"]]
    inside = ("10.1.2.3", "172.31.0.1", "192.168.1.1", "100.64.0.1", "127.0.0.1",
              "169.254.169.254", "64:ff9b::a9fe:a9fe", "fe80::1", "::1")  # fmt: skip
    for text in (*inside, *map(str, METADATA)):
        assert not reaches(blocks, text), text
    for text in ("52.95.110.1", "2600:1fa0::1"):
        assert reaches(blocks, text), text


def documented() -> dict[str, str]:
    """The settings of the overlay that docs/operations.md shows, rendered; with keys."""
    text = (K8S.parent / "docs/operations.md").read_text()
    (block,) = (
        one for one in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "components:" in one
    )
    resources = render_own(yaml.safe_load(textwrap.dedent(block)))
    names = {one["metadata"]["name"] for one in resources if one["kind"] == "NetworkPolicy"}
    assert names == {"backcloth", "backcloth-tracing", "backcloth-library"}
    found = settings_of(resources)
    assert found["BACKCLOTH_LIBRARY"] == "s3://your-bucket/library"
    (deployment,) = (one for one in resources if one["kind"] == "Deployment")
    (given,) = deployment["spec"]["template"]["spec"]["containers"][0]["envFrom"]
    assert given["configMapRef"]["name"] in {one["metadata"]["name"] for one in resources}
    return found | KEYED


def reaches(blocks: Iterable[dict[str, Any]], text: str) -> bool:
    address = ipaddress.ip_address(text)
    return any(
        address in ipaddress.ip_network(block["cidr"])
        and not any(address in ipaddress.ip_network(one) for one in block["except"])
        for block in blocks
        if ipaddress.ip_network(block["cidr"]).version == address.version
    )
