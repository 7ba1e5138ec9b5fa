"""A result as one HTML file with plots: nothing in it is fetched from anywhere, and no script runs.

panels.py says what is drawn, drawing.py draws it, page.py puts it together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.report import page

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.results import CapacityResult, LoadResult


def write(result: LoadResult | CapacityResult, path: Path) -> None:
    """Raises OSError where the file cannot be written."""
    path.write_text(page.of(result), encoding="utf-8")
