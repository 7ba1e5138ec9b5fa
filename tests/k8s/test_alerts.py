"""Rules and alerts: checked and unit-tested by promtool, and held against docs and metrics."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.metrics import DECISIONS, DROP_REASONS, Metrics

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "k8s" / "alerts"
RULES = ALERTS / "backcloth.rules.yaml"
TESTS = ALERTS / "backcloth.tests.yaml"
FIXED = ("summary", "description", "runbook")


def groups(path: Path = RULES) -> list[dict[str, Any]]:
    return list(yaml.safe_load(path.read_text())["groups"])


def alerts() -> dict[str, dict[str, Any]]:
    every = [rule for group in groups() for rule in group["rules"]]
    return {rule["alert"]: rule for rule in every if "alert" in rule}


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool on this machine (Debian: apt-get install prometheus)")
    return found


@pytest.mark.parametrize("asked", [["check", "rules", RULES.name], ["test", "rules", TESTS.name]])
def test_promtool_passes(promtool: str, asked: list[str]) -> None:
    ended = subprocess.run(
        [promtool, *asked], cwd=ALERTS, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "SUCCESS" in ended.stdout


def test_each_alert_is_tested_to_fire_and_to_be_silent() -> None:
    fires: set[str] = set()
    silent: set[str] = set()
    for one in yaml.safe_load(TESTS.read_text())["tests"]:
        for check in one["alert_rule_test"]:
            (fires if check["exp_alerts"] else silent).add(check["alertname"])
    assert fires == silent == set(alerts())


def test_each_alert_has_words_a_severity_and_a_runbook_section() -> None:
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
    for name, rule in alerts().items():
        assert rule["labels"] == {"severity": rule["labels"]["severity"]}
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert tuple(rule["annotations"]) == FIXED
        page, _, section = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/operations.md"
        assert section in anchors, name
        assert name.lower().startswith("backcloth")
    assert alerts()["BackclothRawFrames"]["labels"]["severity"] == "page"
    assert "for" not in alerts()["BackclothRawFrames"], "raw frames page at once"


def test_the_custom_resource_holds_the_same_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ALERTS))
    generate_rule = importlib.import_module("generate_rule")
    try:
        text = generate_rule.WRAPPED.read_text()
        assert text == generate_rule.wrapped(RULES.read_text())
    finally:
        sys.modules.pop("generate_rule")
    made = yaml.safe_load(text)
    assert made["kind"] == "PrometheusRule"
    assert made["spec"]["groups"] == groups()


def test_reasons_that_rules_name_are_label_values() -> None:
    known = {*DROP_REASONS, *(why for _, why in DECISIONS if why)}
    named = re.findall(r'reason(?:=~|!=|=)"([^"]+)"', RULES.read_text())
    assert named
    assert {word for one in named for word in one.split("|")} <= known


def test_metrics_that_rules_name_exist() -> None:
    metrics = Metrics()
    text = (ROOT / "tests/metrics.expected.txt").read_text() + metrics.exposition()[0].decode()
    exported = set(re.findall(r"^(\w+)[{ ]", text, re.MULTILINE))
    named = set(re.findall(r"\b(?<!:)(?:backcloth|process)_\w+(?!\w*:)", _expressions()))
    # Counted where webhooks are configured.
    assert named - exported <= {"backcloth_webhook_deliveries_total"}


def _expressions() -> str:
    every = [rule for group in groups() for rule in group["rules"]]
    recorded = "|".join(re.escape(rule["record"]) for rule in every if "record" in rule)
    return "\n".join(re.sub(recorded, "", rule["expr"]) for rule in every)
