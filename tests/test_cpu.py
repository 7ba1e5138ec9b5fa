"""The CPU budget from text of cgroup v1 and v2, and from the machine that runs the tests."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from service.cpu import (
    CgroupMount,
    CpuReader,
    CpuStat,
    parse_affinity,
    parse_cfs_quota,
    parse_cpu_list,
    parse_cpu_max,
    parse_cpu_stat,
    parse_memberships,
    parse_mounts,
)

V2_MOUNT = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "30 23 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 30 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup "
    "rw,cpu,cpuacct\n"
    "41 30 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
)
STATUS = "Name:\tpython3\nCpus_allowed:\tff\nCpus_allowed_list:\t{cpus}\n"


@dataclass
class Machine:
    """A made-up /proc and /sys, with clocks that the test turns."""

    root: Path
    now_s: float = 100.0
    process_s: float = 5.0

    def write(self, path: str, text: str) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def reader(self, quota_cores: float | None = None) -> CpuReader:
        return CpuReader(
            self.root,
            quota_cores=quota_cores,
            clock=lambda: self.now_s,
            process_time=lambda: self.process_s,
        )


@pytest.fixture
def v2(tmp_path: Path) -> Machine:
    """A pod of cgroup v2: 1.5 cores for the container, 1.2 for the pod around it."""
    machine = Machine(tmp_path)
    machine.write("/proc/self/mountinfo", V2_MOUNT)
    machine.write("/proc/self/cgroup", "0::/kubepods/pod7/main\n")
    machine.write("/proc/self/status", STATUS.format(cpus="0-7"))
    machine.write("/sys/fs/cgroup/kubepods/cpu.max", "max 100000\n")
    machine.write("/sys/fs/cgroup/kubepods/pod7/cpu.max", "60000 50000\n")
    machine.write("/sys/fs/cgroup/kubepods/pod7/main/cpu.max", "150000 100000\n")
    machine.write(
        "/sys/fs/cgroup/kubepods/pod7/main/cpu.stat",
        "usage_usec 2500000\nuser_usec 2000000\nnr_periods 9\nthrottled_usec 750000\n",
    )
    return machine


@pytest.fixture
def v1(tmp_path: Path) -> Machine:
    """A container of cgroup v1 that sees its own cgroup at the mount point."""
    machine = Machine(tmp_path)
    machine.write("/proc/self/mountinfo", V1_MOUNTS.format(root="/docker/abc"))
    machine.write("/proc/self/cgroup", "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n")
    machine.write("/proc/self/status", STATUS.format(cpus="0-7"))
    cpu = "/sys/fs/cgroup/cpu,cpuacct"
    machine.write(f"{cpu}/cpu.cfs_quota_us", "50000\n")
    machine.write(f"{cpu}/cpu.cfs_period_us", "100000\n")
    machine.write(f"{cpu}/cpu.stat", "nr_periods 10\nnr_throttled 3\nthrottled_time 1500000000\n")
    machine.write(f"{cpu}/cpuacct.usage", "4000000000\n")
    # What a v2 mount beside v1 says of the CPU is of the whole machine, and must not be read.
    machine.write("/sys/fs/cgroup/unified/cpu.max", "1000 100000\n")
    machine.write("/sys/fs/cgroup/unified/cpu.stat", "usage_usec 999\nthrottled_usec 999\n")
    return machine


def test_parse_quotas() -> None:
    assert parse_cpu_max("150000 100000\n") == 1.5
    assert parse_cpu_max("50000\n") == 0.5
    assert parse_cpu_max("max 100000\n") is None
    assert parse_cpu_max("") is None
    assert parse_cfs_quota("25000\n", "100000\n") == 0.25
    assert parse_cfs_quota("-1\n", "100000\n") is None


def test_parse_stat() -> None:
    assert parse_cpu_stat("usage_usec 1500000\nthrottled_usec 250000\n") == CpuStat(1.5, 0.25)
    assert parse_cpu_stat("nr_periods 0\nthrottled_time 2000000000\n") == CpuStat(None, 2.0)
    assert parse_cpu_stat("usage_usec 10\n") == CpuStat(0.00001, None)
    assert parse_cpu_stat("") == CpuStat(None, None)


@pytest.mark.parametrize(("text", "cpus"), [("0", 1), ("0-3", 4), ("0-1,4,6-7\n", 5)])
def test_parse_cpu_list(text: str, cpus: int) -> None:
    assert parse_cpu_list(text) == cpus
    assert parse_affinity(STATUS.format(cpus=text)) == cpus


def test_parse_where_the_cgroups_are() -> None:
    assert parse_affinity("Name:\tpython3\n") is None
    assert parse_memberships("3:cpu,cpuacct:/a:b\n0::/\nbroken\n") == {
        "cpu": PurePosixPath("/a:b"),
        "cpuacct": PurePosixPath("/a:b"),
        "": PurePosixPath("/"),
    }
    assert parse_mounts(V1_MOUNTS.format(root="/with\\040space") + "broken\n") == [
        CgroupMount(
            1,
            frozenset({"rw", "cpu", "cpuacct"}),
            PurePosixPath("/with space"),
            PurePosixPath("/sys/fs/cgroup/cpu,cpuacct"),
        ),
        CgroupMount(2, frozenset(), PurePosixPath("/"), PurePosixPath("/sys/fs/cgroup/unified")),
    ]


def test_v2_takes_the_least_quota_up_the_hierarchy(v2: Machine) -> None:
    reader = v2.reader()
    assert reader.quota_cores == 1.2
    assert reader.usage_s() == 2.5
    assert reader.throttled_s() == 0.75


def test_v1_of_a_container(v1: Machine) -> None:
    reader = v1.reader()
    assert reader.quota_cores == 0.5
    assert reader.usage_s() == 4.0
    assert reader.throttled_s() == 1.5


def test_v1_of_a_host_looks_up_the_hierarchy(v1: Machine) -> None:
    v1.write("/proc/self/mountinfo", V1_MOUNTS.format(root="/"))
    cpu = "/sys/fs/cgroup/cpu,cpuacct"
    v1.write(f"{cpu}/cpu.cfs_quota_us", "-1\n")
    v1.write(f"{cpu}/docker/cpu.cfs_quota_us", "75000\n")
    v1.write(f"{cpu}/docker/cpu.cfs_period_us", "100000\n")
    v1.write(f"{cpu}/docker/abc/cpu.cfs_quota_us", "-1\n")
    v1.write(f"{cpu}/docker/abc/cpu.cfs_period_us", "100000\n")
    v1.write(f"{cpu}/docker/abc/cpuacct.usage", "6000000000\n")
    reader = v1.reader()
    assert reader.quota_cores == 0.75
    assert reader.usage_s() == 6.0


def test_the_affinity_can_be_less_than_the_quota(v2: Machine) -> None:
    v2.write("/proc/self/status", STATUS.format(cpus="3"))
    assert v2.reader().quota_cores == 1


def test_a_configured_quota_overrules(v2: Machine) -> None:
    assert v2.reader(quota_cores=0.8).quota_cores == 0.8


def test_without_any_quota_the_process_alone_is_counted(v2: Machine) -> None:
    v2.write("/sys/fs/cgroup/kubepods/pod7/cpu.max", "max 100000\n")
    v2.write("/sys/fs/cgroup/kubepods/pod7/main/cpu.max", "max 100000\n")
    reader = v2.reader()
    assert reader.quota_cores == 8
    assert reader.usage_s() == v2.process_s


def test_a_system_without_any_of_these_files(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    reader = machine.reader()
    assert reader.quota_cores == 1
    assert reader.usage_s() == machine.process_s
    assert reader.throttled_s() == 0


def test_load_is_use_over_quota_in_a_window(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    reader = machine.reader(quota_cores=2.0)
    assert reader.load_ratio() == 0
    machine.now_s += 10
    machine.process_s += 10
    assert reader.load_ratio() == pytest.approx(0.5)
    # Asked again at once: the same, and the window is not cut short.
    machine.now_s += 0.01
    assert reader.load_ratio() == pytest.approx(0.5)
    # Six seconds of nothing leave the busy ones outside of the window.
    for _ in range(6):
        machine.now_s += 1
        reader.load_ratio()
    assert reader.load_ratio() == 0


def test_this_machine() -> None:
    reader = CpuReader()
    assert 0 < reader.quota_cores <= len(os.sched_getaffinity(0))
    assert reader.usage_s() > 0
    assert reader.throttled_s() >= 0
    assert reader.load_ratio() >= 0
