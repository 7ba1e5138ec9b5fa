"""What ended calls have freed goes back to the system."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from service.memory import Returning, give_back

MIB = 1 << 20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="malloc_trim is glibc's")
def test_free_memory_between_used_memory_goes_back() -> None:
    # Blocks below malloc's threshold for mappings of their own; the last keeps the heap's end.
    blocks = [bytearray(100_000) for _ in range(1000)]
    for block in blocks:
        block[:] = b"x" * len(block)
    full = resident_bytes()
    kept = blocks[::50]
    del blocks, block
    assert resident_bytes() > full - 20 * MIB  # nothing has gone back by itself
    assert give_back()
    assert resident_bytes() < full - 60 * MIB
    assert all(one[0] == ord("x") for one in kept)


async def test_calls_that_end_together_are_one_matter() -> None:
    done: list[int] = []
    returning = Returning(lambda: done.append(1), settle_s=0.01)
    task = asyncio.create_task(returning.run())
    await asyncio.sleep(0.05)
    assert not done
    for _ in range(5):
        returning.freed()
    await asyncio.sleep(0.05)
    assert len(done) == 1
    returning.freed()
    await asyncio.sleep(0.05)
    assert len(done) == 2
    task.cancel()
