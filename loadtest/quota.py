"""A CPU quota for the server that is measured: a cgroup of its own, made and taken away here.

cgroup v1 (`cpu` controller) where it is mounted, else v2 (`cpu.max`). The group is made below this
process's own, so that no quota of the machine's is escaped. Where v1 counts use in a hierarchy of
its own (`cpuacct`) there is a group there too, as container runtimes make one. Needs the right to
write there: root, or a group that was delegated.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        self._counting = _counting(root, self._directory) if self._version == 1 else None
        self.set(cores)

    @property
    def directory(self) -> Path:
        return self._directory

    def used_s(self) -> float:
        """CPU seconds of all that ran in the group, as the kernel counts them."""
        if self._version == 1:
            usage = (self._counting or self._directory) / "cpuacct.usage"
            return int(usage.read_text()) / 1e9
        return self._stat("usage_usec") / 1e6

    def throttled_s(self) -> float:
        """For how long the group was held back."""
        if self._version == 1:
            return self._stat("throttled_time") / 1e9
        return self._stat("throttled_usec") / 1e6

    def periods(self) -> tuple[int, int]:
        """Periods in which the group ran, and those in which it was held back."""
        return self._stat("nr_periods"), self._stat("nr_throttled")

    def _stat(self, name: str) -> int:
        words = (self._directory / "cpu.stat").read_text().split()
        return int(words[words.index(name) + 1])

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
        for directory in self._directories:
            words = ["sh", "-c", joins, str(directory / "cgroup.procs"), *words]
        return words

    def remove(self) -> None:
        """Blocks for a moment where the kernel still has the last process in it."""
        deadline_s = time.monotonic() + REMOVE_TIMEOUT_S
        for directory in self._directories:
            _remove(directory, deadline_s)

    @property
    def _directories(self) -> list[Path]:
        return [one for one in (self._directory, self._counting) if one is not None]


def _remove(directory: Path, deadline_s: float) -> None:
    while True:
        try:
            directory.rmdir()
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


def _counting(root: Path, limited: Path) -> Path | None:
    """A group of the same place in the hierarchy that counts use; None where that is the same one,
    or none can be had: then nobody is told what the group used."""
    own = _own_paths(root)
    for mount, kind, options in _mounts(root):
        if kind == "cgroup" and "cpuacct" in options and "cpu" not in options:
            if _path_of("cpuacct", own) != _path_of("cpu", own):
                return None
            group = _inside(mount, _path_of("cpuacct", own)) / limited.name
            with contextlib.suppress(OSError):
                group.mkdir()
                return group
    return None


def _parents(root: Path) -> list[tuple[Path, int]]:
    """Where a group could be made, most wanted first."""
    one: list[tuple[Path, int]] = []
    two: list[tuple[Path, int]] = []
    memberships = _own_paths(root)
    for mount, kind, options in _mounts(root):
        if kind == "cgroup" and "cpu" in options:
            one.append((_inside(mount, _path_of("cpu", memberships)), 1))
        elif kind == "cgroup2":
            own = _inside(mount, memberships.get("", "/"))
            # A group that has processes may have none below it with a controller (the kernel's
            # "no internal processes"), so the one above is tried as well.
            two += [(own, 2)] if own == mount else [(own, 2), (own.parent, 2)]
    return one + two


def _mounts(root: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """Where something is mounted, of what kind, and by what options."""
    for line in _lines(root / "proc/self/mounts"):
        _, point, kind, options, *_ = line.split()
        yield root / point.lstrip("/"), kind, options.split(",")


def _own_paths(root: Path) -> dict[str, str]:
    """This process's group in each hierarchy, by its controllers as they are listed."""
    found = (line.split(":", 2) for line in _lines(root / "proc/self/cgroup"))
    return {controllers: path for _, controllers, path in found}


def _path_of(controller: str, paths: dict[str, str]) -> str:
    return next((p for names, p in paths.items() if controller in names.split(",")), "/")


def _inside(mount: Path, membership: str) -> Path:
    """This process's group; the mount itself in a container that is told names from outside."""
    own = mount / membership.lstrip("/")
    return own if own.is_dir() and ".." not in membership else mount


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
