"""Servers that are started: they answer, are pinned, and end with everything they started."""

from __future__ import annotations

import os
import sys

import pytest

from loadtest import procfs, server
from loadtest.server import NotStarted, started

ECHO = f"{sys.executable} -m tests.loadtest.echo --port {{port}}"


async def test_it_answers_and_ends() -> None:
    async with started(ECHO) as running:
        assert running.pid is not None
        assert procfs.threads(running.pid) >= 1
        pid = running.pid
    assert not (procfs.PROC / str(pid)).exists()


async def test_it_is_pinned() -> None:
    core = min(os.sched_getaffinity(0))
    async with started(ECHO, cores=str(core)) as running:
        assert running.pid is not None
        assert os.sched_getaffinity(running.pid) == {core}


async def test_its_children_end_with_it() -> None:
    async with started(f"sh -c '{ECHO} & wait'") as running:
        assert running.pid is not None
        tree = procfs.tree(running.pid)
        assert len(tree) == 2
        assert sorted(procfs.group(running.pid)) == sorted(tree)
    assert procfs.group(tree[0]) == []


async def test_a_server_that_fails_says_why() -> None:
    with pytest.raises(NotStarted, match="no such thing"):
        async with started("sh -c 'echo no such thing; exit 3'"):
            raise AssertionError("it did not start")


async def test_a_server_that_never_answers_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "START_TIMEOUT_S", 0.3)
    with pytest.raises(NotStarted):
        async with started("sleep 60"):
            raise AssertionError("it did not answer")
