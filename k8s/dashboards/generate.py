"""Writes the Grafana dashboards, one JSON file each, beside this script.

    .venv/bin/python k8s/dashboards/generate.py [--check]

The files are checked in, so that nothing has to be run to import them; a test generates them anew
and compares. They need Grafana 10 or newer and a Prometheus data source.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import Final

from boards import Board, all_boards
from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from panels import SOURCE

HERE: Final = Path(__file__).resolve().parent
TAG: Final = "backcloth"


def text(board: Board) -> str:
    """A board as the JSON that Grafana imports."""
    built = _dashboard(board).build()
    return json.dumps(built, cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def files() -> dict[Path, str]:
    """Every generated file and what it holds."""
    return {HERE / f"{board.name}.json": text(board) for board in all_boards()}


def main() -> int:
    """Write them, or say which ones differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where one differs")
    checking = parser.parse_args().check
    stale = []
    for path, content in files().items():
        if path.exists() and path.read_text(encoding="utf-8") == content:
            continue
        stale.append(path.name)
        if not checking:
            path.write_text(content, encoding="utf-8")
    print("up to date" if not stale else f"{'stale' if checking else 'written'}: {stale}")
    return 1 if checking and stale else 0


def _dashboard(board: Board) -> dashboard.Dashboard:
    made = (
        dashboard.Dashboard(board.title)
        .uid(f"backcloth-{board.name}")
        .description(board.about)
        .tags([TAG])
        .refresh("10s")
        .time("now-30m", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .editable()
        .link(
            dashboard.DashboardLink("Backcloth")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(as_dropdown=False)
            .include_vars(include_vars=True)
            .keep_time(keep_time=True)
        )
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
        .with_variable(_choice("namespace", "Namespace", "backcloth_build_info"))
        .with_variable(_choice("pod", "Pod", 'backcloth_build_info{namespace=~"$namespace"}'))
        .annotation(
            dashboard.AnnotationQuery()
            .name("Alerts")
            .datasource(SOURCE)
            .expr('ALERTS{alertname=~"Backcloth.+",alertstate="firing"}')
            .enable(enable=True)
            .icon_color("red")
        )
    )
    numbers = itertools.count(1)
    for row in board.rows:
        made.with_row(dashboard.Row(row.title).id(next(numbers)))
        for panel in row.panels:
            made.with_panel(panel.id(next(numbers)))
    return made


def _choice(label: str, shown: str, series: str) -> dashboard.QueryVariable:
    """A variable of the label's values; "All" also matches series without the label, which is what
    a Prometheus outside Kubernetes has."""
    return (
        dashboard.QueryVariable(label)
        .label(shown)
        .datasource(SOURCE)
        .query(f"label_values({series}, {label})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


if __name__ == "__main__":
    sys.exit(main())
