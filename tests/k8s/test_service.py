"""The manifests say what the code does: settings, ports, probes, metrics, times."""

from __future__ import annotations

import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import pytest
import yaml

from service.server import SHUTDOWN_TIMEOUT_S, WEBHOOK_FLUSH_S
from service.session.registry import DRAIN_TIMEOUT_S
from service.setting_rules import PREFIX
from service.settings import Settings, load
from service.web.app import create_app
from tests.k8s.rendered import K8S, OVERLAYS, container, of_kind, only, pod, render, walk

if TYPE_CHECKING:
    from aiohttp import web

IMAGE_UID = 10001
ADDRESS = "192.0.2.7"
SECRETS = {
    "api-keys": "k" * 16,
    "token-secrets": "s" * 32,
    "fleet-secrets": "f" * 32,
    "ice-servers": '[{"urls": "turn:192.0.2.1:3478", "username": "u", "credential": "c"}]',
}
METRIC = re.compile(r"(?<![\w:])backcloth_[a-z_]+(?![\w:])")
"""As it is exported: a recorded series has colons in its name."""


def environment(overlay: str, secrets: Path) -> dict[str, str]:
    """A container's environment as the kubelet would make it, secrets mounted at `secrets`."""
    found: dict[str, str] = {}
    for source in container(overlay)["envFrom"]:
        found |= only(overlay, "ConfigMap", source["configMapRef"]["name"])["data"]
    mounts = {one["name"]: one["mountPath"] for one in container(overlay)["volumeMounts"]}
    for variable in container(overlay)["env"]:
        value = variable.get("value")
        if value is None:
            path = variable["valueFrom"]["fieldRef"]["fieldPath"]
            assert path in ("status.podIP", "status.hostIP")
            value = ADDRESS
        for place in mounts.values():
            value = value.replace(place, str(secrets))
        found[variable["name"]] = value
    return found


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    for name, text in SECRETS.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture(scope="module")
def app() -> web.Application:
    """The application's routes; no part of it is called."""
    nothing = cast("Any", SimpleNamespace(move_to=""))
    return create_app(
        registry=nothing,
        pictures=nothing,
        models=nothing,
        tokens=nothing,
        metrics=nothing,
        cpu=nothing,
        capacity=lambda: 0.0,
        page_dir=Path(__file__).parents[2] / "service/web/page",
        api_keys=["k" * 16],
    )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_service_starts_with_these_settings(overlay: str, mounted: Path) -> None:
    environ = environment(overlay, mounted)
    assert [name for name in environ if not name.startswith(PREFIX)] == []
    settings = load(environ)
    assert not settings.development
    # A cluster's log store reads objects.
    assert settings.log_format == "json"
    assert settings.api_keys == (SECRETS["api-keys"],)
    assert settings.token_secrets == (SECRETS["token-secrets"],)
    assert settings.ice_addresses == (ADDRESS,)
    assert bool(settings.ice_servers) == (overlay == "production-stunner")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_find_each_other_and_may_call(overlay: str, mounted: Path) -> None:
    settings = load(environment(overlay, mounted))
    assert settings.fleet_secrets == (SECRETS["fleet-secrets"],)
    (url,) = settings.fleet
    service = only(overlay, "Service", urlsplit(url).hostname)["spec"]
    # Every pod by its own address, those that drain too, on the port that they listen on.
    assert service["clusterIP"] == "None"
    assert service["publishNotReadyAddresses"] is True
    labels = only(overlay, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert urlsplit(url).port == settings.port
    variables = {one["name"]: one for one in container(overlay)["env"]}
    field = variables["BACKCLOTH_FLEET_ADDRESS"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert field == "status.podIP"
    for policy in of_kind(overlay, "NetworkPolicy"):
        spec = policy["spec"]
        for rules, side in ((spec["ingress"], "from"), (spec["egress"], "to")):
            assert any(
                {"port": "http", "protocol": "TCP"} in rule["ports"]
                and any(
                    one["podSelector"].get("matchLabels", {}).items() <= labels.items()
                    for one in rule.get(side, ())
                    if set(one) == {"podSelector"}
                )
                for rule in rules
            )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_secret_is_in_the_environment(overlay: str) -> None:
    for variable in container(overlay)["env"]:
        assert "secretKeyRef" not in variable.get("valueFrom", {})
    (volume,) = (one for one in pod(overlay)["volumes"] if "secret" in one)
    keys = {item["key"] for item in volume["secret"]["items"]}
    files = {
        Path(one["value"]).name
        for one in container(overlay)["env"]
        if one["name"].endswith("_FILE")
    }
    assert files == keys
    # The group may read and nobody else; fsGroup is that group.
    assert volume["secret"]["defaultMode"] == 0o440
    assert pod(overlay)["securityContext"]["fsGroup"] == IMAGE_UID


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_ports_are_the_services(overlay: str, mounted: Path) -> None:
    settings = load(environment(overlay, mounted))
    defaults = Settings()
    assert (settings.port, settings.udp_ports) == (defaults.port, defaults.udp_ports)
    ports = {one["name"]: one["containerPort"] for one in container(overlay)["ports"]}
    assert ports == {"http": settings.port}
    for service in of_kind(overlay, "Service"):
        assert [one["targetPort"] for one in service["spec"]["ports"]] == ["http"]
    for policy in of_kind(overlay, "NetworkPolicy"):
        media = [
            (port["port"], port["endPort"])
            for rule in policy["spec"]["ingress"]
            for port in rule["ports"]
            if port["protocol"] == "UDP"
        ]
        assert media == [settings.udp_ports]
    for route in of_kind(overlay, "UDPRoute"):
        (backend,) = route["spec"]["rules"][0]["backendRefs"]
        assert (backend["port"], backend["endPort"]) == settings.udp_ports
        assert only(overlay, "Service", backend["name"])["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_probes_ask_what_the_application_answers(
    overlay: str, probe: str, app: web.Application
) -> None:
    asked = container(overlay)[probe]["httpGet"]
    paths = {resource.canonical for resource in app.router.resources()}
    assert asked["path"] in paths
    assert asked["path"] == ("/healthz" if probe == "livenessProbe" else "/readyz")
    assert asked["port"] == "http"


def test_prometheus_reads_where_the_metrics_are(app: web.Application) -> None:
    paths = {resource.canonical for resource in app.router.resources()}
    for overlay in ("production", "production-stunner"):
        (endpoint,) = only(overlay, "PodMonitor")["spec"]["podMetricsEndpoints"]
        assert endpoint["path"] in paths
        assert endpoint["port"] == container(overlay)["ports"][0]["name"]


def exported() -> set[str]:
    """Every name that /metrics has: tests/test_metrics.py holds this text against the service."""
    text = (Path(__file__).parents[1] / "metrics.expected.txt").read_text()
    return set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))


def test_queries_name_metrics_that_exist() -> None:
    known = exported()
    asked = set()
    for overlay in OVERLAYS:
        for resource in render(overlay):
            for one in walk(resource):
                for key in ("expr", "query"):
                    if isinstance(one.get(key), str):
                        asked |= set(METRIC.findall(one[key]))
        for scaler in of_kind(overlay, "HorizontalPodAutoscaler"):
            asked |= {one["pods"]["metric"]["name"] for one in scaler["spec"]["metrics"]}
    assert "backcloth_capacity_ratio" in asked
    names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert {name for name in names if ":" not in name} <= known


def test_the_adapters_rule_makes_the_metric_that_the_autoscaler_reads() -> None:
    text = (K8S / "components/hpa/prometheus-adapter.yaml").read_text()
    (rule,) = yaml.safe_load(text)["rules"]["custom"]
    (metric,) = only("production", "HorizontalPodAutoscaler")["spec"]["metrics"]
    assert rule["name"]["as"] == metric["pods"]["metric"]["name"]
    series = METRIC.match(rule["seriesQuery"])
    assert series is not None
    assert series[0] in exported()
    assert re.fullmatch(rule["name"]["matches"], series[0])
    assert set(rule["resources"]["overrides"]) == {"namespace", "pod"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_never_two_autoscalers(overlay: str) -> None:
    scalers = [
        one for one in render(overlay) if one["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")
    ]
    deployment = only(overlay, "Deployment")
    expected = {"dev": [], "production": ["HorizontalPodAutoscaler"]}
    assert [one["kind"] for one in scalers] == expected.get(overlay, ["ScaledObject"])
    for scaler in scalers:
        target = scaler["spec"]["scaleTargetRef"]
        assert target["kind"] == "Deployment"
        assert target["name"] == deployment["metadata"]["name"]
    # Each apply of a fixed number would undo what the autoscaler did.
    assert ("replicas" in deployment["spec"]) == (not scalers)


@pytest.mark.parametrize("overlay", ["production", "production-stunner"])
def test_the_namespace_in_a_query_is_the_overlays(overlay: str) -> None:
    namespace = only(overlay, "Deployment")["metadata"]["namespace"]
    for scaler in of_kind(overlay, "ScaledObject"):
        for trigger in scaler["spec"]["triggers"]:
            assert f'namespace="{namespace}"' in trigger["metadata"]["query"]
    for one in of_kind(overlay, "GatewayClass"):
        reference = one["spec"]["parametersRef"]
        assert reference["namespace"] == namespace
        assert only(overlay, "GatewayConfig")["metadata"]["name"] == reference["name"]
        gateway = only(overlay, "Gateway")
        assert gateway["spec"]["gatewayClassName"] == one["metadata"]["name"]
        (parent,) = only(overlay, "UDPRoute")["spec"]["parentRefs"]
        assert parent["name"] == gateway["metadata"]["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_there_is_time_to_drain(overlay: str, mounted: Path) -> None:
    sleep_s = container(overlay)["lifecycle"]["preStop"]["sleep"]["seconds"]
    probe = container(overlay)["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] <= 10
    moving_s = load(environment(overlay, mounted)).drain_s
    needed_s = math.ceil(
        sleep_s + moving_s + DRAIN_TIMEOUT_S + SHUTDOWN_TIMEOUT_S + WEBHOOK_FLUSH_S
    )
    assert pod(overlay)["terminationGracePeriodSeconds"] >= needed_s + 5


def test_alerts_are_applied_where_they_are_written() -> None:
    if not (K8S / "alerts" / "kustomization.yaml").exists():
        pytest.skip("no k8s/alerts")
    written = yaml.safe_load((K8S / "alerts/prometheusrule.yaml").read_text())
    for overlay in ("production", "production-stunner"):
        names = {one["metadata"]["name"] for one in of_kind(overlay, "PrometheusRule")}
        assert written["metadata"]["name"] in names
