"""What /proc says, of processes that are started here."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from loadtest import procfs

if TYPE_CHECKING:
    from collections.abc import Iterator

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", '''
import time
while time.process_time() < 0.3: pass
print("ready", flush=True)
sys_stdin = open(0).read()
'''])
child.wait()
"""


@contextmanager
def running() -> Iterator[subprocess.Popen[str]]:
    """A process whose child burns 0.3 s of CPU and then waits for the end of its input."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.communicate(timeout=20)


def test_children_are_counted() -> None:
    with running() as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert len(procfs.tree(process.pid)) == 2
        used_s = procfs.cpu_seconds(process.pid)
    # /proc counts user and system time of each process in whole ticks, cut off.
    assert 0.3 - 4 / os.sysconf("SC_CLK_TCK") <= used_s < 5


def test_own_time_agrees_with_the_clock() -> None:
    before_s, own_s = procfs.cpu_seconds(os.getpid()), time.process_time()
    while time.process_time() < own_s + 0.2:
        pass
    assert abs(procfs.cpu_seconds(os.getpid()) - before_s - 0.2) < 0.1


def test_a_process_that_is_gone() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(20)
    assert procfs.cpu_seconds(process.pid) == 0.0


def test_threads_and_files() -> None:
    files = procfs.open_files(os.getpid())
    with open(os.devnull) as one, open(os.devnull) as other:  # noqa: PTH123 (descriptors)
        assert procfs.open_files(os.getpid()) == files + 2
        assert one.fileno() != other.fileno()
    assert procfs.threads(os.getpid()) >= 1


def test_usage_is_that_of_the_whole_tree() -> None:
    own = procfs.usage(os.getpid())
    assert own.rss_bytes > 10 << 20
    with running() as process:
        assert process.stdout is not None
        process.stdout.readline()
        both = procfs.usage(process.pid)
        (alone,) = (procfs._stat(pid) for pid in procfs.tree(process.pid) if pid != process.pid)
        assert both.threads == 2
        assert both.files >= 6
        assert alone is not None
        assert both.rss_bytes > int(alone[21]) * procfs.PAGE_BYTES


def test_a_child_that_has_ended_still_counts() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    waits = f"{parent}; print('ready', flush=True); open(0).read()"
    process = subprocess.Popen(
        [sys.executable, "-c", waits], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        assert len(procfs.tree(process.pid)) == 1
        # Ticks of user and of system time are each cut off to whole ones.
        assert procfs.usage(process.pid).cpu_s >= 0.3 - 4 / procfs.TICKS_PER_S
    finally:
        process.communicate(timeout=20)


def test_usage_of_a_process_that_is_gone() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(20)
    assert procfs.usage(process.pid) == procfs.Usage(0.0, 0, 0, 0)
    assert procfs.open_files(process.pid) == 0
