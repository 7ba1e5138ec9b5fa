"""A row, and what its runs gave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from loadtest.bench.figures import Figures
from loadtest.bench.rows import Row
from loadtest.clip import Codec
from loadtest.figures import Percentiles

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def row() -> Row:
    return Row("talk", Codec.H264, 640, 360)


@pytest.fixture
def figures() -> Callable[..., Figures]:
    """Of a run in which all went well; each can be given another value."""

    def made(**changed: Any) -> Figures:
        given: dict[str, Any] = {
            "seconds": 10.0,
            "sent": 300,
            "returned": 300,
            "cpu_ms_per_frame": 4.0,
            "core_percent": 12.0,
            "latency_ms": Percentiles(5.0, 9.0, 11.0, 14.0),
            "pairing": "picture",
            "returned_kbps": 800.0,
            "kbit_per_frame": 26.7,
            "estimate_kbps": 800.9,
            "levels": ("full",),
            "others_percent": 1.0,
        }
        return Figures(**(given | changed))

    return made
