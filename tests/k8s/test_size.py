"""A pod holds the sessions that are promised, and in memory all that it may keep at once."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from loadtest.plan.figures import Figures, Stream, read
from service.frame.backdrop import OWN_CACHE_BYTES
from service.frame.background import CACHE_BYTES
from service.frame.picture import MAX_PIXELS, MAX_SIDE_PX
from service.library.stored import MAX_DECODED_BYTES, MAX_FILE_BYTES
from service.session.films import TOTAL_BYTES
from service.session.pictures import MAX_CACHED_BYTES
from service.settings import Settings
from tests.k8s.rendered import OVERLAYS, container

PAGE: Final = Path(__file__).parents[2] / "docs" / "operations.md"
RGB: Final = 3
CACHES: Final = (TOTAL_BYTES, MAX_DECODED_BYTES, MAX_FILE_BYTES, MAX_CACHED_BYTES, CACHE_BYTES)
"""Of one process: films, the library's decoded pictures and files, built-in ones, planes."""
OWN_BYTES: Final = OWN_CACHE_BYTES + RGB * MAX_SIDE_PX * MAX_SIDE_PX * 9 // 16
"""Of one session: planes of its own, and a picture of its own of 16:9 as large as is kept."""
DECODING_BYTES: Final = RGB * MAX_PIXELS
"""One picture at a time is decoded, as large as is taken."""
UNITS: Final = {"Mi": 1 << 20, "Gi": 1 << 30}
WORDS: Final = {4: "four", 8: "eight"}


def memory(quantity: str) -> int:
    """Bytes."""
    return int(quantity[:-2]) * UNITS[quantity[-2:]]


def cores(quantity: str) -> float:
    return int(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


def slots(figures: Figures, stream: Stream, cores: float) -> int:
    return max(1, int(figures.planned_share * cores / stream.cores + 1e-9))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_full_pod_with_full_caches_stays_within_its_memory(overlay: str) -> None:
    figures = read()
    limits = container(overlay)["resources"]["limits"]
    fullest = max(
        figures.process_mb * 1e6
        + slots(figures, stream, cores(limits["cpu"])) * (stream.mb * 1e6 + OWN_BYTES)
        for stream in figures.streams
    )
    needed = fullest + sum(CACHES) + DECODING_BYTES
    assert needed <= memory(limits["memory"])
    # What is never used is not asked of the nodes, either.
    assert memory(limits["memory"]) < 1.6 * needed


@pytest.mark.parametrize("overlay", ["production", "production-stunner"])
def test_the_cores_hold_the_sessions_that_are_promised(overlay: str) -> None:
    figures = read()
    limits = container(overlay)["resources"]["limits"]
    assert cores(limits["cpu"]) == figures.pod_cores
    assert Settings().planned_share == figures.planned_share
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    for stream in figures.streams:
        held = slots(figures, stream, cores(limits["cpu"]))
        assert held == figures.slots(stream)
        size, _, _ = stream.name.partition(" ")
        assert f"{WORDS[held]} of {size} ({stream.cores:.2f} cores each)" in page
