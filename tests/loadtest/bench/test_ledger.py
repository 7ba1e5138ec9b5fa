"""What was measured outlives an interruption; what failed is not hidden."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from loadtest.bench.ledger import Ledger, WrongLedger
from loadtest.bench.rows import Kind

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.bench.rows import Row

SETUP = {"pairs": 2, "seconds": 3.0}


def test_every_entry_is_on_disk_at_once(tmp_path: Path, row: Row) -> None:
    path = tmp_path / "bench.json"
    ledger = Ledger(path, SETUP)
    ledger.enter(row, 0, Kind.COLOR, {"figures": {"sent": 1}})
    (outcome,) = json.loads(path.read_text())["runs"].values()
    assert outcome == {"figures": {"sent": 1}}
    assert list(tmp_path.iterdir()) == [path]


def test_going_on(tmp_path: Path, row: Row) -> None:
    path = tmp_path / "bench.json"
    first = Ledger.resumed(path, SETUP)  # there is nothing yet
    first.enter(row, 0, Kind.COLOR, {"figures": {"sent": 1}})
    first.enter(row, 0, Kind.NAIVE, {"error": "NotStarted: no words"})
    again = Ledger.resumed(path, SETUP)
    assert again.figures(row, 0, Kind.COLOR) == {"figures": {"sent": 1}}
    assert again.figures(row, 0, Kind.NAIVE) is None  # is run again
    assert again.figures(row, 1, Kind.COLOR) is None
    again.enter(row, 0, Kind.NAIVE, {"figures": {"sent": 2}})
    assert again.failures == []


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"format": 1}', json.dumps({"format": 0, "setup": SETUP}),
     json.dumps({"format": 1, "setup": {"pairs": 3, "seconds": 3.0}})],
)  # fmt: skip
def test_a_file_that_is_not_gone_on_from(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bench.json"
    path.write_text(text)
    with pytest.raises(WrongLedger, match=r"bench\.json"):
        Ledger.resumed(path, SETUP)
    assert path.read_text() == text


def test_failures_in_words(row: Row) -> None:
    ledger = Ledger(None, SETUP)
    ledger.enter(row, 0, Kind.COLOR, {"figures": {}, "fidelity": {"error": "no matte"}})
    ledger.enter(row, 1, Kind.COLOR, {"figures": {}, "fidelity": {"iou": 1.0}})
    ledger.enter(row, 1, Kind.NAIVE, {"error": "NotStarted: gone"})
    ledger.enter_micro("frames", {"error": "RuntimeError: no words"})
    assert ledger.failures == [
        "talk, h264 640x360, pair 1, color, fidelity: no matte",
        "talk, h264 640x360, pair 2, naive: NotStarted: gone",
        "frames: RuntimeError: no words",
    ]
