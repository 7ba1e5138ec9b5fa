"""A bar for whoever waits; nothing where the output is no terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtest.results import Second


class Bar:
    """One run after the other on the same line."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting the server", total=None, now="")

    def begin(self, what: str, seconds: float | None) -> None:
        """`seconds`: how long it will take; None where nobody knows."""
        self._progress.reset(self._task, description=what, total=seconds, now="")

    def second(self, one: Second) -> None:
        """A second of the run is over."""
        self._progress.update(self._task, completed=one.at_s + 1, now=words(one))


def words(one: Second) -> str:
    """What is going on, in a few words."""
    found = [f"{one.open} open"]
    lost = {"refused": one.refused, "failed": one.failed, "cut off": one.cut_off}
    found += [f"{count} {name}" for name, count in lost.items() if count]
    found.append(f"{one.back_fps:.0f} of {one.sent_fps:.0f} fps back")
    if one.latency_ms is not None:
        found.append(f"p95 {one.latency_ms.p95:.0f} ms")
    if one.server_cores is not None:
        found.append(f"server {one.server_cores:.2f} cores")
    return ", ".join(found)


@contextmanager
def bar() -> Iterator[Bar]:
    """Is gone when it is over."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[now]}"),
    )
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=not (console.is_terminal and sys.stdout.isatty()),
    ) as progress:
        yield Bar(progress)
