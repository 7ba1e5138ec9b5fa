"""docs/operations.md, capacity.json and capacity.svg are what the command makes of figures.toml."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from loadtest.__main__ import main
from loadtest.plan import study
from loadtest.plan.calls import Traffic
from loadtest.plan.command import CURVES, DOCS, DRAWING, PAGE
from loadtest.plan.figures import FILE, Figures, read
from loadtest.plan.fleet import LEAST_LOADED
from loadtest.plan.headroom import Scenario, curve
from loadtest.plan.table import NoMarkers, spliced, tables

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.plan.headroom import Curve

AGAIN = "run: python -m loadtest plan --page"


@pytest.fixture(scope="module")
def figures() -> Figures:
    return read()


@pytest.fixture(scope="module")
def curves() -> tuple[Curve, ...]:
    return study.read(DOCS / CURVES)


def test_what_was_simulated_is_what_is_asked_now(
    figures: Figures, curves: tuple[Curve, ...]
) -> None:
    assert tuple(one.scenario for one in curves) == study.scenarios(figures), AGAIN


def test_the_page_has_the_tables(figures: Figures, curves: tuple[Curve, ...]) -> None:
    page = (DOCS / PAGE).read_text(encoding="utf-8")
    assert spliced(page, tables(figures, curves)) == page, AGAIN


def test_the_simulation_still_says_so(curves: tuple[Curve, ...]) -> None:
    """One point of the file, simulated again."""
    wanted = next(
        one for one in curves
        if one.scenario.sessions == max(study.FLEETS) and one.scenario.tries == LEAST_LOADED
    )  # fmt: skip
    last = wanted.points[-1]
    again = curve(wanted.scenario, Traffic(sessions=1), targets=[last.target])
    assert again.points == (last,), AGAIN


def test_sources_are_sections_of_the_page_of_measurements(figures: Figures) -> None:
    heads = re.findall(
        r"^## (.+)$", (DOCS / "performance.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert set(figures.measured) <= set(heads)
    assert figures.estimated


def test_the_drawing_is_of_these_curves() -> None:
    root = ElementTree.parse(DOCS / DRAWING).getroot()
    said = " ".join(text for one in root.iter() if (text := (one.text or "").strip()))
    assert "10,000 sessions" in said
    assert "% of calls refused" in said


def test_another_cost_is_one_edit_and_one_command(
    tmp_path: Path, figures: Figures, curves: tuple[Curve, ...]
) -> None:
    """Of the same number of sessions a pod, nothing is simulated again."""
    (tmp_path / PAGE).write_text((DOCS / PAGE).read_text(encoding="utf-8"))
    (tmp_path / CURVES).write_text((DOCS / CURVES).read_text(encoding="utf-8"))
    stream = figures.streams[0]
    cheaper = dataclasses.replace(stream, ms_cpu_per_frame=stream.ms_cpu_per_frame * 0.99)
    assert figures.slots(cheaper) == figures.slots(stream)
    edited = tmp_path / "figures.toml"
    edited.write_text(
        FILE.read_text().replace(
            f"= {stream.ms_cpu_per_frame:g} ", f"= {cheaper.ms_cpu_per_frame} "
        )
    )
    assert main(["plan", "--figures", str(edited), "--page", str(tmp_path)]) == 0
    page = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert f"| {stream.name} | {cheaper.cores:.2f} |" in page
    assert study.read(tmp_path / CURVES) == curves
    assert (tmp_path / DRAWING).read_text().startswith("<?xml")


def test_a_page_without_markers_is_refused_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / PAGE).write_text("no tables here")
    assert main(["plan", "--page", str(tmp_path)]) == 1
    assert "<!-- plan:begin -->" in capsys.readouterr().err
    with pytest.raises(NoMarkers):
        spliced("<!-- plan:end --><!-- plan:begin -->", "")


def test_a_fleet_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "curve.json"
    words = "plan --sessions 2000 --streams 8 --tries 0 --growth 3600 --pod-start 30"
    assert main([*words.split(), "--json", str(out)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"keep the mean at 0\.\d\d: \d+ pods at the peak", said)
    kept = json.loads(out.read_text())
    assert kept["scenario"]["sessions"] == 2000
    assert next(one["target"] for one in kept["points"]) == 0.9


@pytest.mark.parametrize(
    "wrong", ["--sessions 0", "--sessions 5 --growth 0", "--sessions 5 --meeting-share 2"]
)
def test_wrong_options_are_named(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *wrong.split()]) == 1
    assert wrong.split()[-2] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ("cores = 2", "cores = 0", "cores"),
        ("[audio]", "[noise]", "audio"),
        ("ms_cpu_per_frame", "ms", "ms_cpu_per_frame"),
        ("cores = 2", "cores = true", "cores"),
    ],
)
def test_figures_that_are_no_figures(tmp_path: Path, was: str, becomes: str, said: str) -> None:
    wrong = tmp_path / "figures.toml"
    wrong.write_text(FILE.read_text().replace(was, becomes))
    with pytest.raises(ValueError, match=said):
        read(wrong)


def test_a_curve_ends_when_two_targets_held() -> None:
    scenario = Scenario(sessions=300, streams=8, tries=LEAST_LOADED, pod_start_s=15)
    found = curve(scenario, Traffic(sessions=1), targets=[0.9, 0.6, 0.5, 0.4], least_offered=1)
    assert [one.target for one in found.points] == [0.9, 0.6, 0.5]
    assert found.best == found.points[1]
