"""Lamps, and the light they bring to a room: direct with soft shadows, and bounced off the walls.

solids.py holds the room. The result is linear light, which darkroom.py turns into a picture.
Every surface is matt, so each point's light is found apart from its colour, on a coarser grid than
the picture, and smoothed along surfaces but never across their edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
from solids import FAR_M, NOTHING, Floats, Rays, Room, Triple, unit, vector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CHUNK = 1 << 15
"""Rays handled at once: small enough for the arrays to stay in the processor's cache."""
DIRECT_SAMPLES = 16
BOUNCED_SAMPLES = 40
BOUNCES = 3
DIRECT_COARSENESS = 2
BOUNCED_COARSENESS = 4
LIFT_M = np.float32(2e-3)
# Steps of the R2 low-discrepancy sequence (Roberts, 2018): even cover with any sample count.
R2_STEPS = (0.7548776662466927, 0.5698402909980532)


class Lamp(Protocol):
    def shine(self, points: Floats, a: Floats, b: Floats) -> tuple[Floats, Floats, Floats]:
        """For points (3, n) and random numbers a, b (n,) in 0..1: the direction to a spot on the
        lamp, its distance (n,), and the light (3, n) that arrives from it face on, over pi."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A glowing rectangle: a window or a light box, shining to the side `across x up`."""

    corner: Triple
    across: Triple
    up: Triple
    radiance: Triple

    def shine(self, points: Floats, a: Floats, b: Floats) -> tuple[Floats, Floats, Floats]:
        across, up = vector(self.across)[:, None], vector(self.up)[:, None]
        normal = np.cross(self.across, self.up)
        area = float(np.linalg.norm(normal))
        to_spot = vector(self.corner)[:, None] + a * across + b * up - points
        distance = np.sqrt((to_spot * to_spot).sum(axis=0))
        direction = to_spot / distance
        facing = np.maximum(-(np.float32(normal / area) @ direction), 0)
        # The cap keeps the corner right at a lamp from throwing sparks.
        seen = np.minimum(facing * area / (np.pi * distance**2), 1)
        return direction, distance, vector(self.radiance)[:, None] * seen


@dataclass(frozen=True, slots=True)
class Bulb:
    """A small round lamp. Inside a shade, `sideways` is the part its fabric lets through."""

    centre: Triple
    radius_m: float
    power: Triple
    sideways: float = 1.0
    opening: float = 0.75
    """Cosine of the angle from upright at which the shade's rim cuts the light off."""

    def shine(self, points: Floats, a: Floats, b: Floats) -> tuple[Floats, Floats, Floats]:
        height = 2 * a - 1
        ring = np.sqrt(np.maximum(1 - height**2, 0)) * self.radius_m
        turn = np.float32(2 * np.pi) * b
        spot = np.stack([ring * np.cos(turn), height * self.radius_m, ring * np.sin(turn)])
        to_spot = vector(self.centre)[:, None] + spot - points
        distance = np.sqrt((to_spot * to_spot).sum(axis=0))
        direction = to_spot / distance
        open_part = np.clip((np.abs(direction[1]) - self.opening) / 0.16 + 0.5, 0, 1)
        open_part = open_part * open_part * (3 - 2 * open_part)
        strength = self.sideways + (1 - self.sideways) * open_part
        # A shade keeps everything a hand's breadth off: no nearer, or its wall burns out.
        falloff = strength / (np.pi * np.maximum(distance, 0.15) ** 2)
        return direction, distance, vector(self.power)[:, None] * falloff


@dataclass(frozen=True, slots=True)
class Sun:
    """Light from far off, `spread` being the tangent of its half width."""

    toward: Triple
    spread: float
    strength: Triple

    def shine(self, points: Floats, a: Floats, b: Floats) -> tuple[Floats, Floats, Floats]:
        toward = unit(vector(self.toward)[:, None])
        direction = tilted(
            np.broadcast_to(toward, points.shape), np.sqrt(a) * np.float32(self.spread), b
        )
        light = np.broadcast_to(vector(self.strength)[:, None], points.shape)
        return direction, np.full(points.shape[1], FAR_M / 2, np.float32), np.asarray(light)


def tilted(normals: Floats, tangent: Floats, turn: Floats) -> Floats:
    """The normals leant over by an angle of this tangent, toward `turn` of a full circle."""
    aside = np.where(np.abs(normals[0]) < 0.9, np.float32(1), np.float32(0))
    other_axis = np.stack([aside, 1 - aside, np.zeros_like(aside)])
    first = unit(np.cross(normals, other_axis, axis=0))
    second = np.cross(normals, first, axis=0)
    angle = np.float32(2 * np.pi) * turn
    return unit(normals + tangent * (np.cos(angle) * first + np.sin(angle) * second))


@dataclass(frozen=True, slots=True)
class Camera:
    """Stands at `eye`, level, turned right by `yaw`; `horizon` is how far down the picture eye
    height lies (a lens shift, so that uprights stay upright)."""

    eye: Triple
    focal: float
    horizon: float = 0.5
    yaw: float = 0.0

    def rays(self, columns: Floats, rows: Floats, width: int, height: int) -> Rays:
        x = (columns - width / 2) / height
        y = self.horizon - rows / height
        z = np.full_like(x, self.focal)
        turn_cos, turn_sin = np.float32(np.cos(self.yaw)), np.float32(np.sin(self.yaw))
        direction = np.stack([x * turn_cos + z * turn_sin, y, z * turn_cos - x * turn_sin])
        origins = np.broadcast_to(vector(self.eye)[:, None], direction.shape)
        return Rays.cast(np.ascontiguousarray(origins), unit(direction.astype(np.float32)))


@dataclass(frozen=True, slots=True)
class View:
    """What the camera sees at each place of a grid: (3, h, w), or (h, w) for depth and face."""

    point: Floats
    normal: Floats
    albedo: Floats
    glow: Floats
    depth_m: Floats
    face: NDArray[np.int32]

    @classmethod
    def blank(cls, width: int, height: int) -> View:
        vectors = [np.zeros((3, height, width), np.float32) for _ in range(4)]
        depth_m, face = np.zeros((height, width), np.float32), np.zeros((height, width), np.int32)
        return cls(vectors[0], vectors[1], vectors[2], vectors[3], depth_m, face)


def look(room: Room, camera: Camera, width: int, height: int) -> View:
    view = View.blank(width, height)
    band = max(1, CHUNK // width)
    for top in range(0, height, band):
        rows, columns = np.mgrid[top : min(top + band, height), 0:width].astype(np.float32) + 0.5
        rays = camera.rays(columns.ravel(), rows.ravel(), width, height)
        distance, number = room.nearest(rays, see_glow=True)
        points = rays.at(distance)
        normal, albedo, glow, face = room.surface(points, number)
        part = slice(top, top + rows.shape[0])
        for whole, values in zip(
            (view.point, view.normal, view.albedo, view.glow),
            (points, normal, albedo, glow),
            strict=True,
        ):
            whole[:, part] = values.reshape(3, *rows.shape)
        view.depth_m[part] = distance.reshape(rows.shape)
        view.face[part] = face.reshape(rows.shape)
    return view


def direct(
    room: Room, lamps: Sequence[Lamp], points: Floats, normals: Floats, a: Floats, b: Floats
) -> Floats:
    """Light (3, n) that reaches the points straight from the lamps, one spot on each."""
    total = np.zeros_like(points)
    lifted = points + normals * LIFT_M
    for lamp in lamps:
        direction, distance, light = lamp.shine(lifted, a, b)
        facing = (normals * direction).sum(axis=0)
        lit = np.flatnonzero((facing > 0) & (light.max(axis=0) > 1e-5))
        if not lit.size:
            continue
        rays = Rays.cast(lifted[:, lit], np.asarray(direction[:, lit], np.float32))
        clear = room.nearest(rays, see_glow=False)[0] > distance[lit] - LIFT_M
        lit = lit[clear]
        total[:, lit] += light[:, lit] * facing[lit]
    return total


def bounced(
    room: Room,
    lamps: Sequence[Lamp],
    points: Floats,
    normals: Floats,
    a: Floats,
    b: Floats,
    *,
    sky: Triple,
    random: np.random.Generator,
) -> Floats:
    """Light (3, n) that reaches the points after one bounce or more, one path each."""
    total = np.zeros_like(points)
    alive = np.arange(points.shape[1])
    carried = np.ones_like(points)
    for _ in range(BOUNCES):
        # Cosine-weighted, so that the light found needs no further weight.
        lean = np.sqrt(a / np.maximum(1 - a, np.float32(1e-4)))
        rays = Rays.cast(points + normals * LIFT_M, tilted(normals, lean, b))
        distance, number = room.nearest(rays, see_glow=False)
        gone = number == NOTHING
        total[:, alive[gone]] += carried[:, gone] * vector(sky)[:, None]
        kept = np.flatnonzero(~gone)
        alive, carried, points = alive[kept], carried[:, kept], rays.at(distance)[:, kept]
        if not kept.size:
            break
        normals, albedo, _, _ = room.surface(points, number[kept])
        carried = carried * albedo
        a, b = random.random((2, kept.size), np.float32)
        total[:, alive] += carried * direct(room, lamps, points, normals, a, b)
        a, b = random.random((2, kept.size), np.float32)
    return total


def smoothed(light: Floats, face: NDArray[np.int32], passes: int) -> Floats:
    """Noise averaged away along each face (an edge-stopping wavelet filter, Dammertz 2010)."""
    for level in range(passes):
        step = 1 << level
        padded = np.pad(light, ((0, 0), (2 * step,) * 2, (2 * step,) * 2), mode="edge")
        faces = np.pad(face, 2 * step, mode="edge")
        total, weights = np.zeros_like(light), np.zeros(face.shape, np.float32)
        height, width = face.shape
        for i, row_weight in enumerate((1, 4, 6, 4, 1)):
            for j, column_weight in enumerate((1, 4, 6, 4, 1)):
                rows, columns = (
                    slice(i * step, i * step + height),
                    slice(j * step, j * step + width),
                )
                weight = (faces[rows, columns] == face) * np.float32(row_weight * column_weight)
                total += padded[:, rows, columns] * weight
                weights += weight
        light = total / weights
    return light


def carried_over(coarse: Floats, coarse_face: NDArray[np.int32], face: NDArray[np.int32]) -> Floats:
    """The coarse light (3, h, w) on the finer grid of `face`, taken from the same face."""
    height, width = face.shape
    rows, columns = coarse_face.shape
    y = (np.arange(height, dtype=np.float32) + 0.5) * rows / height - 0.5
    x = (np.arange(width, dtype=np.float32) + 0.5) * columns / width - 0.5
    total = np.zeros((3, height, width), np.float32)
    weights = np.full((height, width), 1e-9, np.float32)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            row = np.clip(np.rint(y) + dy, 0, rows - 1).astype(np.intp)
            column = np.clip(np.rint(x) + dx, 0, columns - 1).astype(np.intp)
            near = np.exp(-((y - np.rint(y) - dy) ** 2))[:, None] * np.exp(
                -((x - np.rint(x) - dx) ** 2)
            )
            same = coarse_face[np.ix_(row, column)] == face
            weight = np.where(same, near, near * 1e-4).astype(np.float32)
            weights += weight
            for channel in range(3):
                total[channel] += coarse[channel][np.ix_(row, column)] * weight
    return total / weights


def _gathered(
    room: Room, lamps: Sequence[Lamp], view: View, sky: Triple, seed: int, *, bounce: bool
) -> Floats:
    """Direct or bounced light at every place of the view, noisy."""
    samples = BOUNCED_SAMPLES if bounce else DIRECT_SAMPLES
    points, normals = view.point.reshape(3, -1), view.normal.reshape(3, -1)
    light = np.zeros_like(points)
    seen = np.flatnonzero((view.face.ravel() != NOTHING) & (view.albedo.max(axis=0).ravel() > 0))
    for number, start in enumerate(range(0, seen.size, CHUNK)):
        random = np.random.default_rng((seed, bounce, number))
        here = seen[start : start + CHUNK]
        spots, facing = points[:, here], normals[:, here]
        shift = random.random((2, here.size), np.float32)
        for sample in range(samples):
            a, b = (
                (shift[axis] + np.float32(sample * step % 1)) % 1
                for axis, step in enumerate(R2_STEPS)
            )
            light[:, here] += (
                bounced(room, lamps, spots, facing, a, b, sky=sky, random=random)
                if bounce
                else direct(room, lamps, spots, facing, a, b)
            )
    return (light / np.float32(samples)).reshape(view.point.shape)


def photograph(
    room: Room,
    lamps: Sequence[Lamp],
    camera: Camera,
    size: tuple[int, int],
    *,
    seed: int,
    sky: Triple = (0.0, 0.0, 0.0),
    detail: float = 1.0,
) -> tuple[Floats, Floats]:
    """The room in linear light (h, w, 3), everything sharp, and its depth in metres (h, w).

    A scene that will be far out of focus can do with a `detail` below 1 and is done the sooner.
    """
    width, height = (round(side * detail) for side in size)
    fine = look(room, camera, width * 2, height * 2)
    total = np.zeros_like(fine.point)
    for bounce, coarseness, passes in (
        (False, DIRECT_COARSENESS, 1),
        (True, BOUNCED_COARSENESS, 3),
    ):
        coarse = look(room, camera, -(-width // coarseness), -(-height // coarseness))
        light = _gathered(room, lamps, coarse, sky, seed, bounce=bounce)
        total += carried_over(smoothed(light, coarse.face, passes), coarse.face, fine.face)
    total = total * fine.albedo + fine.glow
    picture, depth_m = (
        cv2.resize(
            cv2.resize(sharp, (width, height), interpolation=cv2.INTER_AREA),
            size,
            interpolation=cv2.INTER_LINEAR,
        ).astype(np.float32)
        for sharp in (np.moveaxis(total, 0, -1), fine.depth_m)
    )
    return picture, depth_m
