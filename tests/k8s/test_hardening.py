"""What a pod may not do, what binds it, and that every selector finds the service's pods."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

import pytest

from tests.k8s.rendered import (
    OPTIONAL,
    OVERLAYS,
    container,
    of_kind,
    only,
    pod,
    render,
    render_with,
)

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("options", [(), OPTIONAL], ids=["as it is", "with options"])
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_of_the_node_and_nothing_to_write_to(
    overlay: str, options: tuple[str, ...]
) -> None:
    resources = render_with(overlay, *options) if options else render(overlay)
    (deployment,) = (one for one in resources if one["kind"] == "Deployment")
    spec = deployment["spec"]["template"]["spec"]
    # Secrets, and the rules for tenants where there are any.
    kinds = [(set(volume) - {"name"}).pop() for volume in spec["volumes"]]
    assert kinds.count("secret") == 1
    assert sorted(kinds) == sorted(["secret"] + ["configMap"] * ("policy" in options))
    assert all(len(volume) == 2 for volume in spec["volumes"])
    (first,) = spec["containers"]
    assert len(first["volumeMounts"]) == len(kinds)
    for mount in first["volumeMounts"]:
        assert mount["readOnly"] is True


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_may_do_nothing_that_it_need_not(overlay: str) -> None:
    context = pod(overlay)["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert user is not None
    assert (context["runAsUser"], context["runAsGroup"]) == tuple(map(int, user.groups()))
    own = container(overlay)["securityContext"]
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod(overlay)["automountServiceAccountToken"] is False
    assert only(overlay, "ServiceAccount")["automountServiceAccountToken"] is False
    assert pod(overlay)["enableServiceLinks"] is False
    # Kubernetes refuses net.* sysctls with hostNetwork, and most nodes refuse the unsafe ones.
    assert "sysctls" not in context


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_resources_are_bounded(overlay: str) -> None:
    resources = container(overlay)["resources"]
    assert {"cpu", "memory"} <= set(resources["limits"])
    if overlay != "dev":
        assert resources["requests"] == resources["limits"]
        assert resources["requests"]["cpu"] == "2"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_selector_finds_the_pods(overlay: str) -> None:
    template = only(overlay, "Deployment")["spec"]["template"]
    labels = template["metadata"]["labels"].items()
    selectors = [only(overlay, "Deployment")["spec"]["selector"]["matchLabels"]]
    selectors += [one["spec"]["selector"] for one in of_kind(overlay, "Service")]
    for kind in ("PodDisruptionBudget", "PodMonitor"):
        selectors += [one["spec"]["selector"]["matchLabels"] for one in of_kind(overlay, kind)]
    policies = of_kind(overlay, "NetworkPolicy")
    selectors += [one["spec"]["podSelector"]["matchLabels"] for one in policies]
    spread = template["spec"]["topologySpreadConstraints"]
    assert {one["topologyKey"] for one in spread} == {
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    }
    selectors += [one["labelSelector"]["matchLabels"] for one in spread]
    for selector in selectors:
        assert selector
        assert selector.items() <= labels


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_network_policy_stands_where_it_binds(overlay: str) -> None:
    on_the_nodes_network = pod(overlay).get("hostNetwork", False)
    assert on_the_nodes_network == (overlay == "production")
    assert bool(of_kind(overlay, "NetworkPolicy")) == (not on_the_nodes_network)
    source = {
        one["name"]: one["valueFrom"]["fieldRef"]["fieldPath"]
        for one in container(overlay)["env"]
        if "valueFrom" in one
    }
    address = "status.hostIP" if on_the_nodes_network else "status.podIP"
    assert source["BACKCLOTH_ICE_ADDRESSES"] == address
    if on_the_nodes_network:
        assert pod(overlay)["dnsPolicy"] == "ClusterFirstWithHostNet"
        (rule,) = pod(overlay)["affinity"]["podAntiAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]
        assert rule["topologyKey"] == "kubernetes.io/hostname"


@pytest.mark.parametrize("overlay", ["dev", "production-stunner"])
def test_no_pod_reaches_the_clouds_credentials(overlay: str) -> None:
    blocks = [
        target["ipBlock"]
        for rule in only(overlay, "NetworkPolicy")["spec"]["egress"]
        for target in rule["to"]
        if "ipBlock" in target
    ]
    assert len(blocks) == 2
    for address in ("169.254.169.254", "fd00:ec2::254"):
        asked = ipaddress.ip_address(address)
        for block in blocks:
            network = ipaddress.ip_network(block["cidr"])
            if asked.version == network.version and asked in network:
                assert any(asked in ipaddress.ip_network(one) for one in block["except"])


@pytest.mark.parametrize("overlay", ["production", "production-stunner"])
def test_no_secret_is_written_down(overlay: str) -> None:
    assert not of_kind(overlay, "Secret")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_all_is_in_the_overlays_namespace(overlay: str) -> None:
    (namespace,) = (one["metadata"]["name"] for one in of_kind(overlay, "Namespace"))
    for resource in render(overlay):
        if resource["kind"] not in ("Namespace", "GatewayClass"):
            assert resource["metadata"]["namespace"] == namespace
    enforced = only(overlay, "Namespace")["metadata"]["labels"]
    expected = "privileged" if overlay == "production" else "restricted"
    assert enforced["pod-security.kubernetes.io/enforce"] == expected
