"""Whose mask it is: on made masks, and on films of two people whose alphas are known apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from service.frame.faces import Face
from service.frame.look import Look
from service.frame.models import Models
from service.frame.people import AHEAD_S, People
from service.frame.pipeline import Pipeline
from service.frame.tracks import Track
from service.modelcards import MODELS_DIRECTORY
from service.policy.effects import Color
from tests.frame.films import Film, Place

if TYPE_CHECKING:
    from pathlib import Path

    from tests.frame.scenes import U8


def person(number: int, x: float, size: float) -> Track:
    face = Face(x - size / 2, 0.2, x + size / 2, 0.2 + size * 16 / 9, 0.9, ())
    return Track(number, face, size, np.zeros((3, 3), np.float32), 0.0, 0.0)


NEAR, BACK = person(1, 0.3, 0.16), person(2, 0.7, 0.1)


def test_everyone_is_no_choice() -> None:
    assert People().choose("everyone", [NEAR, BACK], 0.0) is None
    assert People().choose("speaker", [], 0.0) is None


def test_the_speaker_is_the_nearest_and_nearest_are_counted() -> None:
    third = person(3, 0.5, 0.05)
    assert People().choose("speaker", [BACK, NEAR], 0.0) == [1]
    assert People().choose(2, [BACK, third, NEAR], 0.0) == [1, 2]
    assert People().choose(8, [BACK, NEAR], 0.0) == [1, 2]


def test_the_speaker_stays_until_another_is_nearer_for_a_while() -> None:
    people = People()
    assert people.choose("speaker", [NEAR, BACK], 0.0) == [1]
    closer = person(2, 0.7, 0.3)
    assert people.choose("speaker", [NEAR, closer], 1.0) == [1]
    assert people.choose("speaker", [NEAR, BACK], 1.0 + AHEAD_S / 2) == [1]
    assert people.choose("speaker", [NEAR, closer], 2.0) == [1]
    assert people.choose("speaker", [NEAR, closer], 2.0 + AHEAD_S) == [2]


def test_who_has_gone_is_followed_by_the_next() -> None:
    people = People()
    people.choose("speaker", [NEAR, BACK], 0.0)
    assert people.choose("speaker", [BACK], 0.1) == [2]


def test_a_mask_of_both_is_parted_between_them() -> None:
    mask = np.full((180, 320), 255, np.uint8)
    mask[:, 290:] = 0
    People.keep(mask, [NEAR, BACK], [1])
    assert (mask[120:, 70:120] == 255).all()
    face = BACK.face
    rows = slice(round(face.top * 180), round(face.bottom * 180))
    assert not mask[rows, round(face.left * 320) : round(face.right * 320)].any()
    assert not mask[rows.stop :, 240:].any()


def kept(pipeline: Pipeline, shot_alphas: tuple[U8, ...], alpha: U8) -> list[float]:
    """Share of each person's own surely solid pixels that is in the matte."""
    return [
        float((alpha[own > 250] > 127).mean()) if (own > 250).any() else 0.0 for own in shot_alphas
    ]


@pytest.mark.media
@pytest.mark.model
@pytest.mark.parametrize(
    ("wanted", "shown"),
    [("everyone", (True, True)), ("speaker", (False, True)), (1, (False, True)), (2, (True, True))],
)
def test_two_people_who_cross(media: Path, wanted: str | int, shown: tuple[bool, bool]) -> None:
    """The smaller one walks behind the larger one to the other side, and back into view."""
    film = Film(media, "bg12_simpl_curtains.jpg", "flux_woman_0033.webp", "flux_man_0056.webp")
    models = Models.load(MODELS_DIRECTORY)
    pipeline = Pipeline(models, Look(Color("#00b140", people=wanted)))
    shares: list[list[float]] = []
    for index in range(150):
        walk = min(1.0, max(0.0, (index - 30) / 90))
        shot = film.shoot(
            index,
            Place(0.22 + 0.56 * walk, 1.15, floor=1.45),
            Place(0.74 - 0.5 * walk, 1.6, floor=1.75),
        )
        result = pipeline.process(shot.frame)
        shares.append(kept(pipeline, shot.alphas, pipeline.alpha()))
        result.release()
    # Before they meet, and after they have crossed.
    for part in (shares[10:30], shares[135:]):
        for mean, wanted_shown in zip(np.mean(part, axis=0), shown, strict=True):
            assert mean > 0.9 if wanted_shown else mean < 0.1, (wanted, np.mean(part, axis=0))
    # While they cross, the one in front is there all the time.
    assert np.mean([share[1] for share in shares[30:135]]) > 0.85


def seen_of_the_far_one(media: Path, room: str, *, closer: bool) -> float:
    """Intersection over union in the half of the picture where somebody small stands, once she
    has had four seconds to be found; the other one sits before the camera."""
    film = Film(media, room, "flux_woman_0033.webp", "flux_man_0056.webp")
    pipeline = Pipeline(Models.load(MODELS_DIRECTORY), Look(Color("#00b140")))
    if not closer:
        pipeline._look_far = lambda *_: None  # type: ignore[method-assign]
    overlaps = []
    for index in range(150):
        far = Place(0.8 + 0.01 * np.sin(index / 5), 0.55, floor=0.9)
        near = Place(0.3 + 0.01 * np.sin(index / 7), 1.6, floor=1.75)
        shot = film.shoot(index, far, near)
        result = pipeline.process(shot.frame)
        result.release()
        if index >= 125:
            found, true = pipeline.alpha()[:, 400:] > 127, shot.alphas[0][:, 400:] > 127
            overlaps.append(float((found & true).sum() / (found | true).sum()))
    return float(np.mean(overlaps))


@pytest.mark.media
@pytest.mark.model
@pytest.mark.parametrize(
    ("room", "least"), [("bg12_simpl_curtains.jpg", 0.88), ("bg01_twilio_living_room.jpg", 0.62)]
)
def test_somebody_far_away_is_found_and_looked_at_alone(
    media: Path, room: str, least: float
) -> None:
    alone = seen_of_the_far_one(media, room, closer=True)
    assert alone > least
    assert alone > seen_of_the_far_one(media, room, closer=False) + 0.02
