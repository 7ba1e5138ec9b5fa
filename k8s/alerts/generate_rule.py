"""Wraps backcloth.rules.yaml as the Prometheus operator's custom resource, prometheusrule.yaml.

    .venv/bin/python k8s/alerts/generate_rule.py

The rules are kept as Prometheus itself reads them, so that promtool checks and tests the very text
that is used; the result is checked in, and a test compares.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
RULES: Final = HERE / "backcloth.rules.yaml"
WRAPPED: Final = HERE / "prometheusrule.yaml"
HEAD: Final = """\
# Written by generate_rule.py from backcloth.rules.yaml: change that file and run it again.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: backcloth
  labels:
    app.kubernetes.io/name: backcloth
    app.kubernetes.io/component: alerts
spec:
"""


def wrapped(rules: str) -> str:
    """The custom resource: the rules' text below `spec`, as it stands."""
    groups = rules[rules.index("groups:\n") :]
    return HEAD + textwrap.indent(groups, "  ")


def main() -> None:
    """Write it."""
    WRAPPED.write_text(wrapped(RULES.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
