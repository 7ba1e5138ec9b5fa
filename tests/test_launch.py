"""The start of the process: malloc's settings stand before the interpreter does, after one exec."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.launch import MALLOC, MARKER, THREADS, malloc_settings

ROOT = Path(__file__).parent.parent

# A package with a __main__ like the service's: it prints what it was started with, and how often.
PROGRAM = """
import json, os, sys
with open(os.environ["STARTS"], "a") as starts:
    starts.write("x")
from service.launch import prepare
prepare()
print(json.dumps({
    "environ": dict(os.environ), "argv": sys.argv[1:], "dev_mode": sys.flags.dev_mode,
    "pid": os.getpid(),
}))
"""

needs_glibc = pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="malloc settings are glibc's"
)


def started(tmp_path: Path, **environ: str) -> tuple[dict[str, object], int, bool]:
    """What the program says, how many times it was started, whether the process stayed one."""
    package = tmp_path / "program"
    package.mkdir()
    (package / "__main__.py").write_text(PROGRAM)
    starts = tmp_path / "starts"
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", "-m", "program", "serve", "--port", "0"],
        env={"PYTHONPATH": f"{ROOT}:{tmp_path}", "STARTS": str(starts), **environ},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    said = json.loads(output)
    return said, len(starts.read_text()), said["pid"] == process.pid


@needs_glibc
def test_starts_itself_again_once_with_the_settings(tmp_path: Path) -> None:
    said, starts, same_process = started(tmp_path)
    environ = said["environ"]
    assert isinstance(environ, dict)
    assert {name: environ[name] for name in (*MALLOC, *THREADS)} == {**MALLOC, **THREADS}
    assert starts == 2
    assert same_process
    assert said["argv"] == ["serve", "--port", "0"]
    assert said["dev_mode"] is True


@needs_glibc
def test_what_the_user_set_stays(tmp_path: Path) -> None:
    said, starts, _ = started(tmp_path, MALLOC_TOP_PAD_="4096", OMP_NUM_THREADS="3")
    environ = said["environ"]
    assert isinstance(environ, dict)
    assert environ["MALLOC_TOP_PAD_"] == "4096"
    assert environ["OMP_NUM_THREADS"] == "3"
    assert environ["MALLOC_MMAP_THRESHOLD_"] == "1073741824"
    assert starts == 2


def test_an_environment_that_is_complete_starts_once(tmp_path: Path) -> None:
    _, starts, _ = started(tmp_path, **MALLOC)
    assert starts == 1


def test_there_is_never_a_third_start(tmp_path: Path) -> None:
    said, starts, _ = started(tmp_path, **{MARKER: "1"})
    environ = said["environ"]
    assert isinstance(environ, dict)
    assert "MALLOC_TOP_PAD_" not in environ
    assert starts == 1


def test_another_c_library_needs_none() -> None:
    assert malloc_settings({}, glibc=False) == {}
    assert malloc_settings({}, glibc=True) == dict(MALLOC)
    assert malloc_settings({"MALLOC_TOP_PAD_": "1"}, glibc=True).keys() == {
        "MALLOC_MMAP_THRESHOLD_",
        "MALLOC_TRIM_THRESHOLD_",
    }
