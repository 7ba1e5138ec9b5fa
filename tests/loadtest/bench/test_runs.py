"""A whole bench, small and real: the service, the example server and the floor take turns."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import av
import pytest

from loadtest import clip as clips
from loadtest.bench import session
from loadtest.bench.figures import NOISY_PERCENT
from loadtest.bench.ledger import Ledger
from loadtest.bench.rows import FPS, Kind, Row
from loadtest.bench.runs import Plan, _done, bench
from loadtest.bench.table import tables_of
from loadtest.clip import Codec
from loadtest.fidelity import write_film
from loadtest.server import Target
from tests.loadtest.bench.test_table import ABOUT, tables_in

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loadtest.bench.figures import Figures

SIZE = (320, 192)
SERVICE = Target("backcloth", f"{sys.executable} -m service serve --port {{port}}")
NAIVE = Target("offer", f"{sys.executable} -m loadtest.example_server --port {{port}}")
BROKEN = Target("offer", "sh -c 'echo no such server >&2; exit 1'")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of the test person."""
    path = tmp_path_factory.mktemp("film") / "person.nut"
    clip = clips.encode(clips.default_film(SIZE, FPS, seconds=2), Codec.H264, FPS)
    write_film(path, clip, range(len(clip.frames)))
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 2 * FPS
    return path


@pytest.mark.peer
@pytest.mark.model
async def test_a_pair(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadtest.bench.figures.NOISY_PERCENT", 1e6)  # whatever else runs here
    row = Row(film.stem, Codec.H264, *SIZE)
    plan = Plan(
        rows=((row, film),),
        service=SERVICE,
        naive=NAIVE,
        pairs=1,
        seconds=2,
        core=None,
        micro=False,
    )
    ledger = Ledger(tmp_path / "bench.json", {})
    told: list[str] = []
    (found,) = await bench(plan, ledger, told.append)

    assert ledger.failures == []
    assert [line.split()[2] for line in told[1:]] == ["color", "none", "naive", "floor"]
    for spread in (found.naive_ratio, found.floor_ratio, found.effect_points, found.p50_ms):
        assert spread is not None
        assert len(spread.values) == 1
    assert found.levels
    assert 0 < found.returned <= found.sent
    assert found.fidelity is not None
    # What came back over the network is the matte's own picture.
    assert found.fidelity["iou"] > 0.95
    assert found.fidelity["psnr_db"] > 33
    assert found.naive_psnr_db is not None
    assert found.naive_psnr_db > 30

    written = json.loads((tmp_path / "bench.json").read_text())
    assert len(written["runs"]) == 4
    assert written["summary"][0]["row"] == row.name
    assert len(tables_in(tables_of([found], ABOUT, {}, []))) == 5

    # Nothing is left to be done: it is all in the file.
    told.clear()
    (again,) = await bench(plan, Ledger.resumed(tmp_path / "bench.json", {}), told.append)
    assert again == found
    assert len(told) == 1


@pytest.mark.model
async def test_what_fails_is_reported_and_the_rest_goes_on(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "FIRST_RETURN_TIMEOUT_S", 1.0)
    row = Row(film.stem, Codec.VP8, *SIZE)
    plan = Plan(
        rows=((row, film),), service=BROKEN, naive=BROKEN, pairs=2, seconds=1, core=0, micro=False
    )
    ledger = Ledger(None, {})
    told: list[str] = []
    (found,) = await bench(plan, ledger, told.append)
    assert len(ledger.failures) == 6
    assert all("no such server" in one for one in ledger.failures)
    assert sum("failed: NotStarted" in line for line in told) == 6
    assert found.naive_ratio is None
    assert found.floor_ms is not None
    assert len(found.floor_ms.values) == 2
    assert ledger.figures(row, 0, Kind.FLOOR) is not None


def test_what_is_run_again(figures: Callable[..., Figures]) -> None:
    assert not _done(None)
    assert _done({"total_ms": 1.0})  # the floor
    assert _done({"figures": figures().as_json()})
    assert not _done({"figures": figures(others_percent=NOISY_PERCENT + 1).as_json()})
