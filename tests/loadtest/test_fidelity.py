"""The judge tells a good picture from one that was made with less: with the service's own matte."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from loadtest import clip as clips
from loadtest import fidelity, floor
from loadtest.clip import Codec
from loadtest.example_server import MODEL, Effect
from loadtest.fidelity import Coded, NotComparable, SquaredError, recovered_alpha
from loadtest.planes import GREEN, GREEN_YUV, planes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from loadtest.clip import EncodedClip
    from loadtest.fidelity import Planes

FPS = 30
SIZE = (320, 192)
BITRATE_BPS = 800_000
SENT = (*range(20), *range(10, 30))
"""As a client sends it that was asked for a keyframe after the 20th."""
SETTLED = 10
"""Frames that the matte has to find itself."""


@pytest.fixture(scope="module")
def clip() -> EncodedClip:
    film = clips.default_film(SIZE, FPS, seconds=1)
    return clips.encode(film, Codec.H264, FPS, loop_from=10, bitrate_bps=2 * BITRATE_BPS)


@dataclasses.dataclass
class Material:
    """What was sent, as a film, the service's matte of it, and both frame by frame."""

    film: Path
    alpha: Path
    sources: list[Planes]
    mattes: list[np.ndarray]
    pictures: list[av.VideoFrame]


@pytest.fixture(scope="module")
def material(clip: EncodedClip, tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("fidelity")
    film, alpha = folder / "sent.nut", folder / "alpha.mkv"
    fidelity.write_film(film, clip, SENT)
    effect = json.dumps({"type": "color", "color": GREEN})
    words = ["service", "matte", str(film), "--alpha", str(alpha), "--effect", effect]
    subprocess.run([sys.executable, "-m", *words], check=True, capture_output=True, timeout=60)
    with av.open(str(film)) as container:
        pictures = list(container.decode(video=0))
    with av.open(str(alpha)) as container:
        mattes = [clips.luma_of(one.reformat(format="gray")) for one in container.decode(video=0)]
    assert len(pictures) == len(mattes) == len(SENT)
    return Material(film, alpha, [planes_of(one) for one in pictures], mattes, pictures)


def encoded(pictures: Iterable[Planes], *, bitrate_bps: int = BITRATE_BPS) -> list[Coded]:
    """As a server would send them, numbered from 0."""
    context = floor.encoder(Codec.H264, *SIZE, bitrate_bps)
    found = []
    for number, planes in enumerate(pictures):
        frame = av.VideoFrame(*SIZE, "yuv420p")
        for into, plane in zip(planes_of(frame), planes, strict=True):
            into[:] = plane
        frame.pts, frame.time_base = number * 3000, floor.CLOCK
        frame.pict_type = PictureType.NONE
        found.append(Coded(number, b"".join(bytes(packet) for packet in context.encode(frame))))
    return found


def composites(material: Material, *, late: int = 0) -> list[Planes]:
    """Each source by the matte of itself, or of the one `late` frames before."""
    return [
        fidelity.composed(source, material.mattes[max(0, number - late)], GREEN_YUV)
        for number, source in enumerate(material.sources)
    ]


def judged(
    clip: EncodedClip,
    material: Material,
    returned: Sequence[Coded],
    counts: Callable[[int], bool] = SETTLED.__le__,
) -> fidelity.Fidelity:
    return fidelity.compare(clip, material.film, material.alpha, returned, counts, GREEN_YUV)


def test_a_film_has_what_was_sent(clip: EncodedClip, material: Material) -> None:
    # The second time around the decoder begins at the keyframe, and gives the same.
    for first, again in ((10, 20), (19, 29)):
        for one, other in zip(material.sources[first], material.sources[again], strict=True):
            assert np.array_equal(one, other)
    assert len(material.sources) == len(SENT)


async def test_the_whole_way(clip: EncodedClip, material: Material) -> None:
    found = await fidelity.judge(
        clip,
        SENT,
        encoded(composites(material)),
        judged=lambda number: number >= SETTLED,
        effect=GREEN,
    )
    assert found.frames == len(SENT) - SETTLED
    assert found.telling_share > 0.95
    assert found.iou > 0.98
    assert found.worst_iou > 0.97
    assert found.mad < 0.02
    assert found.psnr_db > 38


def test_without_an_encoder_nothing_is_missing(clip: EncodedClip, material: Material) -> None:
    score = fidelity._Score(GREEN_YUV)
    for source, matte, picture in zip(
        material.sources, material.mattes, composites(material), strict=True
    ):
        score.add(picture, source, matte)
    found = score.result()
    assert found.iou > 0.99
    assert found.mad < 0.01
    assert found.psnr_db == float("inf")


@pytest.mark.parametrize("worse", ["raw", "half", "late", "coarse"])
def test_less_is_found_out(clip: EncodedClip, material: Material, worse: str) -> None:
    good = judged(clip, material, encoded(composites(material)))
    bitrate_bps = 60_000 if worse == "coarse" else BITRATE_BPS
    if worse == "raw":
        pictures = material.sources
    elif worse == "half":  # a matte that keeps half of the person
        halves = [np.where(np.arange(SIZE[0]) < 0.54 * SIZE[0], one, 0) for one in material.mattes]
        halved = dataclasses.replace(material, mattes=[one.astype(np.uint8) for one in halves])
        pictures = composites(halved)
    else:
        pictures = composites(material, late=9 if worse == "late" else 0)
    bad = judged(clip, material, encoded(pictures, bitrate_bps=bitrate_bps))
    assert bad.psnr_db < good.psnr_db - 1.5
    if worse == "coarse":
        return
    assert bad.iou < good.iou - 0.005
    assert bad.mad > 1.3 * good.mad
    if worse != "late":
        assert bad.iou < 0.7


def test_a_frame_that_was_dropped_is_passed_over(clip: EncodedClip, material: Material) -> None:
    pictures = composites(material)
    kept = [number for number in range(len(SENT)) if number % 3]
    returned = [
        Coded(number, one.data)
        for number, one in zip(kept, encoded(pictures[number] for number in kept), strict=True)
    ]
    found = judged(clip, material, returned)
    assert found.frames == sum(number >= SETTLED for number in kept)
    assert found.iou > 0.98


def test_another_size_is_no_answer(clip: EncodedClip, material: Material) -> None:
    returned = encoded(composites(material))
    other = dataclasses.replace(clip, width=640, height=384)
    with pytest.raises(NotComparable, match="320x192 came back of 640x384"):
        judged(other, material, returned)


def test_nothing_to_judge(clip: EncodedClip, material: Material) -> None:
    with pytest.raises(NotComparable, match="no returned frame"):
        judged(clip, material, encoded(composites(material)), lambda number: False)


def test_a_frame_that_was_never_sent(clip: EncodedClip, material: Material) -> None:
    (first, *_) = encoded(composites(material)[:1])
    with pytest.raises(NotComparable, match="frame 99"):
        judged(clip, material, [Coded(99, first.data)])


def test_a_frame_that_is_no_frame(clip: EncodedClip, material: Material) -> None:
    with pytest.raises(NotComparable, match="cannot be decoded"):
        judged(clip, material, [Coded(0, b"\x00\x00\x01\x65 no slice")])


async def test_a_matte_that_fails(clip: EncodedClip) -> None:
    with pytest.raises(NotComparable, match="no such matte"):
        await fidelity.judge(
            clip,
            SENT,
            [],
            judged=bool,
            effect=GREEN,
            matte_command="sh -c 'echo no such matte >&2; exit 3'",
        )


async def test_a_matte_that_takes_too_long(
    clip: EncodedClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fidelity, "MATTE_TIMEOUT_S", 0.1)
    with pytest.raises(NotComparable, match="no matte within"):
        await fidelity.judge(clip, SENT, [], judged=bool, effect=GREEN, matte_command="sleep 30")


@pytest.mark.model
def test_the_example_servers_pictures(clip: EncodedClip, material: Material) -> None:
    effect = Effect(MODEL)
    made = [planes_of(effect(one).reformat(format="yuv420p")) for one in material.pictures]
    fine, coarse = (
        fidelity.example_psnr_db(
            clip, SENT, encoded(made, bitrate_bps=bitrate_bps), lambda number: number > 5
        )
        for bitrate_bps in (BITRATE_BPS, 60_000)
    )
    assert fine > 38
    assert coarse < fine - 1.5


def flat(levels: tuple[int, int, int], rows: int = 4, columns: int = 6) -> Planes:
    return [
        np.full((rows // step, columns // step), level, np.uint8)
        for level, step in zip(levels, (1, 2, 2), strict=True)
    ]


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
def test_alpha_is_recovered(alpha: float) -> None:
    source, colour = (120, 90, 170), (100, 60, 40)
    mixed = [
        round(alpha * one + (1 - alpha) * other) for one, other in zip(source, colour, strict=True)
    ]
    found, telling = recovered_alpha(flat((mixed[0], mixed[1], mixed[2])), flat(source), colour)
    assert telling.all()
    assert found == pytest.approx(alpha, abs=0.01)


def test_alpha_is_not_told_where_the_colours_are_alike() -> None:
    _, telling = recovered_alpha(flat((10, 100, 100)), flat((200, 110, 110)), (50, 100, 100))
    assert not telling.any()


def test_psnr() -> None:
    error = SquaredError()
    assert error.psnr_db == float("inf")
    error.add(flat((10, 20, 30)), flat((10, 20, 30)))
    assert error.psnr_db == float("inf")
    error.add(flat((10, 20, 30)), flat((12, 22, 32)))  # half of all samples are off by two
    assert error.psnr_db == pytest.approx(10 * np.log10(255**2 / 2))
