"""The service's own micro-benchmarks, in a process of their own on the servers' core."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadtest import clip as clips
from loadtest.bench.rows import FPS, SIZES
from loadtest.fidelity import write_film

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT_S = 900.0
SHORT_RUNS = 5
SHORT_SECONDS = 2


async def run(name: str, films: Sequence[Path], core: int | None, *, short: bool) -> dict[str, Any]:
    """The JSON of `service bench models` or `service bench frames`; frames of the test person
    where there is no film. Raises RuntimeError or OSError with its last words."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        given = list(films)
        if name == "frames" and not given:
            given = [Path(folder, "test-person.nut")]
            await asyncio.to_thread(_draw, given[0], SHORT_SECONDS if short else clips.LOOP_S)
        runs = ["--runs", str(SHORT_RUNS)] if short and name == "models" else []
        pinned = [] if core is None else ["taskset", "-c", str(core)]
        listed = [str(film) for film in given] if name == "frames" else []
        # argparse wants the clips right behind the word they belong to.
        words = [sys.executable, "-m", "service", "bench", name, *listed, "--json", *runs]
        return await _json_of([*pinned, *words])


def _draw(path: Path, seconds: int) -> None:
    film = clips.default_film(SIZES[0], FPS, seconds=seconds)
    clip = clips.encode(film, clips.Codec.H264, FPS)
    write_film(path, clip, range(len(clip.frames)))


async def _json_of(words: Sequence[str]) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            said, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        raise RuntimeError(complaint.decode(errors="replace").strip() or "no words")
    found: dict[str, Any] = json.loads(said)
    return found
