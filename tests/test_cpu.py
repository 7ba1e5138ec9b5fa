"""The CPU budget from text of cgroup v1 and v2, and from the machine that runs the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from loadtest.quota import NoQuota, Quota
from service.cpu import (
    QUOTA_INTERVAL_S,
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

ROOT = Path(__file__).parents[1]
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
    assert parse_cpu_stat("nr_periods 9\nnr_throttled 2\nthrottled_time 2000000000\n") == CpuStat(
        None, 2.0, periods=9, throttled_periods=2
    )
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


def test_v2_is_held_back_by_a_quota_above_too(v2: Machine) -> None:
    v2.write("/sys/fs/cgroup/kubepods/pod7/cpu.stat", "usage_usec 1\nthrottled_usec 1250000\n")
    assert v2.reader().throttled_s() == 1.25


def test_v1_of_a_container(v1: Machine) -> None:
    reader = v1.reader()
    assert reader.quota_cores == 0.5
    assert reader.usage_s() == 4.0
    assert reader.throttled_s() == 1.5


def test_v1_use_that_is_counted_in_another_group_is_not_ours(v1: Machine) -> None:
    v1.write("/proc/self/cgroup", "4:cpuacct:/\n3:cpu:/docker/abc\n0::/\n")
    reader = v1.reader()
    assert reader.quota_cores == 0.5
    assert reader.usage_s() == v1.process_s


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


def test_a_quota_that_changes_is_seen_within_a_second(v2: Machine) -> None:
    reader = v2.reader()
    v2.write("/sys/fs/cgroup/kubepods/pod7/cpu.max", "40000 50000\n")
    v2.now_s += 0.1
    assert reader.quota_cores == 1.2, "not read again for every caller"
    v2.now_s += QUOTA_INTERVAL_S
    assert reader.quota_cores == 0.8
    v2.write("/sys/fs/cgroup/kubepods/pod7/cpu.max", "max 50000\n")
    v2.write("/sys/fs/cgroup/kubepods/pod7/main/cpu.max", "max 100000\n")
    v2.write("/proc/self/status", STATUS.format(cpus="0-2"))
    v2.now_s += QUOTA_INTERVAL_S
    assert reader.quota_cores == 3
    assert QUOTA_INTERVAL_S < 1


def test_v1_quotas_change_too(v1: Machine) -> None:
    reader = v1.reader()
    v1.write("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n")
    v1.now_s += QUOTA_INTERVAL_S
    assert reader.quota_cores == 2


def test_a_configured_quota_stays(v2: Machine) -> None:
    reader = v2.reader(quota_cores=0.8)
    v2.write("/sys/fs/cgroup/kubepods/pod7/cpu.max", "40000 50000\n")
    v2.now_s += QUOTA_INTERVAL_S
    assert reader.quota_cores == 0.8


def test_load_is_judged_by_the_quota_there_was(v2: Machine) -> None:
    """Two seconds of all of 1.2 cores, then two of all of 0.6: at no time was it more than all."""
    stat = "/sys/fs/cgroup/kubepods/pod7/main/cpu.stat"
    used_us = 2_500_000
    reader = v2.reader()
    for _ in range(4):
        v2.now_s += 0.5
        used_us += 600_000
        v2.write(stat, f"usage_usec {used_us}\n")
        assert reader.load_ratio() == pytest.approx(1.0)
    v2.write("/sys/fs/cgroup/kubepods/pod7/cpu.max", "30000 50000\n")
    for _ in range(4):
        v2.now_s += 0.5
        used_us += 300_000
        v2.write(stat, f"usage_usec {used_us}\n")
        assert reader.load_ratio() == pytest.approx(1.0)


def test_load_begins_anew_where_another_counter_tells_it(v2: Machine) -> None:
    """A quota appears: from the process's own time (1 s) to the cgroup's (2.5 s) is no difference
    of use."""
    unlimited = "max 100000\n"
    v2.write("/sys/fs/cgroup/kubepods/pod7/cpu.max", unlimited)
    v2.write("/sys/fs/cgroup/kubepods/pod7/main/cpu.max", unlimited)
    v2.process_s = 1.0
    reader = v2.reader()
    v2.write("/sys/fs/cgroup/kubepods/pod7/cpu.max", "100000 100000\n")
    v2.now_s += 1
    assert reader.load_ratio() == 0
    v2.now_s += 1
    v2.write("/sys/fs/cgroup/kubepods/pod7/main/cpu.stat", "usage_usec 3000000\n")
    assert reader.load_ratio() == pytest.approx(0.5)


def test_throttling_is_the_share_of_the_last_periods(v2: Machine) -> None:
    stat = "/sys/fs/cgroup/kubepods/pod7/cpu.stat"  # whose quota is the least
    v2.write(stat, "nr_periods 100\nnr_throttled 50\n")
    reader = v2.reader()
    assert reader.throttled_ratio() == 0, "what was before is no matter"
    v2.now_s += 0.5
    v2.write(stat, "nr_periods 105\nnr_throttled 52\n")
    assert reader.throttled_ratio() == pytest.approx(0.4)
    v2.now_s += 0.1
    v2.write(stat, "nr_periods 106\nnr_throttled 53\n")
    assert reader.throttled_ratio() == pytest.approx(0.4), "too soon to tell anything new"
    for _ in range(3):
        v2.now_s += 0.5
        assert 0 <= reader.throttled_ratio() <= 1
    assert reader.throttled_ratio() == 0


def test_without_a_quota_nothing_is_throttled(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    reader = machine.reader()
    machine.now_s += 1
    assert reader.throttled_ratio() == 0


def test_the_affinity_of_this_process_is_followed() -> None:
    allowed = os.sched_getaffinity(0)
    now_s = 100.0
    reader = CpuReader(clock=lambda: now_s)
    before = reader.quota_cores
    try:
        os.sched_setaffinity(0, {min(allowed)})
        now_s += QUOTA_INTERVAL_S
        assert reader.quota_cores <= 1
    finally:
        os.sched_setaffinity(0, allowed)
    now_s += QUOTA_INTERVAL_S
    assert reader.quota_cores == before


TELLS = """
import sys, time
from service.cpu import CpuReader
reader = CpuReader()
for line in sys.stdin:
    end_s = time.monotonic() + float(line)
    while time.monotonic() < end_s:  # as busy as it may be
        pass
    print(reader.quota_cores, reader.throttled_ratio(), reader.load_ratio(), flush=True)
"""


def test_a_real_quota_that_is_changed_under_load() -> None:
    try:
        quota = Quota(0.5)
    except NoQuota as exc:
        pytest.skip(str(exc))
    try:
        with subprocess.Popen(
            quota.wrapped([sys.executable, "-c", TELLS]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None

            def after(busy_s: float) -> list[float]:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(f"{busy_s}\n")
                process.stdin.flush()
                return [float(word) for word in process.stdout.readline().split()]

            cores, throttled, load = after(1.5)
            assert cores == 0.5
            # How much it gets of what it may use is the machine's affair, and so is whether it is
            # ever held back: what the reader says is what the kernel says.
            stat = parse_cpu_stat((quota.directory / "cpu.stat").read_text())
            assert (throttled > 0) == ((stat.throttled_periods or 0) > 0)
            assert 0 < load <= 1.2
            quota.set(0.25)
            assert after(0.6)[0] == 0.25
            quota.set(0.75)
            assert after(0.6)[0] == 0.75
            process.stdin.close()
    finally:
        quota.remove()


def test_this_machine() -> None:
    reader = CpuReader()
    assert 0 < reader.quota_cores <= len(os.sched_getaffinity(0))
    assert reader.usage_s() > 0
    assert reader.throttled_s() >= 0
    assert 0 <= reader.throttled_ratio() <= 1
    assert reader.load_ratio() >= 0
