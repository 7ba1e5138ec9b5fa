"""The autoscaler's rule, against figures that are worked out by hand."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from loadtest.plan import study
from loadtest.plan.autoscaler import Autoscaler, Scaling
from loadtest.plan.command import CURVES, DOCS, PAGE
from loadtest.plan.figures import read
from loadtest.plan.fleet import PASSED_ON
from tests.k8s.rendered import only

MANIFEST = Path(__file__).parents[3] / "k8s" / "components" / "hpa" / "horizontalpodautoscaler.yaml"
SCALING = Scaling(target=0.7)


def test_it_is_the_one_of_the_manifest() -> None:
    spec = yaml.safe_load(MANIFEST.read_text())["spec"]
    up, down = spec["behavior"]["scaleUp"], spec["behavior"]["scaleDown"]
    percent, pods = up["policies"]
    assert up["stabilizationWindowSeconds"] == 0
    assert up["selectPolicy"] == "Max"
    assert percent["value"] / 100 == SCALING.up_share
    assert pods["value"] == SCALING.up_pods
    assert percent["periodSeconds"] == pods["periodSeconds"] == SCALING.up_period_s
    assert down["stabilizationWindowSeconds"] == SCALING.down_window_s
    (one,) = down["policies"]
    assert (one["value"], one["periodSeconds"]) == (SCALING.down_pods, SCALING.down_period_s)
    assert spec["minReplicas"] == SCALING.least_pods


def asked(now_s: float, pods: int, mean: float, rule: Autoscaler, seen: int | None = None) -> int:
    seen = pods if seen is None else seen
    return rule.pods(now_s, pods=pods, seen=seen, ratio_sum=mean * seen)


def test_up_in_proportion_and_at_once() -> None:
    assert asked(0, 10, 0.9, Autoscaler(SCALING)) == 13  # 10 * 0.9 / 0.7 = 12.9
    assert asked(0, 10, 0.76, Autoscaler(SCALING)) == 10  # within a tenth of the target
    assert asked(0, 10, 0.7, Autoscaler(SCALING)) == 10


def test_pods_that_start_count_as_empty() -> None:
    assert asked(0, 11, 0.9, Autoscaler(SCALING), seen=10) == 13  # 9 / 0.7
    assert asked(0, 12, 0.9, Autoscaler(SCALING), seen=10) == 12  # 9 of 12 are within the tolerance
    assert asked(0, 13, 0.9, Autoscaler(SCALING), seen=10) == 13  # what is wanted is on its way


def test_no_more_than_twice_as_many_in_half_a_minute() -> None:
    rule = Autoscaler(Scaling(target=0.1))
    assert asked(0, 2, 1.0, rule) == 4  # two more, or twice as many
    assert asked(15, 4, 1.0, rule) == 4
    assert asked(30, 4, 1.0, rule) == 8


def test_down_by_one_after_the_window() -> None:
    rule = Autoscaler(SCALING)
    assert asked(0, 10, 0.7, rule) == 10
    pods = 10
    when = []
    for now_s in range(15, 1500, 15):
        wanted = asked(now_s, pods, 0.3 * 10 / pods, rule)
        if wanted != pods:
            when.append(now_s)
            assert wanted == pods - 1
        pods = wanted
    assert when[0] == 915
    assert all(later - earlier == 120 for earlier, later in pairwise(when))


def test_never_below_the_least_nor_without_a_metric() -> None:
    rule = Autoscaler(Scaling(target=0.7, down_window_s=0))
    assert asked(0, 2, 0.0, rule) == 2
    assert rule.pods(15, pods=5, seen=0, ratio_sum=0.0) == 5


def test_targets_are_those_of_the_tables() -> None:
    """The fullest that refuse a call in a thousand at most, whichever the fleet and its streams."""
    figures, curves = read(), study.read(DOCS / CURVES)
    at_hand = study.target(figures, curves, pod_start_s=study.POD_START_S)
    node_first = study.target(figures, curves, pod_start_s=study.NODE_START_S)
    assert at_hand is not None
    assert node_first is not None
    assert node_first < at_hand

    own = yaml.safe_load(MANIFEST.read_text())
    assert average(own) == at_hand
    (trigger,) = only("production-stunner", "ScaledObject")["spec"]["triggers"]
    assert float(trigger["metadata"]["threshold"]) == at_hand
    # One pod a node: the next pod's node has to come first.
    spec = only("production", "Deployment")["spec"]["template"]["spec"]
    (rule,) = spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert rule["topologyKey"] == "kubernetes.io/hostname"
    assert average(only("production", "HorizontalPodAutoscaler")) == node_first

    page = " ".join((DOCS / PAGE).read_text(encoding="utf-8").split())
    for said in (
        f"{at_hand:g} where a pod finds room on a node that is there (60 s)",
        f"{node_first:g} where a node has to come first (240 s)",
        f"{node_first:g} in `production`, where each pod needs a node of its own",
        f"{at_hand:g} in `production-stunner`, for nodes that have room",
        f"({at_hand:g}, or {node_first:g} where a machine has to come first",
    ):
        assert said in page, said


def test_no_target_where_a_row_has_none() -> None:
    figures, curves = read(), study.read(DOCS / CURVES)
    hopeless = [
        dataclasses.replace(one, points=one.points[:1]) if one.scenario.tries == PASSED_ON else one
        for one in curves
    ]
    assert study.target(figures, hopeless, pod_start_s=study.POD_START_S) is None
    assert study.target(figures, (), pod_start_s=study.POD_START_S) is None


def average(scaler: dict[str, Any]) -> float:
    """The target that a HorizontalPodAutoscaler names, in thousandths."""
    (metric,) = scaler["spec"]["metrics"]
    value: str = metric["pods"]["target"]["averageValue"]
    assert value.endswith("m")
    return int(value[:-1]) / 1000
