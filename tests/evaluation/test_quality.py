"""The matte on the test media: as good as it must be, measured as it was measured before."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

import pytest

from service.evaluation import command

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.media
@pytest.mark.model
def test_the_matte_is_good_enough(
    media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    path = tmp_path / "quality.json"
    options = [str(media / "matte"), "--plain", "--every", "2", "--json", str(path)]
    assert command.run(parser.parse_args(options)) == 0
    table = capsys.readouterr().out
    document = json.loads(path.read_text())
    assert len(document["clips"]) >= 8

    # The plain network does not change: where these differ, it is the measuring that changed.
    plain = document["mean"]["plain"]
    assert plain["mad"] == pytest.approx(23.15, abs=0.3), table
    assert plain["iou"] == pytest.approx(92.05, abs=0.1), table
    assert plain["dtssd"] == pytest.approx(2.98, abs=0.02), table
    assert plain["leak"] == pytest.approx(0.93, abs=0.01), table
    assert plain["band"] == pytest.approx(201, abs=1), table

    found = document["mean"]["hybrid"]
    assert found["mad"] <= 17.3, table
    assert found["iou"] >= 94.2, table
    assert found["dtssd"] <= 2.3, table
    assert found["leak"] <= 0.7, table
    assert min(clip["figures"]["hybrid"]["iou"] for clip in document["clips"]) >= 88, table

    # Half the runs of the network cost little: its answer is carried along in between.
    assert document["mean"]["hybrid/2"]["mad"] <= found["mad"] + 0.8, table
