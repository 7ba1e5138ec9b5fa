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
from service.frame.models import Models
from service.frame.person import networks_of
from service.modelcards import MODELS_DIRECTORY
from service.policy.effects import MODELS
from tests.acceptance.mattes import COLOUR, is_colour
from tests.acceptance.streaming import send
from tests.evaluation.films import write
from tests.frame.portrait import cutout
from tests.frame.scenes import frame_of, rgb_of

if TYPE_CHECKING:
    from pathlib import Path

    import av

    from tests.frame.scenes import U8
    from tests.running import Service

FPS = 25
FRAMES = 40
WIDTH, HEIGHT = 640, 360


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


def installed(model: str) -> bool:
    return set(networks_of(model)) <= Models.load(MODELS_DIRECTORY).available()


async def test_a_model_runs_live_or_says_how_to_get_it(service: Service) -> None:
    frames, alpha = film()
    clip = clips.encode(frames, clips.Codec.H264, FPS, bitrate_bps=1_500_000)
    away = cv2.dilate(alpha, np.ones((81, 81), np.uint8)) == 0
    face = slice(round(0.2 * HEIGHT), round(0.35 * HEIGHT)), slice(315, 345)
    ran = []
    for model in MODELS:
        effect = {"type": "color", "color": COLOUR, "model": model}
        if not installed(model):
            async with (
                aiohttp.ClientSession() as http,
                http.post(f"{service.url}/v1/sessions", json={"effect": effect}) as answer,
            ):
                assert answer.status in (409, 422, 503)
                assert "python -m service models fetch" in (await answer.json())["detail"]
            continue
        journey = await send(service.url, clip, effect)
        assert journey.returned >= FRAMES // 3, model
        last = journey.pictures[-1].rgb
        assert is_colour(last)[away].mean() > 0.97, model
        assert is_colour(last)[face].mean() < 0.05, model
        ran.append(model)
    assert {"hybrid", "selfie", "blazeface", "facemesh"} <= set(ran)


@pytest.mark.parametrize("model", MODELS)
async def test_and_from_the_command_line(model: str, tmp_path: Path) -> None:
    if not installed(model):
        pytest.skip(f"{model} is not installed: python -m service models fetch {model}")
    frames, _ = film()
    source = tmp_path / "film.mp4"
    write(source, [rgb_of(frame) for frame in frames[:15]])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", "matte", str(source),
        "--alpha", str(tmp_path / "alpha.mkv"), "--model", model,
        cwd=MODELS_DIRECTORY.parent,
    )  # fmt: skip
    assert await process.wait() == 0
    assert (tmp_path / "alpha.mkv").stat().st_size > 0
