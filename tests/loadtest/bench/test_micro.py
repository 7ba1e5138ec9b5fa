"""The service's own benches, asked for JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest import clip as clips
from loadtest.bench import micro


@pytest.mark.model
async def test_networks() -> None:
    found = await micro.run("models", [], 0, short=True)
    named = {one["name"]: one for one in found["models"]}
    assert named["selfie_landscape"]["cpu_ms_median"] > 0
    assert named["selfie_landscape"]["runs"] == micro.SHORT_RUNS


@pytest.mark.model
async def test_frames_of_the_test_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "default_film", _short)
    found = await micro.run("frames", [], None, short=True)
    assert [one["clip"] for one in found["frames"]] == ["test-person"] * 2
    assert all(one["frames"] == 6 and one["total_ms"] > 0 for one in found["frames"])


async def test_last_words() -> None:
    with pytest.raises(RuntimeError, match="there is no file"):
        await micro.run("frames", [Path("/nowhere.mp4")], None, short=True)


default_film = clips.default_film


def _short(size: tuple[int, int], fps: int, seconds: int) -> list[object]:
    return list(default_film(size, fps, seconds=1)[:6])
