"""The dashboards: generated anew they are the same, and whole: titles, units, places, links."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from service.metrics import Metrics
from tests.k8s.boards import FOLDER, NAMES, load, queries
from tests.k8s.rendered import render_folder

EXPECTED = Path(__file__).parents[1] / "metrics.expected.txt"
WIDTH = 24
MODULES = ("generate", "boards", "panels")
FROM_RULES = {"ALERTS"}
PICTURES = Path(__file__).parents[2] / "docs" / "boards"
LARGEST_PICTURE_BYTES = 200_000


def panels(name: str) -> list[dict[str, Any]]:
    return [one for one in load(name)["panels"] if one["type"] != "row"]


def test_generated_anew_they_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    try:
        made = importlib.import_module("generate").files()
    finally:
        for module in MODULES:
            sys.modules.pop(module, None)
    assert {path.stem for path in made} == set(NAMES) == {one.stem for one in FOLDER.glob("*.json")}
    stale = [path.name for path, text in made.items() if path.read_text(encoding="utf-8") != text]
    assert not stale, "run k8s/dashboards/generate.py"


def test_kustomize_takes_every_board() -> None:
    (made,) = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["configMapGenerator"]
    assert made["files"] == [f"{name}.json" for name in NAMES]
    # A ConfigMap has room for 1 MiB, and kubectl apply writes it into an annotation of 256 KiB.
    assert sum((FOLDER / one).stat().st_size for one in made["files"]) < 200_000


def test_grafanas_sidecar_finds_each_board_as_it_is() -> None:
    (rendered,) = render_folder("dashboards")
    assert (rendered["kind"], rendered["metadata"]["name"]) == ("ConfigMap", "backcloth-dashboards")
    assert rendered["metadata"]["labels"] == {"grafana_dashboard": "1"}
    assert "namespace" not in rendered["metadata"], "it is applied where Grafana is"
    files = {f"{name}.json": (FOLDER / f"{name}.json").read_text() for name in NAMES}
    assert rendered["data"] == files


@pytest.mark.parametrize("name", NAMES)
def test_each_panel_says_what_it_shows(name: str) -> None:
    board = load(name)
    assert board["uid"] == f"backcloth-{name}"
    assert board["description"]
    numbers = [one["id"] for one in board["panels"]]
    assert numbers == sorted(set(numbers))
    for panel in panels(name):
        assert panel["title"]
        assert len(panel["description"]) > 5, panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert "$pod" in target["expr"] or "ALERTS" in target["expr"], target["expr"]
        if panel["type"] not in {"table", "heatmap"}:
            assert panel["fieldConfig"]["defaults"]["unit"]
    titles = [panel["title"] for panel in panels(name)]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("name", NAMES)
def test_panels_fill_the_grid_and_never_overlap(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in load(name)["panels"]:
        at = panel["gridPos"]
        mine = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not mine & taken, panel["title"]
        taken |= mine
    assert {x for x, _ in taken} == set(range(WIDTH))
    height = max(y for _, y in taken) + 1
    assert len(taken) == WIDTH * height, "there are holes"


@pytest.mark.parametrize("name", NAMES)
def test_variables_choose_source_namespace_and_pod(name: str) -> None:
    board = load(name)
    variables = {one["name"]: one for one in board["templating"]["list"]}
    assert list(variables) == ["datasource", "namespace", "pod"]
    assert variables["datasource"]["query"] == "prometheus"
    for choice in (variables["namespace"], variables["pod"]):
        assert choice["allValue"] == ".*"
        assert choice["multi"]
        assert "backcloth_build_info" in choice["query"]
    (link,) = board["links"]
    assert link["tags"] == board["tags"] == ["backcloth"]
    assert link["includeVars"]
    assert link["keepTime"]


@pytest.mark.parametrize(
    "asked", list(queries()), ids=lambda asked: f"{asked.board}: {asked.panel}"
)
def test_expressions_parse_and_name_metrics_that_exist(asked: Any) -> None:
    text = asked.filled(rate_interval="5m")
    promql_parser.parse(text)
    exposed = EXPECTED.read_text() + Metrics().exposition()[0].decode()
    known = set(re.findall(r"^(\w+)[{ ]", exposed, re.MULTILINE)) | FROM_RULES
    named = set(re.findall(r"\b(?:(?:backcloth|process)_\w+|ALERTS)\b", text))
    assert named
    assert named <= known


@pytest.mark.parametrize("name", NAMES)
def test_the_documentation_has_a_picture(name: str) -> None:
    picture = PICTURES / f"{name}.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < LARGEST_PICTURE_BYTES
    page = (PICTURES.parent / "operations.md").read_text(encoding="utf-8")
    assert f"(boards/{name}.png)" in page
