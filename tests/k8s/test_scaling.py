"""Both autoscalers follow the same figure in the same way, and neither counts a pod that drains."""

from __future__ import annotations

import asyncio
import shutil
import signal
from typing import TYPE_CHECKING, Any

import aiohttp
import aioice.ice
import pytest
import yaml

from tests.k8s.live import wait_for
from tests.k8s.prometheus import NAMESPACE, RULES, prometheus
from tests.k8s.rendered import K8S, only
from tests.peers import Camera, Client
from tests.rtc.pictures import moving_picture
from tests.running import running

if TYPE_CHECKING:
    from pathlib import Path

LONG_S = "600"
RATIO = "backcloth_capacity_ratio"


def component(name: str) -> dict[str, Any]:
    """A component's own file: overlays may change the target."""
    spec: dict[str, Any] = yaml.safe_load((K8S / "components" / name).read_text())["spec"]
    return spec


def test_keda_scales_as_the_autoscaler_does() -> None:
    own, keda = component("hpa/horizontalpodautoscaler.yaml"), component("keda/scaledobject.yaml")
    assert keda["scaleTargetRef"] == own["scaleTargetRef"]
    assert keda["minReplicaCount"] == own["minReplicas"]
    assert keda["maxReplicaCount"] == own["maxReplicas"]
    assert keda["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == own["behavior"]
    (trigger,) = keda["triggers"]
    (metric,) = own["metrics"]
    target = metric["pods"]["target"]
    assert trigger["metricType"] == target["type"] == "AverageValue"
    milli = target["averageValue"].removesuffix("m")
    assert float(trigger["metadata"]["threshold"]) == int(milli) / 1000


def query() -> str:
    """KEDA's, of the overlay that has it, for the namespace that the test's Prometheus gives."""
    (trigger,) = only("production-stunner", "ScaledObject")["spec"]["triggers"]
    text: str = trigger["metadata"]["query"]
    assert text.count('namespace="backcloth"') == 2
    return text.replace('namespace="backcloth"', f'namespace="{NAMESPACE}"')


def recorded(name: str) -> str:
    """What a recorded series stands for."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    (found,) = (
        rule["expr"] for group in groups for rule in group["rules"] if rule.get("record") == name
    )
    return str(found)


@pytest.mark.peer
@pytest.mark.model
@pytest.mark.timeout(180)
async def test_a_pod_that_drains_is_not_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two pods one drains with a call on it, and says that it is full."""
    if shutil.which("prometheus") is None:
        pytest.skip("no prometheus on this machine (Debian: apt-get install prometheus)")
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    with (
        running(CPU_CORES="8", DRAIN_S=LONG_S) as leaving,
        running(CPU_CORES="8") as staying,
        prometheus(tmp_path, {"leaving": leaving, "staying": staying}) as made,
    ):
        async with aiohttp.ClientSession() as http:
            async with http.post(f"{staying.url}/v1/sessions", json={}) as answer:
                assert answer.status == 201, await answer.text()
            async with http.post(f"{leaving.url}/v1/sessions", json={}) as answer:
                opened = await answer.json()
            client = Client(Camera(moving_picture))
            sdp = {"Content-Type": "application/sdp"}
            async with http.post(
                f"{leaving.url}{opened['rtc_url']}",
                data=await client.offer(),
                headers=sdp,
            ) as answer:
                await client.accept(await answer.text())
            await client.frames(5, timeout_s=60)
            await asyncio.to_thread(wait_for, made, f"count({RATIO} > 0) == 2", timeout_s=30)
            (before,) = made.query(query())
            (own,) = made.query(f'{RATIO}{{pod="staying"}}')
            assert own.points[0][1] < before.points[0][1] < 1

            leaving.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(wait_for, made, "backcloth_draining == 1", timeout_s=30)
            (plain,) = made.query(f"sum({RATIO})")
            assert plain.points[0][1] == pytest.approx(1 + own.points[0][1])
            (asked,) = made.query(query())
            assert asked.points[0][1] == pytest.approx(own.points[0][1])
            # The mean of BackclothNoRoom leaves it out as well.
            (mean,) = made.query(recorded("namespace:backcloth_capacity:avg"))
            assert mean.points[0][1] == pytest.approx(own.points[0][1])
            await client.close()
            leaving.process.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(leaving.process.wait, 30) == 0
