"""What keeps a core awake is there, disturbs nobody, and ends."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from loadtest import procfs
from loadtest.awake import awake
from loadtest.bench import session

CORE = min(os.sched_getaffinity(0))


def spin(seconds: float) -> int:
    """Rounds in that CPU time of the thread."""
    rounds, end_s = 0, time.thread_time() + seconds
    while time.thread_time() < end_s:
        rounds += 1
    return rounds


def test_it_spins_on_that_core_behind_everybody_else_and_ends() -> None:
    with awake(CORE) as pid:
        assert os.sched_getscheduler(pid) == os.SCHED_IDLE
        assert os.sched_getaffinity(pid) == {CORE}
        end_s = time.monotonic() + 20
        while procfs.cpu_seconds(pid) < 0.2 and time.monotonic() < end_s:
            time.sleep(0.02)
        assert procfs.cpu_seconds(pid) >= 0.2
        assert session._machine_cpu_s(None) - session._machine_cpu_s(pid) >= 0.2
    assert not Path(f"/proc/{pid}").exists()


def test_whoever_wants_the_core_has_it() -> None:
    allowed = os.sched_getaffinity(0)
    with awake(CORE) as pid:
        os.sched_setaffinity(0, {CORE})
        try:
            before_s = procfs.cpu_seconds(pid)
            spin(0.5)
            taken_s = procfs.cpu_seconds(pid) - before_s
        finally:
            os.sched_setaffinity(0, allowed)
    assert taken_s <= 0.1


def test_a_core_that_is_not_there_is_told() -> None:
    with pytest.raises(OSError, match="core 4095"), awake(4095):
        pass
