"""The table of statuses in docs/api.md: each test that it names provokes what its row says.

They are run once more, in a process of their own that notes what the application answers
(tests/web/openapi/recorder.py). Rows that hold for every call are test_document.py's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.running import ROOT
from tests.web.openapi.recorder import WHERE
from tests.web.openapi.test_document import API, STATUS_ROW

if TYPE_CHECKING:
    from pathlib import Path

RUN_TIMEOUT_S = 280
API_PATHS = ("/v1/", "/healthz", "/readyz", "/metrics", "/openapi.json")
INDEX = "/"


@pytest.mark.peer
@pytest.mark.timeout(300)
def test_each_row_is_provoked_by_its_test(tmp_path: Path) -> None:
    rows = [row for row in STATUS_ROW.findall(API.read_text()) if not row[0].startswith("*")]
    named = sorted({test for _, _, test in rows})
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "tests.web.openapi.recorder"),
            *("-p", "no:cacheprovider"),
            *("tests/" + test.replace(": ", "::") for test in named),
        ],
        cwd=ROOT,
        env={**os.environ, WHERE: str(tmp_path / "answers.json")},
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    answers = json.loads((tmp_path / "answers.json").read_text())
    provoked = {
        # The page's index stands for each of its files.
        (test, method, path if path.startswith(API_PATHS) else INDEX, status)
        for test, method, path, status in answers
    }
    told = {(test, *call.strip("`").split(" "), status) for call, status, test in rows}
    assert len(told) > 100
    missing = sorted(told - provoked)
    assert not missing, "these tests have no such answer of these calls"
