"""Who is who, over time."""

from __future__ import annotations

import numpy as np

from service.frame.faces import Face
from service.frame.grid import Grid
from service.frame.planes import view
from service.frame.tracks import KEPT_S, TURNED_S, Tracks
from tests.frame.scenes import U8, frame_of

NOBODY: U8 = np.zeros((180, 320), np.uint8)
EVERYWHERE: U8 = np.full((180, 320), 255, np.uint8)
RED, BLUE = (220, 40, 30), (30, 50, 220)


def at(x: float, *, width: float = 0.12) -> Face:
    return Face(x - width / 2, 0.2, x + width / 2, 0.4, 0.9, ())


def grid_of(*people: tuple[float, tuple[int, int, int]]) -> Grid:
    """Grey, with a bar of a person's colour at each x; the last one in front."""
    rgb = np.full((360, 640, 3), 90, np.uint8)
    for x, colour in people:
        rgb[:, max(0, round((x - 0.08) * 640)) : round((x + 0.08) * 640)] = colour
    return Grid(view(frame_of(rgb)))


def test_a_person_who_moves_stays_the_same() -> None:
    tracks = Tracks()
    for look in range(10):
        x, now_s = 0.2 + 0.05 * look, look / 3
        tracks.move(now_s, NOBODY)
        tracks.update([at(x)], grid_of((x, RED)), now_s)
    assert [track.number for track in tracks.people] == [1]
    assert tracks.people[0].looks == 10
    assert tracks.people[0].speed[0] > 0.05


def test_two_who_cross_keep_their_numbers_though_one_is_hidden_on_the_way() -> None:
    tracks = Tracks()
    numbers: dict[str, set[int]] = {"red": set(), "blue": set()}
    for look in range(31):
        now_s, red, blue = look / 10, 0.2 + 0.02 * look, 0.8 - 0.02 * look
        hidden = abs(red - blue) < 0.15
        faces = [at(red, width=0.14)] + ([] if hidden else [at(blue)])
        tracks.move(now_s, NOBODY)
        tracks.update(faces, grid_of((blue, BLUE), (red, RED)), now_s)
        for track in tracks.people:
            if track.seen_s == now_s and not hidden:
                name = "red" if abs(track.centre[0] - red) < 1e-6 else "blue"
                numbers[name].add(track.number)
    assert len(numbers["red"]) == len(numbers["blue"]) == 1
    assert numbers["red"] != numbers["blue"]


def test_someone_else_in_the_same_place_is_someone_else() -> None:
    tracks = Tracks()
    tracks.update([at(0.5)], grid_of((0.5, RED)), 0.0)
    tracks.move(1.2, NOBODY)
    tracks.update([at(0.5, width=0.3)], grid_of((0.5, BLUE)), 1.2)
    assert [track.looks for track in tracks.people] == [1, 1]


def test_who_is_gone_is_forgotten_soon_and_a_turned_head_late() -> None:
    for mask, kept_s in ((NOBODY, KEPT_S), (EVERYWHERE, TURNED_S)):
        tracks = Tracks()
        tracks.update([at(0.5)], grid_of((0.5, RED)), 0.0)
        tracks.move(kept_s - 0.1, mask)
        assert len(tracks.people) == 1
        tracks.move(kept_s + 0.1, mask)
        assert not tracks.people


def test_an_unseen_head_goes_along_with_its_mask() -> None:
    tracks = Tracks()
    tracks.update([at(0.5)], grid_of((0.5, RED)), 0.0)
    mask = NOBODY.copy()
    mask[:, round(0.47 * 320) : round(0.61 * 320)] = 255
    for frame in range(30):
        tracks.move(1.0 + frame / 30, mask)
    assert abs(tracks.people[0].centre[0] - 0.54) < 0.01


def test_numbers_are_never_given_again() -> None:
    tracks = Tracks()
    tracks.update([at(0.5)], grid_of((0.5, RED)), 0.0)
    tracks.reset()
    tracks.update([at(0.5)], grid_of((0.5, RED)), 0.1)
    assert tracks.people[0].number == 2
