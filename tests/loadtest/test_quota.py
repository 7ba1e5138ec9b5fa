"""Quotas: their text, and a real one that holds a process back."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from loadtest import quota
from loadtest.quota import NoQuota, Quota

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "found"), [("30:0.5", (30.0, 0.5)), ("0:2", (0.0, 2.0)), ("1.5:0.01", (1.5, 0.01))]
)
def test_change(text: str, found: tuple[float, float]) -> None:
    assert quota.change(text) == found


@pytest.mark.parametrize("text", ["", "30", "30:", ":1", "a:1", "-1:1", "1:0", "1:nan", "nan:1"])
def test_no_change(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|could not convert"):
        quota.change(text)


def system(root: Path, mounts: str, cgroup: str) -> None:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mounts").write_text(mounts)
    (root / "proc/self/cgroup").write_text(cgroup)


def test_no_hierarchy(tmp_path: Path) -> None:
    system(tmp_path, "proc /proc proc rw 0 0\n", "0::/\n")
    with pytest.raises(NoQuota, match="no cgroup hierarchy with a cpu controller is mounted"):
        Quota(0.5, root=tmp_path)


def test_a_hierarchy_without_the_controller(tmp_path: Path) -> None:
    # A folder stands in for the mount: groups made in it have none of the kernel's files.
    system(tmp_path, "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", "0::/user/own\n")
    own = tmp_path / "sys/fs/cgroup/user/own"
    own.mkdir(parents=True)
    with pytest.raises(NoQuota, match=r"no cpu\.max that can be written"):
        Quota(0.5, root=tmp_path)
    assert list(own.iterdir()) == []
    assert list(own.parent.iterdir()) == [own]


def test_where_a_group_is_made(tmp_path: Path) -> None:
    mounts = (
        "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
        "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n"
        "cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n"
    )
    system(tmp_path, mounts, "4:cpu,cpuacct:/pod/one\n3:cpuset:/\n0::/elsewhere\n")
    one = tmp_path / "sys/fs/cgroup/cpu,cpuacct/pod/one"
    two = tmp_path / "sys/fs/cgroup/unified"
    one.mkdir(parents=True)
    two.mkdir(parents=True)
    # The v2 name is one from outside of this mount.
    assert quota._parents(tmp_path) == [(one, 1), (two, 2)]


@pytest.fixture
def group() -> Iterator[Quota]:
    try:
        one = Quota(0.05)
    except NoQuota as exc:
        pytest.skip(str(exc))
    yield one
    one.remove()
    assert not one.directory.exists()


BURN = """
import sys, time
for line in sys.stdin:
    begin, used = time.monotonic(), time.process_time()
    while time.monotonic() - begin < 1.0: pass
    print((time.process_time() - used) / (time.monotonic() - begin), flush=True)
"""


def test_a_process_gets_what_the_quota_gives_and_no_more(group: Quota) -> None:
    process = subprocess.Popen(
        group.wrapped([sys.executable, "-c", BURN]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def used() -> float:
        """Cores that a busy second got."""
        assert process.stdin is not None
        assert process.stdout is not None
        print("go", file=process.stdin, flush=True)
        return float(process.stdout.readline())

    def throttled() -> int:
        return group.periods()[1]

    try:
        assert used() < 0.35
        assert 0 < group.used_s() < 1.5
        assert group.throttled_s() > 0
        assert str(process.pid) in (group.directory / "cgroup.procs").read_text().split()
        assert throttled() > 0
        group.set(2.0)
        time.sleep(0.2)  # the period that was begun under the old one
        before = throttled()
        used()
        assert throttled() == before
    finally:
        process.communicate(timeout=20)


def test_a_group_that_is_gone_cannot_be_set(group: Quota) -> None:
    group.remove()
    with pytest.raises(NoQuota, match="No such file"):
        group.set(0.5)
