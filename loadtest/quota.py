"""A CPU quota for the server that is measured: a cgroup of its own, made and taken away here.

cgroup v1 (`cpu` controller) where it is mounted, else v2 (`cpu.max`). The group is made below this
process's own, so that no quota of the machine's is escaped. Needs the right to write there: root,
or a group that was delegated.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from pathlib import Path

PERIOD_US = 100_000
"""As container runtimes set it."""
LEAST_CORES = 0.01
REMOVE_TIMEOUT_S = 5.0
REMOVE_INTERVAL_S = 0.05

_serial = itertools.count()


class NoQuota(Exception):
    """This machine does not let us set one; the message says why."""


def change(text: str) -> tuple[float, float]:
    """ "AT_S:CORES" as two numbers. Raises ValueError."""
    at, colon, cores = text.partition(":")
    if not colon:
        raise ValueError("must be AT_S:CORES, such as 30:0.5")
    at_s = float(at)
    if not 0 <= at_s <= 86_400:
        raise ValueError("the time must be 0 to 86400 s")
    return at_s, in_cores(cores)


def in_cores(text: str) -> float:
    """Raises ValueError."""
    if not LEAST_CORES <= (cores := float(text)) <= 1024:
        raise ValueError(f"must be {LEAST_CORES:g} to 1024 cores")
    return cores


class Quota:
    """A cgroup with a limit; to be removed when all of its processes have ended."""

    def __init__(self, cores: float, *, root: Path = Path("/")) -> None:
        """`root`: where /proc and /sys are, for tests. Raises NoQuota."""
        self._directory, self._version = _made(root)
        self.set(cores)

    @property
    def directory(self) -> Path:
        return self._directory

    def set(self, cores: float) -> None:
        """Takes effect within one period, 0.1 s. Raises NoQuota."""
        quota_us = round(cores * PERIOD_US)
        try:
            if self._version == 1:
                (self._directory / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (self._directory / "cpu.cfs_quota_us").write_text(str(quota_us))
            else:
                (self._directory / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
        except OSError as exc:
            raise NoQuota(f"{self._directory}: {exc.strerror}") from exc

    def wrapped(self, words: list[str]) -> list[str]:
        """The command, so that it and all that it starts are in the group from the beginning: what
        a server reads at its start is its quota already."""
        joins = 'echo $$ > "$0" && exec "$@"'
        return ["sh", "-c", joins, str(self._directory / "cgroup.procs"), *words]

    def remove(self) -> None:
        """Blocks for a moment where the kernel still has the last process in it."""
        deadline_s = time.monotonic() + REMOVE_TIMEOUT_S
        while True:
            try:
                self._directory.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(REMOVE_INTERVAL_S)
            else:
                return


def _made(root: Path) -> tuple[Path, int]:
    """A new group's directory and its hierarchy's version."""
    reasons = []
    for parent, version in _parents(root):
        directory = parent / f"loadtest-{os.getpid()}-{next(_serial)}"
        knob = "cpu.cfs_quota_us" if version == 1 else "cpu.max"
        try:
            directory.mkdir()
        except OSError as exc:
            reasons.append(f"{parent}: {exc.strerror}")
            continue
        if os.access(directory / knob, os.W_OK):
            return directory, version
        reasons.append(f"{parent}: no {knob} that can be written in a group below it")
        with contextlib.suppress(OSError):
            directory.rmdir()
    why = "; ".join(reasons) or "no cgroup hierarchy with a cpu controller is mounted"
    raise NoQuota(f"a CPU quota cannot be set here ({why}): run as root, or without a quota")


def _parents(root: Path) -> list[tuple[Path, int]]:
    """Where a group could be made, most wanted first."""
    one: list[tuple[Path, int]] = []
    two: list[tuple[Path, int]] = []
    memberships = {
        controllers: path
        for _, controllers, path in (
            line.split(":", 2) for line in _lines(root / "proc/self/cgroup")
        )
    }
    for line in _lines(root / "proc/self/mounts"):
        _, point, kind, options, *_ = line.split()
        mount = root / point.lstrip("/")
        if kind == "cgroup" and "cpu" in options.split(","):
            mine = next((p for c, p in memberships.items() if "cpu" in c.split(",")), "/")
            one.append((_inside(mount, mine), 1))
        elif kind == "cgroup2":
            own = _inside(mount, memberships.get("", "/"))
            # A group that has processes may have none below it with a controller (the kernel's
            # "no internal processes"), so the one above is tried as well.
            two += [(own, 2)] if own == mount else [(own, 2), (own.parent, 2)]
    return one + two


def _inside(mount: Path, membership: str) -> Path:
    """This process's group; the mount itself in a container that is told names from outside."""
    own = mount / membership.lstrip("/")
    return own if own.is_dir() and ".." not in membership else mount


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
