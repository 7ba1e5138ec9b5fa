"""Every expression of dashboards and rules, asked of a Prometheus that scrapes live services."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

import promql_parser
import pytest
import yaml

from tests.k8s.boards import filled, load, queries
from tests.k8s.live import BUSY, IDLE, OTHER, exercised, live, wait_for
from tests.k8s.prometheus import NAMESPACE, RULES, Prometheus

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.peer, pytest.mark.model, pytest.mark.timeout(300)]

LOADED_S = 20
RATE_INTERVAL = "60s"
EXPECTED_ALERTS = {"BackclothCertificateExpiresNow"}
"""The test's certificate lasts two days."""
ONLY_WHERE_SET = ("backcloth_webhook_deliveries_total", "backcloth_jwks_age_seconds")
"""Neither webhooks nor a key set are configured here."""
COMPARISONS = {">", "<", ">=", "<=", "==", "!="}
CONDITIONS = {"and", "or"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    if shutil.which("prometheus") is None:
        pytest.skip("no prometheus on this machine (Debian: apt-get install prometheus)")
    with (
        live(tmp_path_factory.mktemp("prometheus")) as running_now,
        exercised(running_now, seconds=LOADED_S),
    ):
        wait_for(running_now.prometheus, "ALERTS", timeout_s=30)
        yield running_now.prometheus


def test_every_query_of_every_board_returns_data(made: Prometheus) -> None:
    asked = list(queries())
    assert len(asked) > 80
    empty = []
    for one in asked:
        found = made.query(one.filled(rate_interval=RATE_INTERVAL))
        if not any(series.points for series in found):
            empty.append(f"{one.board}: {one.panel}: {one.expr}")
    assert not empty


def test_what_falls_back_to_0_has_more_to_say(made: Prometheus) -> None:
    """An expression that ends in `or vector(0)` returns data whatever stands before it."""
    falling = [one for one in queries() if "vector(0)" in one.expr]
    # The certificate's alert fires here, so that alerts are counted.
    assert {one.panel for one in falling} == {"Effect over the rest", "Alerts that fire"}
    for one in falling:
        asked, fallback = one.expr.split(" or ")
        assert fallback == "vector(0)"
        (found,) = made.query(filled(asked, rate_interval=RATE_INTERVAL))
        assert found.points[0][1] > 0, one
        (with_it,) = made.query(one.filled(rate_interval=RATE_INTERVAL))
        assert with_it.points[0][1] > 0, one


def test_variables_offer_what_runs(made: Prometheus) -> None:
    choices = {one["name"]: one["query"] for one in load("fleet")["templating"]["list"][1:]}
    found = {}
    for label, asked in choices.items():
        parts = re.fullmatch(r"label_values\((.+), (\w+)\)", asked)
        assert parts is not None
        assert parts[2] == label
        found[label] = made.label_values(label, filled(parts[1], rate_interval=RATE_INTERVAL))
    assert found == {"namespace": [NAMESPACE], "pod": [BUSY, IDLE, OTHER]}


def test_one_pod_can_be_chosen(made: Prometheus) -> None:
    for one in queries():
        text = one.expr.replace("$pod", IDLE)
        for series in made.query(filled(text, rate_interval=RATE_INTERVAL)):
            assert series.labels.get("pod", IDLE) == IDLE or "ALERTS" in text


def rules() -> list[dict[str, Any]]:
    return [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]


def spelled_out(expr: str) -> str:
    """With the recorded names replaced by what they stand for: they are recorded twice a minute."""
    for rule in rules():
        if "record" in rule:
            expr = re.sub(rf"(?<![\w:]){re.escape(rule['record'])}", f"({rule['expr']})", expr)
    return expr


def compared(expr: Any) -> str:
    """What an alert compares with its bound: the left side, of the first of conditions."""
    if isinstance(expr, promql_parser.BinaryExpr) and str(expr.op) in COMPARISONS | CONDITIONS:
        return compared(expr.lhs)
    return str(expr)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_every_rule_asks_for_something_that_there_is(
    made: Prometheus, rule: dict[str, Any]
) -> None:
    text = spelled_out(rule["expr"])
    made.query(text)  # is not refused
    asked = compared(promql_parser.parse(text)) if "alert" in rule else text
    if any(one in text for one in ONLY_WHERE_SET) or asked.startswith("absent("):
        return
    assert any(series.points for series in made.query(asked)), asked


def test_a_healthy_service_alerts_nobody(made: Prometheus) -> None:
    fired = {one.labels["alertname"] for one in made.query('ALERTS{alertstate="firing"}')}
    assert fired == EXPECTED_ALERTS
    # Others may wait to see whether it lasts: these machines are slow, and a refusal was provoked.
    waiting = {one.labels["alertname"] for one in made.query("ALERTS")} - fired
    assert "BackclothCertificateExpiring" in waiting


def test_raw_frames_are_none_and_the_figures_agree(made: Prometheus) -> None:
    (raw,) = made.query(f'backcloth_raw_frames_total{{pod="{BUSY}"}}')
    assert raw.points[0][1] == 0
    (sent,) = made.query(f'backcloth_frames_total{{pod="{BUSY}",event="sent"}}')
    assert sent.points[0][1] > LOADED_S * 30
    # Left out for max_fps, or for a quality level with fewer frames where the machine is slow.
    meant = f'sum(backcloth_frames_dropped_total{{pod="{BUSY}",reason=~"max_fps|quality"}})'
    (limited,) = made.query(meant)
    assert limited.points[0][1] > 0
    (left,) = made.query("min(backcloth_tls_certificate_expiry_timestamp_seconds) - time()")
    assert 86_400 < left.points[0][1] < 2 * 86_400
