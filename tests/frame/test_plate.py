"""The clean plate corrects the network where the background is known, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from service.frame.grid import Grid
from service.frame.planes import view
from service.frame.plate import Plate, PlateParameters, evidence_table
from tests.frame.scenes import U8, figure, frame_of, room, scene

SIZE = (320, 180)
ALL = (slice(0, 180), slice(0, 320))


def grid_of(rgb: U8) -> Grid:
    return Grid(view(frame_of(rgb)))


def learned(frames: int = 24) -> Plate:
    """A plate that has seen the empty room."""
    plate = Plate()
    plate.reset(180, 320)
    for _ in range(frames):
        plate.learn(np.zeros((180, 320), np.uint8), grid_of(room(*SIZE)))
    return plate


def test_no_evidence_changes_nothing() -> None:
    table = evidence_table(PlateParameters()).reshape(256, 256)
    alphas = np.arange(256)
    assert np.array_equal(table[4:, PlateParameters().same], alphas[4:])
    assert not table[:4].any()


def test_evidence_pulls_the_right_way() -> None:
    p = PlateParameters()
    table = evidence_table(p).reshape(256, 256).astype(int)
    alphas = np.arange(256)[:, None]
    assert (table[:, : p.same] <= alphas).all()
    assert (table[p.half_believed :, p.same :] >= np.minimum(alphas[p.half_believed :], 253)).all()
    assert table[128, 0] < 0.25 * 255  # what edges.py takes for none
    assert table[253, 0] > 0.8 * 255  # a sure network is not overruled: same-coloured clothes
    assert table[128, 255] > 240
    assert (table[4 : p.half_believed, p.same :] == alphas[4 : p.half_believed]).all()


def test_a_false_alarm_in_front_of_known_background_goes() -> None:
    plate = learned()
    alarm = np.full((180, 320), 150, np.uint8)
    assert plate.weigh(alarm, grid_of(room(*SIZE)), *ALL).max() < 0.25 * 255


def test_a_half_seen_person_is_seen() -> None:
    plate = learned()
    inside = figure(*SIZE) > 0
    half = np.where(inside, 90, 0).astype(np.uint8)
    weighed = plate.weigh(half, grid_of(scene(*SIZE)), *ALL)
    assert weighed[inside].mean() > 200
    assert not weighed[~inside].any()


@pytest.mark.parametrize("frames", [0, 1, 4])
def test_what_was_seen_too_seldom_is_not_believed(frames: int) -> None:
    alarm = np.full((180, 320), 150, np.uint8)
    weighed = learned(frames).weigh(alarm, grid_of(room(*SIZE)), *ALL)
    assert np.array_equal(weighed, alarm)


def test_nothing_is_learned_where_the_person_is() -> None:
    plate = Plate()
    plate.reset(180, 320)
    person = figure(*SIZE)
    for _ in range(24):
        plate.learn(person, grid_of(scene(*SIZE)))
    weighed = plate.weigh(person, grid_of(scene(*SIZE)), *ALL)
    assert np.array_equal(weighed, person)


def test_a_reset_forgets() -> None:
    plate = learned()
    plate.reset(180, 320)
    alarm = np.full((180, 320), 150, np.uint8)
    assert np.array_equal(plate.weigh(alarm, grid_of(room(*SIZE)), *ALL), alarm)
