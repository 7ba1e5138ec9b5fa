"""What the figures were measured on, and a command line without its folders."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from loadtest.results import Machine

CPUINFO = Path("/proc/cpuinfo")
ROOT = Path(__file__).resolve().parents[1]
ABSOLUTE_PATH = re.compile(r"(?<![\w:/.}~-])/[^\s'\";&|]+")


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


def portable(command: str) -> str:
    """A command line without this machine's folders: a path under the project from its top, any
    other absolute path as its last name."""
    return ABSOLUTE_PATH.sub(lambda found: _portable(Path(found[0])), command)


def _portable(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
