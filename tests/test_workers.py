"""Workers: never more jobs at once than the budget has cores, whatever it is at the time."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING

import pytest

from service.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_S = 10.0
whose: ContextVar[str] = ContextVar("whose", default="nobody")


class Budget:
    """A CPU budget that the test turns."""

    def __init__(self, cores: float) -> None:
        self.cores = cores

    def __call__(self) -> float:
        return self.cores


class Jobs:
    """Jobs that begin, and end when they are told to."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._begun = threading.Semaphore(0)
        self._may_end = threading.Semaphore(0)
        self._lock = threading.Lock()
        self.running = 0
        self.most = 0

    def post(self, count: int) -> list[Future[None]]:
        return [self._workers.submit(self._job) for _ in range(count)]

    def begun(self, count: int) -> None:
        """Until so many more have begun."""
        for _ in range(count):
            assert self._begun.acquire(timeout=TIMEOUT_S)

    def none_begins(self) -> bool:
        """Nothing that is not there already will come: a short wait is enough to see a fault."""
        return not self._begun.acquire(timeout=0.05)

    def end(self, count: int) -> None:
        self._may_end.release(count)

    def _job(self) -> None:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self._begun.release()
        assert self._may_end.acquire(timeout=TIMEOUT_S)
        with self._lock:
            self.running -= 1


@contextmanager
def workers(budget: Budget, cpus: int = 8) -> Iterator[tuple[Workers, Jobs]]:
    made = Workers(budget, cpus=cpus)
    jobs = Jobs(made)
    try:
        yield made, jobs
    finally:
        jobs.end(1000)
        made.shutdown()
    assert not [each for each in threading.enumerate() if each.name.startswith("frames")]


@pytest.mark.parametrize(
    ("cores", "cpus", "limit"), [(0.3, 8, 1), (1.0, 8, 1), (1.2, 8, 2), (4.0, 8, 4), (20.0, 2, 2)]
)
def test_how_many_at_once(cores: float, cpus: int, limit: int) -> None:
    with workers(Budget(cores), cpus) as (made, jobs):
        assert made.limit == limit
        futures = jobs.post(limit + 3)
        jobs.begun(limit)
        assert jobs.none_begins()
        jobs.end(limit + 3)
        for future in futures:
            future.result(TIMEOUT_S)
        assert jobs.most == limit


def test_the_budget_shrinks_and_grows_under_load() -> None:
    budget = Budget(3.0)
    with workers(budget) as (_, jobs):
        futures = jobs.post(9)
        jobs.begun(3)
        budget.cores = 1.0
        jobs.end(2)
        for future in futures[:2]:
            future.result(TIMEOUT_S)
        assert jobs.none_begins(), "one is running, and one may"
        jobs.end(1)
        jobs.begun(1)
        assert jobs.none_begins()
        budget.cores = 2.0
        futures += jobs.post(1)
        jobs.begun(1)
        assert jobs.none_begins()
        jobs.end(7)
        for future in futures:
            future.result(TIMEOUT_S)
        assert jobs.most == 3


def test_first_come_first_served() -> None:
    order: list[int] = []
    with workers(Budget(1.0)) as (made, jobs):
        jobs.post(1)
        jobs.begun(1)
        futures = [made.submit(order.append, number) for number in range(20)]
        jobs.end(1)
        for future in futures:
            future.result(TIMEOUT_S)
    assert order == list(range(20))


def test_a_fault_is_the_callers_and_the_next_job_runs() -> None:
    with workers(Budget(1.0)) as (made, _):
        with pytest.raises(ZeroDivisionError):
            made.submit(lambda: 1 // 0).result(TIMEOUT_S)
        assert made.submit(pow, 2, 5).result(TIMEOUT_S) == 32


def test_one_that_was_cancelled_while_it_waited_is_passed_over() -> None:
    with workers(Budget(1.0)) as (made, jobs):
        jobs.post(1)
        jobs.begun(1)
        ran: list[int] = []
        cancelled, after = made.submit(ran.append, 1), made.submit(ran.append, 2)
        assert cancelled.cancel()
        jobs.end(1)
        after.result(TIMEOUT_S)
        assert ran == [2]


def test_after_shutdown() -> None:
    with workers(Budget(1.0)) as (made, jobs):
        first, waiting = jobs.post(2)
        jobs.begun(1)
        made.shutdown(wait=False, cancel_futures=True)
        with pytest.raises(RuntimeError, match="shut down"):
            made.submit(print)
        jobs.end(1)
        first.result(TIMEOUT_S)
        with pytest.raises(CancelledError):
            waiting.result(TIMEOUT_S)


def test_a_job_has_the_context_that_it_was_given_in_and_leaves_it_as_it_was() -> None:
    def work(who: str) -> str:
        before = whose.get()
        whose.set(f"changed by {who}")
        return before

    def give(made: Workers, who: str) -> list[Future[str]]:
        whose.set(who)
        return [made.submit(work, who) for _ in range(3)]

    # Two at once of one context too: a context itself can be entered by one thread alone.
    with workers(Budget(2.0), 2) as (made, _):
        given = {who: copy_context().run(give, made, who) for who in ("anna", "ben")}
        for who, futures in given.items():
            assert [future.result(TIMEOUT_S) for future in futures] == [who] * 3
        assert made.submit(whose.get).result(TIMEOUT_S) == "nobody"
    assert whose.get() == "nobody"


# Awaited by a coroutine.


async def test_what_is_awaited_gives_its_result_or_its_fault() -> None:
    with workers(Budget(1.0)) as (made, _):
        assert await made.run(divmod, 7, 3) == (2, 1)
        with pytest.raises(ZeroDivisionError):
            await made.run(divmod, 1, 0)
        token = whose.set("anna")
        assert await made.run(whose.get) == "anna"
        whose.reset(token)


async def test_awaited_jobs_share_the_threads_with_the_others() -> None:
    with workers(Budget(2.0)) as (made, jobs):
        jobs.post(2)
        jobs.begun(2)
        awaited = [asyncio.create_task(made.run(int)) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in awaited)
        jobs.end(2)
        assert await asyncio.gather(*awaited) == [0, 0, 0]


async def test_one_whose_coroutine_was_cancelled_is_not_called() -> None:
    ran: list[int] = []
    with workers(Budget(1.0)) as (made, jobs):
        jobs.post(1)
        jobs.begun(1)
        cancelled, after = (asyncio.create_task(made.run(ran.append, n)) for n in (1, 2))
        await asyncio.sleep(0)
        cancelled.cancel()
        jobs.end(1)
        await after
        assert cancelled.cancelled()
    assert ran == [2]


async def test_one_that_was_cancelled_while_it_ran_harms_nobody() -> None:
    with workers(Budget(1.0)) as (made, _):
        begun, may_end = threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            assert may_end.wait(TIMEOUT_S)

        task = asyncio.create_task(made.run(work))
        assert await asyncio.to_thread(begun.wait, TIMEOUT_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        may_end.set()
        assert await made.run(int) == 0


async def test_a_shutdown_cancels_what_is_awaited_and_has_not_begun() -> None:
    with workers(Budget(1.0)) as (made, jobs):
        jobs.post(1)
        jobs.begun(1)
        waiting = asyncio.create_task(made.run(int))
        await asyncio.sleep(0)
        made.shutdown(wait=False, cancel_futures=True)
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(RuntimeError, match="shut down"):
            await made.run(int)


def test_a_loop_that_is_gone_is_nobodys_fault() -> None:
    may_end = threading.Event()
    with workers(Budget(1.0)) as (made, _):

        async def leave() -> None:
            task = asyncio.create_task(made.run(may_end.wait, TIMEOUT_S))
            await asyncio.sleep(0)
            task.cancel()

        asyncio.run(leave())
        may_end.set()
        assert made.submit(int).result(TIMEOUT_S) == 0


def test_a_system_without_threads_is_told_to_who_needs_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with workers(Budget(2.0)) as (made, jobs):
        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            made.submit(int)
        monkeypatch.setattr(threading.Thread, "start", start)
        jobs.post(1)
        jobs.begun(1)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        late = made.submit(int)  # the one that is there will do it
        jobs.end(1)
        assert late.result(TIMEOUT_S) == 0
