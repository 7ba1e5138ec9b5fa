"""The components that no overlay has: the one way out that each opens, and the policy file."""

from __future__ import annotations

import base64
import io
import ipaddress
import re
import textwrap
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import yaml
from PIL import Image

from service.parts import read_logos
from service.policy.addresses import METADATA
from service.policy.policy_file import read_policy
from service.policy.rules import Rules
from service.settings import load
from tests.k8s.rendered import (
    K8S,
    OPTIONAL,
    OVERLAYS,
    container,
    of_kind,
    only,
    render,
    render_own,
    render_with,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from service.settings import Settings
    from tests.k8s.rendered import Resource

WAYS_OUT = ("tracing", "library", "outbound")
POLICY = "BACKCLOTH_POLICY_FILE"
KEYED = {
    "BACKCLOTH_API_KEYS": "k" * 16,
    "BACKCLOTH_TOKEN_SECRETS": "t" * 32,
    "BACKCLOTH_FLEET_SECRETS": "f" * 32,
    "BACKCLOTH_FLEET_ADDRESS": "192.0.2.7",
}


def settings_of(resources: Iterable[Resource]) -> dict[str, str]:
    (found,) = (one["data"] for one in resources if is_generated(one, "backcloth"))
    return dict(found)


def is_generated(one: Resource, name: str) -> bool:
    """Whether it is the ConfigMap of that name, which a digest follows."""
    pattern = rf"{name}-[a-z0-9]{{10}}"
    return one["kind"] == "ConfigMap" and bool(re.fullmatch(pattern, one["metadata"]["name"]))


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
    assert not {"BACKCLOTH_OTEL_ENDPOINT", "BACKCLOTH_LIBRARY", "BACKCLOTH_WEBHOOK_URL"} & set(
        found
    )
    assert "BACKCLOTH_POLICY_FILE" not in {one["name"] for one in container(overlay)["env"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("option", WAYS_OUT)
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
@pytest.mark.parametrize(
    ("option", "ports"),
    [
        ("library", [443]),
        # Webhooks, key sets, SFUs: HTTPS. TURN over TCP, and over TLS.
        ("outbound", [443, 3478, 5349]),
    ],
)
def test_what_is_called_is_public_addresses_alone(
    overlay: str, option: str, ports: list[int]
) -> None:
    (rule,) = rules_of(overlay, option)
    assert rule["ports"] == [{"port": port, "protocol": "TCP"} for port in ports]
    assert [set(target) for target in rule["to"]] == [{"ipBlock"}] * 2
    blocks = [target["ipBlock"] for target in rule["to"]]
    inside = ("10.1.2.3", "172.31.0.1", "192.168.1.1", "100.64.0.1", "127.0.0.1",
              "169.254.169.254", "64:ff9b::a9fe:a9fe", "fe80::1", "::1")  # fmt: skip
    for text in (*inside, *map(str, METADATA)):
        assert not reaches(blocks, text), text
    for text in ("52.95.110.1", "2600:1fa0::1"):
        assert reaches(blocks, text), text


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_policy_file_is_mounted_read_only_and_changes_nothing(
    overlay: str, tmp_path: Path
) -> None:
    resources = render_with(overlay, "policy")
    added = [one for one in resources if one not in render(overlay)]
    assert [one["kind"] for one in added] == ["ConfigMap", "Deployment"]
    assert len(resources) == len(render(overlay)) + 1
    settings = settings_with_policy(resources, tmp_path)
    assert settings.policy_file is not None
    # With the example every session, of whatever tenant, may do what it may without a file.
    policy = read_policy(settings.policy_file)
    assert policy.tenants.rules("") == policy.tenants.rules("anybody") == Rules()
    assert not policy.logos


def test_the_documented_policy_and_its_logo_are_taken(tmp_path: Path) -> None:
    own = page_block("yaml", "kind: Component")
    (generator,) = yaml.safe_load(own)["configMapGenerator"]
    toml, logo = (f"rules/{name}" for name in generator["files"])
    picture = io.BytesIO()
    Image.new("RGBA", (64, 32), (200, 30, 30, 128)).save(picture, "PNG")
    # The policy that the page has for tenants names that logo.
    rules = page_block("toml", "[tenants.acme]")
    files = {
        "rules/kustomization.yaml": own.encode(),
        toml: rules.encode(),
        logo: picture.getvalue(),
    }
    resources = render_own(example("components/policy"), files)
    (made,) = (one for one in resources if is_generated(one, "backcloth-policy"))
    assert set(made["data"]) == {"policy.toml"}
    assert set(made["binaryData"]) == {"acme.png"}
    settings = settings_with_policy(resources, tmp_path)
    assert settings.policy_file is not None
    policy = read_policy(settings.policy_file)
    assert policy.tenants.rules("acme").logo == "acme"
    assert set(read_logos(policy)) == {"acme"}


def test_behind_a_nat_a_stun_server_is_named() -> None:
    """As docs/operations.md has it, in an overlay of one's own on top of `production`."""
    shown = yaml.safe_load(page_block("yaml", "BACKCLOTH_ICE_SERVERS"))
    own = {"namespace": "backcloth", "resources": ["../production"], "components": [], **shown}
    settings = load(settings_of(render_own(own)) | KEYED)
    assert [one.urls for one in settings.ice_servers] == [("stun:stun.example.com:3478",)]
    assert settings.advertised_address is None


def settings_with_policy(resources: Iterable[Resource], folder: Path) -> Settings:
    """What the service reads, with the policy's ConfigMap written into `folder` as the kubelet
    mounts it."""
    resources = list(resources)
    (deployment,) = (one for one in resources if one["kind"] == "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    (first,) = spec["containers"]
    (volume,) = (one for one in spec["volumes"] if "configMap" in one)
    (mount,) = (one for one in first["volumeMounts"] if one["name"] == volume["name"])
    assert mount["readOnly"] is True
    (made,) = (one for one in resources if is_generated(one, "backcloth-policy"))
    assert volume["configMap"]["name"] == made["metadata"]["name"]
    for name, text in made.get("data", {}).items():
        (folder / name).write_text(text)
    for name, text in made.get("binaryData", {}).items():
        (folder / name).write_bytes(base64.b64decode(text))
    (variable,) = (one for one in first["env"] if one["name"] == POLICY)
    path = PurePosixPath(variable["value"])
    assert path.parent == PurePosixPath(mount["mountPath"])
    return load(settings_of(resources) | KEYED | {POLICY: str(folder / path.name)})


def page_block(language: str, has: str) -> str:
    """The one of docs/operations.md that has this in it."""
    text = (K8S.parent / "docs/operations.md").read_text()
    blocks = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    (block,) = (one for one in blocks if has in one)
    return textwrap.dedent(block)


def example(component: str) -> Resource:
    """The overlay of one's own that the page shows for it."""
    shown: Resource = yaml.safe_load(page_block("yaml", component))
    return shown


def documented() -> dict[str, str]:
    """The settings of the overlay that docs/operations.md shows, rendered; with keys."""
    resources = render_own(example("components/tracing"))
    names = {one["metadata"]["name"] for one in resources if one["kind"] == "NetworkPolicy"}
    assert names == {"backcloth"} | {f"backcloth-{one}" for one in WAYS_OUT}
    found = settings_of(resources)
    assert found["BACKCLOTH_LIBRARY"] == "s3://your-bucket/library"
    assert load(found | KEYED).jwks_url == "https://login.example.com/.well-known/jwks.json"
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
