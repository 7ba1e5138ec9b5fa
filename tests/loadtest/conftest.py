"""Clips and a server for the load test's own tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aioice.ice
import numpy as np
import pytest

from loadtest import clip as clips
from loadtest.stamp import Place

if TYPE_CHECKING:
    import av

SIZE = (320, 192)
FPS = 30
FILM_FRAMES = 30


@pytest.fixture(scope="session")
def film() -> list[av.VideoFrame]:
    """Drifting noise with soft edges, as yuv420p."""
    random = np.random.default_rng(3)
    wide = random.integers(60, 200, (SIZE[1] // 16, SIZE[0] // 16 + FILM_FRAMES, 3), np.uint8)
    return [
        clips.picture_of(
            np.ascontiguousarray(
                np.kron(
                    wide[:, shift : shift + SIZE[0] // 16], np.ones((16, 16, 1), np.uint8)
                ).astype(np.uint8)
            )
        )
        for shift in range(FILM_FRAMES)
    ]


@pytest.fixture(scope="session", params=list(clips.Codec), ids=lambda codec: codec.value)
def clip(request: pytest.FixtureRequest, film: list[av.VideoFrame]) -> clips.EncodedClip:
    """A lead-in with numbers, then the film, in each codec."""
    return clips.prepare(film, request.param, FPS, place=Place(0.5, 0.5))


@pytest.fixture(autouse=True)
def clients_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """aioice leaves 127.0.0.1 out; the clients of these tests have nothing else."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
