"""Ratios are of runs of one pair, and a target is met or missed by what was measured."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from loadtest.bench.ledger import Ledger
from loadtest.bench.rows import Kind, Row
from loadtest.bench.summary import Spread, Summary, summarise
from loadtest.clip import Codec
from loadtest.figures import Percentiles

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.bench.figures import Figures

FLOOR = {
    "total_ms": 3.5, "decode_ms": 0.5, "prepare_ms": 0.4, "person_ms": 1.2, "blend_ms": 0.4,
    "encode_ms": 1.0, "tight_ms": 3.0, "codecs_percent": 6.0,
}  # fmt: skip
FIDELITY = {"iou": 0.99, "worst_iou": 0.98, "mad": 0.003, "psnr_db": 44.0}


def entered(row: Row, pairs: list[dict[Kind, Any]]) -> Ledger:
    ledger = Ledger(None, {})
    for pair, outcomes in enumerate(pairs):
        for kind, outcome in outcomes.items():
            if isinstance(outcome, dict):
                ledger.enter(row, pair, kind, outcome)
            else:
                ledger.enter(row, pair, kind, {"figures": outcome.as_json()})
    return ledger


@pytest.fixture
def good(row: Row, figures: Callable[..., Figures]) -> list[dict[Kind, Any]]:
    """Three pairs that meet everything; the naive server's time differs."""
    return [
        {
            Kind.COLOR: figures(),
            Kind.NONE: figures(cpu_ms_per_frame=2.4, core_percent=7.0),
            Kind.NAIVE: figures(
                cpu_ms_per_frame=ms,
                returned=290,
                returned_kbps=780.0,
                kbit_per_frame=26.0,
                levels=(),
                latency_ms=Percentiles(50.0, 60.0, 70.0, 80.0),
            ),
            Kind.FLOOR: FLOOR,
        }
        for ms in (14.0, 13.0, 18.0)
    ]


def test_all_is_well(row: Row, good: list[dict[Kind, Any]]) -> None:
    found = summarise(row, entered(row, good), 3)
    assert found.naive_ratio == Spread((3.5, 3.25, 4.5))
    assert found.naive_ratio is not None
    assert (found.naive_ratio.median, found.naive_ratio.least, found.naive_ratio.most) == (
        3.5, 3.25, 4.5,
    )  # fmt: skip
    assert found.floor_ratio is not None
    assert found.floor_ratio.median == pytest.approx(4.0 / 3.5)
    assert found.tight_ratio is not None
    assert found.tight_ratio.median == pytest.approx(4.0 / 3.0)
    assert found.codecs_percent == Spread((6.0, 6.0, 6.0))
    assert found.floor_stages_ms["person"] == 1.2
    assert found.effect_points == Spread((5.0, 5.0, 5.0))
    assert (found.sent, found.returned, found.naive_sent, found.naive_returned) == (
        900, 900, 900, 870,
    )  # fmt: skip
    assert found.verdicts == dict.fromkeys(
        ("naive_ratio", "floor_ratio", "effect_points", "none_percent", "p50_ms", "p99_ms",
         "honest"),
        True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "changed", "missed"),
    [
        (Kind.NAIVE, {"cpu_ms_per_frame": 11.9}, {"naive_ratio"}),
        (Kind.COLOR, {"cpu_ms_per_frame": 4.5}, {"floor_ratio"}),
        (Kind.COLOR, {"core_percent": 13.1}, {"effect_points"}),
        (Kind.NONE, {"core_percent": 11.1}, {"none_percent"}),
        (Kind.COLOR, {"latency_ms": Percentiles(12.1, 20, 30, 40)}, {"p50_ms"}),
        (Kind.COLOR, {"latency_ms": Percentiles(5.0, 20, 40.0, 40)}, {"p99_ms"}),
        (Kind.COLOR, {"returned": 299}, {"honest"}),
        (Kind.COLOR, {"levels": ("full", "every 2nd")}, {"honest"}),
        (Kind.COLOR, {"levels": ()}, {"honest"}),
        (Kind.COLOR, {"kbit_per_frame": 23.3}, {"honest"}),
    ],
)
def test_what_is_missed(
    row: Row,
    good: list[dict[Kind, Any]],
    figures: Callable[..., Figures],
    kind: Kind,
    changed: dict[str, Any],
    missed: set[str],
) -> None:
    usual = good[0][kind].as_json()
    for pair in good:
        pair[kind] = figures(**(usual | {"latency_ms": good[0][kind].latency_ms} | changed))
    found = summarise(row, entered(row, good), 3)
    assert {name for name, met in found.verdicts.items() if met is False} == missed


@pytest.mark.parametrize(("naive_psnr_db", "honest"), [(43.9, True), (44.1, False)])
def test_fewer_bits_are_honest_where_they_show_more(
    row: Row,
    good: list[dict[Kind, Any]],
    figures: Callable[..., Figures],
    naive_psnr_db: float,
    honest: bool,
) -> None:
    for pair in good:
        fewer = figures(kbit_per_frame=22.0).as_json()
        pair[Kind.COLOR] = {"figures": fewer, "fidelity": FIDELITY}
        pair[Kind.NAIVE] = {"figures": pair[Kind.NAIVE].as_json(), "psnr_db": naive_psnr_db}
    assert summarise(row, entered(row, good), 3).honest is honest


def test_p99_is_judged_by_the_worst_run(
    row: Row, good: list[dict[Kind, Any]], figures: Callable[..., Figures]
) -> None:
    good[1][Kind.COLOR] = figures(latency_ms=Percentiles(5.0, 9.0, 41.0, 50.0))
    found = summarise(row, entered(row, good), 3)
    assert found.p99_ms is not None
    assert found.p99_ms.median < 40
    assert found.verdicts["p99_ms"] is False


def test_a_run_that_failed_takes_its_pair_out_of_the_ratios(
    row: Row, good: list[dict[Kind, Any]]
) -> None:
    good[0][Kind.NAIVE] = {"error": "NotStarted: no words"}
    good[2][Kind.FLOOR] = {"error": "RuntimeError: no words"}
    found = summarise(row, entered(row, good), 3)
    assert found.naive_ratio == Spread((3.25, 4.5))
    assert found.floor_ratio is not None
    assert len(found.floor_ratio.values) == 2
    assert found.color_ms == Spread((4.0, 4.0, 4.0))


def test_a_noisy_run_is_not_judged_by(
    row: Row, good: list[dict[Kind, Any]], figures: Callable[..., Figures]
) -> None:
    good[2][Kind.NAIVE] = figures(cpu_ms_per_frame=20.0, others_percent=80.0)
    found = summarise(row, entered(row, good), 3)
    assert (found.noisy, found.others_percent) == (True, 80.0)
    assert len(found.verdicts) == 7
    assert set(found.verdicts.values()) == {None}
    assert found.naive_ratio is not None


def test_nothing_ran(row: Row) -> None:
    found = summarise(row, Ledger(None, {}), 2)
    assert set(found.verdicts.values()) == {None}
    assert found.naive_ratio is None


def test_a_size_without_targets(good: list[dict[Kind, Any]]) -> None:
    row = Row("talk", Codec.H264, 320, 180)
    found = summarise(row, entered(row, good), 3)
    assert found.verdicts == {}
    assert found.naive_ratio is not None


def test_what_was_judged(row: Row, good: list[dict[Kind, Any]]) -> None:
    ledger = entered(row, good)
    ledger.enter(
        row, 0, Kind.COLOR, {"figures": good[0][Kind.COLOR].as_json(), "fidelity": {"error": "no"}}
    )
    ledger.enter(
        row, 1, Kind.COLOR, {"figures": good[1][Kind.COLOR].as_json(), "fidelity": FIDELITY}
    )
    ledger.enter(row, 0, Kind.NAIVE, {"figures": good[0][Kind.NAIVE].as_json(), "psnr_db": 40.0})
    found = summarise(row, ledger, 3)
    assert found.fidelity == FIDELITY
    assert found.naive_psnr_db == 40.0


def test_as_json(row: Row, good: list[dict[Kind, Any]]) -> None:
    found: Summary = summarise(row, entered(row, good), 3)
    read = json.loads(json.dumps(found.as_json()))
    assert read["row"] == row.name
    assert read["naive_ratio"] == {
        "median": 3.5, "least": 3.25, "most": 4.5, "values": [3.5, 3.25, 4.5],
    }  # fmt: skip
    assert read["verdicts"]["honest"] is True
    assert read["target"]["floor_ratio"] == 1.25
