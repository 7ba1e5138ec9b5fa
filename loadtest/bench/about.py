"""Where and how a bench was made: date, version, machine, software, and the command as given."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import re
import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.machine import this_machine

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
ABSOLUTE_PATH = re.compile(r"(?<![\w:/.}~-])/[^\s'\";&|]+")
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


def portable(command: str) -> str:
    """A command line without this machine's folders: a path under the project from its top, any
    other absolute path as its last name."""
    return ABSOLUTE_PATH.sub(lambda found: _portable(Path(found[0])), command)


def _portable(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
