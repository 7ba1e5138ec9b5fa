"""How much CPU this process may use, how much it has used, and how long it was held back.

The budget is the least of the CPU quotas up the cgroup hierarchy (v1 and v2) and the number of
CPUs in the affinity mask: the host's core count says nothing inside a container. It may change
while the service runs, so it is read again and again. The functions parse text; ``CpuReader`` finds
the files. Read by admission, the metrics and the workers.
"""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOAD_WINDOW_S: Final = 5.0
MIN_LOAD_SPAN_S: Final = 0.25
QUOTA_INTERVAL_S: Final = 0.5
"""The quota is read again after this: a change is seen within a second."""
THROTTLE_WINDOW_S: Final = 1.0
"""Ten periods of the usual 100 ms."""
READ_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class CpuStat:
    """A cgroup's counters; None where the text has no such line."""

    usage_s: float | None
    throttled_s: float | None
    periods: int | None = None
    "Enforcement periods in which the cgroup ran at all."
    throttled_periods: int | None = None
    "Those in which it was stopped, because its quota was used up."


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
    return CpuStat(
        None if usage_us is None else usage_us / 1e6,
        throttled_s,
        values.get("nr_periods"),
        values.get("nr_throttled"),
    )


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


class _Load(NamedTuple):
    """Counters at one time."""

    at_s: float
    used_s: float
    budget_s: float
    "What could have been used since the start: the quota, integrated over time."


class CpuReader:
    """Reads the files below ``root`` ("/" but in tests). Safe to call from any thread; nothing
    here waits for a disk, the kernel makes all of these files up."""

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        quota_cores: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        process_time: Callable[[], float] = time.process_time,
    ) -> None:
        """``quota_cores`` overrules what the machine says; None reads it, and goes on doing so."""
        self._root = root.absolute()
        self._clock = clock
        self._process_time = process_time
        self._lock = Lock()
        mounts = parse_mounts(self._text("proc/self/mountinfo"))
        memberships = parse_memberships(self._text("proc/self/cgroup"))
        self._v1 = self._group(mounts, memberships, "cpu")
        # Use is counted by a hierarchy of its own: in another group there it is that of others.
        together = memberships.get("cpuacct") == memberships.get("cpu")
        self._v1_usage = self._group(mounts, memberships, "cpuacct") if together else None
        # A controller is in one hierarchy: where v1 has it, a v2 mount beside it says nothing.
        self._v2 = None if self._v1 else self._group(mounts, memberships, "")
        self._v2_up, self._v1_up = (tuple(self._up(group)) for group in (self._v2, self._v1))
        self._stat_files = [place / "cpu.stat" for place in (*self._v2_up, *self._v1_up)]
        self._fixed_quota = quota_cores
        self._limited = False
        "Whether a cgroup quota holds the service back."
        self._limiting: Path | None = None
        "The cgroup directory whose quota that is."
        self._read_at_s = clock()
        self._quota_cores = self._read_quota()
        self._loads = deque([_Load(self._read_at_s, self.usage_s(), 0.0)])
        self._load_ratio = 0.0
        self._throttles = deque([(self._read_at_s, *self._periods())])
        self._throttled_ratio = 0.0

    @property
    def quota_cores(self) -> float:
        """The CPU budget now, in cores; at most QUOTA_INTERVAL_S old."""
        with self._lock:
            return self._quota(self._clock())

    def usage_s(self) -> float:
        """CPU seconds used, by the whole cgroup where a quota holds it back as a whole, and by
        this process alone elsewhere (an unlimited cgroup is often the entire machine)."""
        usage_s = self._cgroup_usage_s() if self._limited else None
        return self._process_time() if usage_s is None else usage_s

    def throttled_s(self) -> float:
        """Seconds for which a quota up the hierarchy held this process back: of the cgroup that it
        did most often, since a pod and its only container are held back at the same times."""
        stats = (parse_cpu_stat(self._text(path)) for path in self._stat_files)
        return max((stat.throttled_s or 0.0 for stat in stats), default=0.0)

    def load_ratio(self) -> float:
        """CPU used over the budget of the last seconds: 1 is all of it."""
        with self._lock:
            now = self._clock()
            quota_cores = self._quota(now)
            loads = self._loads
            if (elapsed_s := now - loads[-1].at_s) < MIN_LOAD_SPAN_S:
                return self._load_ratio
            budget_s = loads[-1].budget_s + elapsed_s * quota_cores
            loads.append(_Load(now, self.usage_s(), budget_s))
            # The oldest sample is the newest that is no younger than the window.
            while len(loads) > 2 and now - loads[1].at_s >= LOAD_WINDOW_S:
                loads.popleft()
            used_s = loads[-1].used_s - loads[0].used_s
            self._load_ratio = max(0.0, used_s) / (budget_s - loads[0].budget_s)
            return self._load_ratio

    def throttled_ratio(self) -> float:
        """Of the quota's periods since this was asked before, a second at least, the share in which
        it ran out: 0 to 1."""
        with self._lock:
            now = self._clock()
            self._quota(now)
            counts = self._throttles
            if now - counts[-1][0] < MIN_LOAD_SPAN_S:
                return self._throttled_ratio
            counts.append((now, *self._periods()))
            while len(counts) > 2 and now - counts[1][0] >= THROTTLE_WINDOW_S:
                counts.popleft()
            (_, periods_before, throttled_before), (_, periods, throttled) = counts[0], counts[-1]
            elapsed = periods - periods_before
            ratio = (throttled - throttled_before) / elapsed if elapsed > 0 else 0.0
            self._throttled_ratio = min(1.0, max(0.0, ratio))
            return self._throttled_ratio

    def _quota(self, now: float) -> float:
        """The lock is held."""
        if now - self._read_at_s >= QUOTA_INTERVAL_S:
            self._read_at_s = now
            limited, limiting = self._limited, self._limiting
            self._quota_cores = self._read_quota()
            if self._limited is not limited:
                # Another counter tells the use from now on: no difference to the one before.
                self._loads = deque([_Load(now, self.usage_s(), 0.0)])
            if self._limiting != limiting:
                self._throttles = deque([(now, *self._periods())])
        return self._quota_cores

    def _read_quota(self) -> float:
        """Also finds what it is that limits."""
        least = min(self._cgroup_quotas(), key=lambda each: each[0], default=None)
        self._limited, self._limiting = least is not None, least[1] if least else None
        if self._fixed_quota:
            return self._fixed_quota
        affinity = parse_affinity(self._text("proc/self/status"))
        limits = [float(limit) for limit in (least and least[0], affinity) if limit]
        return min(limits, default=1.0)

    def _cgroup_quotas(self) -> Iterator[tuple[float, Path]]:
        """Every quota up the hierarchy, in cores, and whose it is."""
        for directory in self._v2_up:
            if (cores := parse_cpu_max(self._text(directory / "cpu.max"))) is not None:
                yield cores, directory
        for directory in self._v1_up:
            quota = self._text(directory / "cpu.cfs_quota_us")
            period = self._text(directory / "cpu.cfs_period_us")
            if quota and period and (cores := parse_cfs_quota(quota, period)) is not None:
                yield cores, directory

    def _periods(self) -> tuple[int, int]:
        """Periods, and those that were throttled, of the cgroup whose quota limits."""
        if self._limiting is None:
            return 0, 0
        stat = parse_cpu_stat(self._text(self._limiting / "cpu.stat"))
        return stat.periods or 0, stat.throttled_periods or 0

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
        """A file's text; nothing for a file that this system does not have.

        By descriptor: these files are read several times a second, and open() with its buffer and
        its decoder takes three times as long.
        """
        try:
            file = os.open(self._root / path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return ""
        try:
            return b"".join(iter(lambda: os.read(file, READ_BYTES), b"")).decode(errors="replace")
        except OSError:
            return ""
        finally:
            os.close(file)
