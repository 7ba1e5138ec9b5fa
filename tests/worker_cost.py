"""What giving a job to a thread and having its answer costs: `python -m tests.worker_cost`.

CPU of the process for a job that does nothing, by `Workers.run` and by the usual way over
concurrent.futures; once in a tight loop, and once with a pause before each, as between two frames.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import uvloop

from service.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PAUSE_S = 1 / 30


def nothing(number: int) -> int:
    return number


async def cost_us(give: Callable[[int], Awaitable[int]], jobs: int, pause_s: float) -> float:
    """Of one job, the median."""
    costs_ns = []
    for number in range(jobs):
        if pause_s:
            await asyncio.sleep(pause_s)
        began_ns = time.process_time_ns()
        await give(number)
        costs_ns.append(time.process_time_ns() - began_ns)
    return statistics.median(costs_ns) / 1e3


async def main() -> None:
    loop = asyncio.get_running_loop()
    with Workers(lambda: 1.0) as workers, ThreadPoolExecutor(1) as pool:
        ways: dict[str, Callable[[int], Awaitable[int]]] = {
            "Workers.run": lambda number: workers.run(nothing, number),
            "run_in_executor": lambda number: loop.run_in_executor(pool, nothing, number),
        }
        for name, give in ways.items():
            tight_us = await cost_us(give, 3000, 0.0)
            paused_us = await cost_us(give, 200, PAUSE_S)
            sys.stdout.write(f"{name:16} {tight_us:6.1f} us, after a pause {paused_us:6.1f}\n")


if __name__ == "__main__":
    uvloop.run(main())
