"""How much CPU this process may use, how much it has used, and how long it was held back.

The budget is the least of the CPU quotas up the cgroup hierarchy (v1 and v2) and the number of
CPUs in the affinity mask: the host's core count says nothing inside a container. The functions
parse text; ``CpuReader`` finds the files. Read by admission, the metrics and the thread pools.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOAD_WINDOW_S: Final = 5.0
MIN_LOAD_SPAN_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class CpuStat:
    """A cgroup's counters; None where the text has no such line."""

    usage_s: float | None
    throttled_s: float | None


@dataclass(frozen=True, slots=True)
class CgroupMount:
    """One line of mountinfo that mounts a cgroup hierarchy."""

    version: int
    controllers: frozenset[str]
    "Empty for v2."
    root: PurePosixPath
    "The cgroup that is visible at the mount point: not / inside many containers."
    point: PurePosixPath


def parse_cpu_max(text: str) -> float | None:
    """cgroup v2 ``cpu.max``, "QUOTA PERIOD" in microseconds: cores, or None for no quota."""
    words = text.split()
    if not words or words[0] == "max":
        return None
    period_us = int(words[1]) if len(words) > 1 else 100_000
    return int(words[0]) / period_us


def parse_cfs_quota(quota: str, period: str) -> float | None:
    """cgroup v1 ``cpu.cfs_quota_us`` and ``cpu.cfs_period_us``: cores, or None for no quota."""
    quota_us, period_us = int(quota), int(period)
    return quota_us / period_us if quota_us > 0 and period_us > 0 else None


def parse_cpu_stat(text: str) -> CpuStat:
    """``cpu.stat`` of either version: v2 counts microseconds, v1 throttling in nanoseconds."""
    values = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if value.strip().isdigit():
            values[name] = int(value)
    usage_us, throttled_us = values.get("usage_usec"), values.get("throttled_usec")
    throttled_ns = values.get("throttled_time")
    throttled_s = None
    if throttled_us is not None:
        throttled_s = throttled_us / 1e6
    elif throttled_ns is not None:
        throttled_s = throttled_ns / 1e9
    return CpuStat(None if usage_us is None else usage_us / 1e6, throttled_s)


def parse_cpu_list(text: str) -> int:
    """How many CPUs a list such as "0-3,8" names."""
    count = 0
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        count += int(last or first) - int(first) + 1
    return count


def parse_affinity(status: str) -> int | None:
    """CPUs in the affinity mask, from ``/proc/self/status``; None where it does not say."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "Cpus_allowed_list":
            return parse_cpu_list(value)
    return None


def parse_memberships(text: str) -> dict[str, PurePosixPath]:
    """``/proc/self/cgroup``: controller -> path, with "" for the v2 hierarchy."""
    paths = {}
    for line in text.splitlines():
        fields = line.split(":", 2)
        if len(fields) == 3:
            for controller in fields[1].split(","):
                paths[controller] = PurePosixPath(fields[2])
    return paths


def parse_mounts(mountinfo: str) -> list[CgroupMount]:
    """The cgroup mounts of ``/proc/self/mountinfo`` (proc(5) gives the fields)."""
    mounts = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(kinds) < 3 or kinds[0] not in ("cgroup", "cgroup2"):
            continue
        root, point = (PurePosixPath(_unescape(field)) for field in fields[3:5])
        if kinds[0] == "cgroup2":
            mounts.append(CgroupMount(2, frozenset(), root, point))
        else:
            mounts.append(CgroupMount(1, frozenset(kinds[2].split(",")), root, point))
    return mounts


def _unescape(field: str) -> str:
    return field.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")


class CpuReader:
    """Reads the files below ``root`` ("/" but in tests). Safe to call from any thread."""

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        quota_cores: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        process_time: Callable[[], float] = time.process_time,
    ) -> None:
        """``quota_cores`` overrules what the machine says; None reads it."""
        self._root = root.absolute()
        self._clock = clock
        self._process_time = process_time
        self._lock = Lock()
        mounts = parse_mounts(self._text("proc/self/mountinfo"))
        memberships = parse_memberships(self._text("proc/self/cgroup"))
        self._v1 = self._group(mounts, memberships, "cpu")
        self._v1_usage = self._group(mounts, memberships, "cpuacct")
        # A controller is in one hierarchy: where v1 has it, a v2 mount beside it says nothing.
        self._v2 = None if self._v1 else self._group(mounts, memberships, "")
        self._cgroup_quota = self._least_cgroup_quota()
        self._quota_cores = quota_cores or self._read_quota()
        self._samples: deque[tuple[float, float]] = deque([(clock(), self.usage_s())])
        self._load_ratio = 0.0

    @property
    def quota_cores(self) -> float:
        """The CPU budget, in cores. Read once: pools and admission are sized by it."""
        return self._quota_cores

    def usage_s(self) -> float:
        """CPU seconds used, by the whole cgroup where a quota holds it back as a whole, and by
        this process alone elsewhere (an unlimited cgroup is often the entire machine)."""
        usage_s = self._cgroup_usage_s() if self._cgroup_quota is not None else None
        return self._process_time() if usage_s is None else usage_s

    def throttled_s(self) -> float:
        """Seconds for which the cgroup was held back by its quota."""
        for group in (self._v2, self._v1):
            if group is not None:
                stat = parse_cpu_stat(self._text(group[0] / "cpu.stat"))
                if stat.throttled_s is not None:
                    return stat.throttled_s
        return 0.0

    def load_ratio(self) -> float:
        """CPU used over the budget in the last seconds: 1 is all of it."""
        with self._lock:
            now = self._clock()
            if now - self._samples[-1][0] < MIN_LOAD_SPAN_S:
                return self._load_ratio
            self._samples.append((now, self.usage_s()))
            # The oldest sample is the newest that is no younger than the window.
            while len(self._samples) > 2 and now - self._samples[1][0] >= LOAD_WINDOW_S:
                self._samples.popleft()
            (began, used_before), (_, used) = self._samples[0], self._samples[-1]
            self._load_ratio = max(0.0, used - used_before) / (now - began) / self._quota_cores
            return self._load_ratio

    def _read_quota(self) -> float:
        affinity = parse_affinity(self._text("proc/self/status"))
        limits = [float(limit) for limit in (self._cgroup_quota, affinity) if limit]
        return min(limits, default=1.0)

    def _least_cgroup_quota(self) -> float | None:
        quotas = [
            parse_cpu_max(text)
            for directory in self._up(self._v2)
            if (text := self._text(directory / "cpu.max"))
        ]
        for directory in self._up(self._v1):
            quota = self._text(directory / "cpu.cfs_quota_us")
            period = self._text(directory / "cpu.cfs_period_us")
            if quota and period:
                quotas.append(parse_cfs_quota(quota, period))
        return min((quota for quota in quotas if quota is not None), default=None)

    def _cgroup_usage_s(self) -> float | None:
        if self._v2 is not None:
            usage_s = parse_cpu_stat(self._text(self._v2[0] / "cpu.stat")).usage_s
            if usage_s is not None:
                return usage_s
        if self._v1_usage is not None:
            text = self._text(self._v1_usage[0] / "cpuacct.usage").strip()
            if text.isdigit():
                return int(text) / 1e9
        return None

    def _group(
        self, mounts: list[CgroupMount], memberships: dict[str, PurePosixPath], controller: str
    ) -> tuple[Path, Path] | None:
        """This process's cgroup directory and its hierarchy's mount point, below the root."""
        path = memberships.get(controller)
        for mount in mounts:
            matches = controller in mount.controllers if controller else mount.version == 2
            if path is None or not matches:
                continue
            point = self._root / mount.point.relative_to("/")
            # In a container the membership may be told from outside of what is mounted.
            inside = path.is_relative_to(mount.root) and ".." not in path.parts
            return (point / path.relative_to(mount.root) if inside else point), point
        return None

    def _up(self, group: tuple[Path, Path] | None) -> Iterator[Path]:
        if group is None:
            return
        directory, point = group
        yield directory
        while directory != point:
            directory = directory.parent
            yield directory

    def _text(self, path: str | Path) -> str:
        """A file's text; nothing for a file that this system does not have."""
        try:
            return (self._root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
