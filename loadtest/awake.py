"""Keeps a core from halting while something is measured on it.

A virtual core that has nothing to do halts and is given to others; a moment later it comes back
with cold caches. What one stream costs then depends on the machine's neighbours, and on how little
else the core has to do. A process of the idle class (sched(7), SCHED_IDLE) that spins there
prevents it, and takes nothing from whoever wants the core. Used by the bench.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SPIN = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
parent = os.getppid()
sys.stdout.write("spinning\\n")
sys.stdout.flush()
while os.getppid() == parent:
    for _ in range(1_000_000):
        pass
"""
"""It ends with whoever started it."""


@contextlib.contextmanager
def awake(core: int) -> Iterator[int]:
    """The core does not halt inside; gives the process that sees to it. Raises OSError."""
    with subprocess.Popen(  # noqa: S603 (our own interpreter)
        [sys.executable, "-S", "-E", "-c", SPIN, str(core)], stdout=subprocess.PIPE
    ) as spinner:
        try:
            assert spinner.stdout is not None
            if not spinner.stdout.readline():
                raise OSError(f"nothing could be kept running on core {core}")
            yield spinner.pid
        finally:
            spinner.kill()
