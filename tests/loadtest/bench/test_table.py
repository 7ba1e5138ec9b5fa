"""The tables are well-formed Markdown, and go between the markers and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loadtest.bench.ledger import Ledger
from loadtest.bench.rows import Kind
from loadtest.bench.summary import summarise
from loadtest.bench.table import BEGIN, END, NoMarkers, spliced, tables_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.bench.figures import Figures
    from loadtest.bench.rows import Row

ABOUT = {
    "date": "2026-01-02", "version": "1.2.3", "command": "scripts/bench --quick",
    "machine": "a CPU, 2 cores", "software": "Python 3.11", "server_core": 0, "client_core": 1,
    "awake": True,
    "pairs": 2, "seconds": 3, "naive": "python -m loadtest.example_server --port {port}",
}  # fmt: skip
MICRO = {
    "models": {
        "models": [
            {"name": "here", "installed": True, "cpu_ms_median": 1.234, "cpu_ms_p95": 2.0},
            {"name": "absent", "installed": False},
        ]
    },
    "frames": {
        "frames": [
            {"clip": "a|b", "width": 640, "height": 360, "asked": 0.5, "network_ms": 1.0,
             "total_ms": 2.0, "ratio": 2.0}
        ]
    },
}  # fmt: skip


def tables_in(text: str) -> list[list[list[str]]]:
    """The cells of each table: header, rule, rows."""
    found: list[list[list[str]]] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("|"):
            if not inside:
                found.append([])
            cells = line.replace("\\|", "").strip("|").split("|")
            found[-1].append([cell.strip() for cell in cells])
        inside = line.startswith("|")
    return found


@pytest.fixture
def ledger(row: Row, figures: Callable[..., Figures]) -> Ledger:
    ledger = Ledger(None, {})
    floor = {f"{stage}_ms": 0.7 for stage in ("decode", "prepare", "person", "blend", "encode")}
    floor |= {"total_ms": 3.5, "tight_ms": 3.2, "codecs_percent": 6.1}
    for pair, ms in enumerate((11.0, 10.0)):
        ledger.enter(row, pair, Kind.COLOR, {"figures": figures().as_json()})
        ledger.enter(row, pair, Kind.NAIVE, {"figures": figures(cpu_ms_per_frame=ms).as_json()})
        ledger.enter(row, pair, Kind.FLOOR, floor)
    return ledger


def test_every_row_has_the_headers_cells(row: Row, ledger: Ledger) -> None:
    text = tables_of([summarise(row, ledger, 2)] * 3, ABOUT, MICRO, [])
    tables = tables_in(text)
    assert len(tables) == 7
    for header, rule, *rows in tables:
        assert set(rule) == {"---"}
        assert {len(line) for line in (rule, *rows)} == {len(header)}
    assert [len(one) - 2 for one in tables] == [3, 3, 3, 3, 3, 1, 1]
    assert "scripts/bench --quick" in text
    assert "2026-01-02" in text
    assert "kept from halting" in text
    assert "absent" not in text


def test_cells(row: Row, ledger: Ledger) -> None:
    beside, floor, effect, *_ = tables_in(tables_of([summarise(row, ledger, 2)], ABOUT, {}, []))
    assert beside[2] == [
        row.name, "4.00 (4.00 to 4.00)", "10.50 (10.00 to 11.00)", "2.62 (2.50 to 2.75)", "3",
        "**no**",
    ]  # fmt: skip
    assert floor[2][-5:-2] == ["1.14 (1.14 to 1.14)", "1.25", "yes"]
    assert floor[2][-2:] == ["3.20 (3.20 to 3.20)", "1.25 (1.25 to 1.25)"]
    assert effect[2][2] == "-"  # the effect none did not run
    assert effect[2][4] == "-"
    assert effect[2][5] == "6.1 (6.1 to 6.1)"


def test_noise_is_said(row: Row, ledger: Ledger, figures: Callable[..., Figures]) -> None:
    ledger.enter(row, 0, Kind.COLOR, {"figures": figures(others_percent=44.0).as_json()})
    text = tables_of([summarise(row, ledger, 2)], ABOUT, {}, [])
    assert tables_in(text)[0][2][-1] == "noisy"
    assert "used up to 44 % of a core" in text


def test_failures_are_listed(row: Row) -> None:
    nothing = summarise(row, Ledger(None, {}), 2)
    text = tables_of([nothing], ABOUT, {}, ["talk, pair 1, naive: NotStarted:\n  no | words"])
    assert "- talk, pair 1, naive: NotStarted: no \\| words" in text
    assert all(len({len(line) for line in table}) == 1 for table in tables_in(text))


def test_nothing_but_what_is_between_the_markers_changes() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert spliced(page, "new\n") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert spliced(spliced(page, "one"), "two") == spliced(page, "two")


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_page_without_a_place(page: str) -> None:
    with pytest.raises(NoMarkers):
        spliced(page, "new")
