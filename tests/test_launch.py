"""The start of the process: one thread for each pool that NumPy's libraries would open."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# How many threads NumPy's OpenBLAS has, after the first lines of the service's start.
PROGRAM = """
import json, os
from service.launch import prepare
prepare()
import numpy as np
a = np.ones((600, 600), np.float32)
(a @ a).sum()
print(json.dumps({
    "threads": len(os.listdir("/proc/self/task")),
    "OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"],
    "OPENBLAS_NUM_THREADS": os.environ["OPENBLAS_NUM_THREADS"],
}))
"""


def said(**environ: str) -> dict[str, object]:
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environ, check=True, stdout=subprocess.PIPE, timeout=60
    ).stdout
    answer = json.loads(output)
    assert isinstance(answer, dict)
    return answer


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted in /proc")
def test_numpy_opens_no_pool() -> None:
    assert said() == {"threads": 1, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def test_what_the_user_set_stays() -> None:
    assert said(OMP_NUM_THREADS="3")["OMP_NUM_THREADS"] == "3"
