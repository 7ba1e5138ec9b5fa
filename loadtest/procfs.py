"""What Linux says of a process and its children: CPU time, memory, threads, open files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a process and all of its descendants together."""

    cpu_s: float
    "User and system time so far; that of children that have ended is in it."
    rss_bytes: int
    "Resident pages; those that processes share are counted in each."
    threads: int
    files: int


def tree(pid: int) -> list[int]:
    """The process and all of its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        found.append(one := waiting.pop())
        waiting += children.get(one, [])
    return found


def group(leader: int) -> list[int]:
    """The processes of a group that still run; those that ended and wait for a parent do not."""
    found = []
    for entry in PROC.iterdir():
        fields = _stat(int(entry.name)) if entry.name.isdigit() else None
        if fields is not None and int(fields[2]) == leader and fields[0] != "Z":
            found.append(int(entry.name))
    return found


def usage(pid: int) -> Usage:
    """Zeros where the process is gone."""
    ticks = pages = thread_count = files = 0
    for one in tree(pid):
        if (fields := _stat(one)) is None:
            continue
        # A child's time moves to its parent's cutime and cstime when it has been waited for.
        ticks += sum(int(field) for field in fields[11:15])
        thread_count += int(fields[17])
        pages += int(fields[21])
        files += open_files(one)
    return Usage(ticks / TICKS_PER_S, pages * PAGE_BYTES, thread_count, files)


def cpu_seconds(pid: int) -> float:
    """User and system time used so far by the process, its threads and its descendants."""
    return usage(pid).cpu_s


def threads(pid: int) -> int:
    return sum(1 for _ in (PROC / str(pid) / "task").iterdir())


def open_files(pid: int) -> int:
    """0 where the process is gone or somebody else's."""
    try:
        return sum(1 for _ in (PROC / str(pid) / "fd").iterdir())
    except OSError:
        return 0


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat behind the command's name (proc(5)): state, ppid, pgrp and so on;
    None when the process is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()
