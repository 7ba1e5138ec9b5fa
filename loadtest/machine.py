"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from loadtest.results import Machine

CPUINFO = Path("/proc/cpuinfo")


def this_machine() -> Machine:
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        kernel=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
    )


def _cpu_model() -> str:
    """As the kernel names it; the architecture where it does not (ARM)."""
    for line in CPUINFO.read_text(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
