"""Every model of an effect, live in a session of its own and from the command line."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import aiohttp
import cv2
import numpy as np
import pytest

from loadtest import clip as clips
from service.frame.person import networks_of
from service.modelcards import MODELS_DIRECTORY
from service.policy.effects import MODELS
from tests.acceptance.mattes import COLOUR, is_colour
from tests.acceptance.streaming import send
from tests.evaluation.films import write
from tests.fetched import shipped
from tests.frame.metrics import gray_frames
from tests.frame.portrait import cutout
from tests.frame.scenes import frame_of, rgb_of
from tests.running import running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import av

    from tests.fetched import Fetched
    from tests.frame.scenes import U8
    from tests.running import Service

pytestmark = [pytest.mark.model, pytest.mark.download, pytest.mark.timeout(600)]

FPS = 25
FRAMES = 40
WIDTH, HEIGHT = 640, 360
FACE = (slice(72, 126), slice(315, 345))
"""Where her face is in the film, rows and columns: what every model must find of her."""


def film() -> tuple[list[av.VideoFrame], U8]:
    """The portrait before a plain wall with a picture on it; and where she is, 0..255."""
    room = np.full((HEIGHT, WIDTH, 3), (150, 165, 175), np.uint8)
    cv2.rectangle(room, (40, 40), (140, 110), (90, 60, 40), -1)
    scale = 0.95 * HEIGHT / 512
    matrix = np.array([[scale, 0, 180], [0, scale, HEIGHT - 500 * scale]], np.float32)
    person = cv2.warpAffine(cutout(), matrix, (WIDTH, HEIGHT))
    alpha = person[..., 3:].astype(np.float32) / 255
    rgb = (person[..., :3] * alpha + room * (1 - alpha)).astype(np.uint8)
    frames = []
    for index in range(FRAMES):
        noise = np.random.default_rng(index).normal(0, 3, rgb.shape)
        noisy = np.clip(rgb + noise, 0, 255).astype(np.uint8)
        frames.append(frame_of(noisy, index=index))
    return frames, np.asarray(person[..., 3], np.uint8)


@pytest.fixture(scope="module")
def equipped(fetched_models: Fetched) -> Iterator[Service]:
    """A service with every model that can be had."""
    with running(
        MODELS_DIR=str(fetched_models.folder), CPU_CORES="20", LOWEST_QUALITY="full"
    ) as service:
        yield service


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service as it is shipped."""
    with running(MODELS_DIR=str(shipped(tmp_path_factory.mktemp("shipped")))) as service:
        yield service


@pytest.mark.parametrize("model", MODELS)
async def test_a_model_runs_live(model: str, equipped: Service, fetched_models: Fetched) -> None:
    fetched_models.require(*networks_of(model))
    frames, alpha = film()
    clip = clips.encode(frames, clips.Codec.H264, FPS, bitrate_bps=1_500_000)
    away = cv2.dilate(alpha, np.ones((81, 81), np.uint8)) == 0
    journey = await send(equipped.url, clip, {"type": "color", "color": COLOUR, "model": model})
    assert journey.returned >= FRAMES // 3
    last = journey.pictures[-1].rgb
    assert is_colour(last)[away].mean() > 0.97
    assert is_colour(last)[FACE].mean() < 0.05


@pytest.mark.parametrize("model", ["posenet", "bodypix", "rvm"])
async def test_one_that_is_not_installed_is_refused_with_how_to_get_it(
    model: str, bare: Service
) -> None:
    effect = {"type": "color", "color": COLOUR, "model": model}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{bare.url}/v1/sessions", json={"effect": effect}) as answer,
    ):
        assert answer.status == 422
        problem = await answer.json()
    assert problem["type"] == "/problems/model-unavailable"
    assert f"python -m service models fetch {model}" in problem["detail"]


@pytest.mark.parametrize("model", MODELS)
async def test_a_model_runs_from_the_command_line(
    model: str, fetched_models: Fetched, tmp_path: Path
) -> None:
    fetched_models.require(*networks_of(model))
    frames, alpha = film()
    source, found = tmp_path / "film.mp4", tmp_path / "alpha.mkv"
    write(source, [rgb_of(frame) for frame in frames[:15]])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", "matte", str(source), "--alpha", str(found),
        "--model", model, "--directory", str(fetched_models.folder),
        cwd=MODELS_DIRECTORY.parent,
    )  # fmt: skip
    assert await process.wait() == 0
    mattes = list(gray_frames(found))
    assert len(mattes) == 15
    assert mattes[-1][FACE].mean() > 0.8 * 255
    assert mattes[-1][alpha == 0].mean() < 0.15 * 255
