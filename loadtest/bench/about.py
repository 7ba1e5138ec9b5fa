"""Where and how a bench was made: date, version, machine, software, and the command as given."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import shlex
import tomllib
from typing import TYPE_CHECKING

from loadtest.machine import ROOT, portable, this_machine

if TYPE_CHECKING:
    from collections.abc import Sequence

SOFTWARE = ("aiortc", "av", "onnxruntime", "opencv-python-headless", "numpy")


def described(arguments: Sequence[str]) -> dict[str, str]:
    """Text for a heading; `arguments` are those of scripts/bench."""
    machine = this_machine()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    installed = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}
    software = [f"{name} {installed[name]}" for name in SOFTWARE if name in installed]
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "version": version,
        "command": portable(shlex.join(["scripts/bench", *arguments])),
        "machine": f"{machine.cpu}, {os.cpu_count()} cores, {machine.kernel}",
        "software": ", ".join([machine.python, *software]),
    }
