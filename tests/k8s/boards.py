"""The generated dashboards, read as Grafana reads them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[2] / "k8s" / "dashboards"
NAMES = ("overview", "stages", "quality", "webrtc", "fleet", "admission")


@dataclass(frozen=True, slots=True)
class Asked:
    """One query of one panel."""

    board: str
    panel: str
    expr: str

    def filled(self, *, rate_interval: str) -> str:
        """With everything chosen in the board's variables."""
        return filled(self.expr, rate_interval=rate_interval)


def load(name: str) -> dict[str, Any]:
    """A board as it is checked in."""
    made: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return made


def queries() -> Iterator[Asked]:
    """Of every panel of every board, and of the boards' annotations."""
    for name in NAMES:
        board = load(name)
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                yield Asked(name, panel["title"], target["expr"])
        for note in board["annotations"]["list"]:
            yield Asked(name, f"annotation {note['name']}", note["expr"])


def filled(expr: str, *, rate_interval: str) -> str:
    """An expression with all namespaces and pods chosen."""
    text = expr.replace("$__rate_interval", rate_interval)
    return text.replace("$namespace", ".*").replace("$pod", ".*")
