"""Solid bodies a room is built of, and the nearest one along a ray.

light.py lights the solids, rooms.py furnishes rooms with them. Lengths are metres; x runs right,
y up and z away from the camera. Vectors are float32 arrays of shape (3, n).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Triple = tuple[float, float, float]
Texture = Callable[[Floats], Floats]
"""Points (3, n) to a factor, (n,) or (3, n), on the paint's colour and glow."""

NOTHING = -1
TOO_NEAR_M = np.float32(1e-3)
FAR_M = np.float32(1e6)


def vector(values: Triple | Sequence[Triple]) -> Floats:
    """The numbers as float32, so that nothing computed with them grows to float64."""
    return np.array(values, np.float32)


@dataclass(frozen=True, slots=True)
class Paint:
    """What a surface sends back (linear albedo) and what it gives off (linear radiance)."""

    colour: Triple
    glow: Triple = (0.0, 0.0, 0.0)
    texture: Texture | None = None

    @property
    def glows(self) -> bool:
        return any(self.glow)


@dataclass(frozen=True, slots=True)
class Rays:
    """Origins and unit directions, each (3, n)."""

    origins: Floats
    directions: Floats
    inverse: Floats

    @classmethod
    def cast(cls, origins: Floats, directions: Floats) -> Rays:
        # A direction of exactly 0 would turn the slab test's products into NaN.
        safe = np.where(np.abs(directions) < 1e-7, np.float32(1e-7), directions)
        return cls(origins, safe.astype(np.float32), (1 / safe).astype(np.float32))

    def __len__(self) -> int:
        return int(self.origins.shape[1])

    def take(self, chosen: NDArray[np.intp]) -> Rays:
        return Rays(self.origins[:, chosen], self.directions[:, chosen], self.inverse[:, chosen])

    def at(self, distance: Floats) -> Floats:
        return self.origins + self.directions * distance


class Solid(Protocol):
    """A convex body. `flat` says that its faces may be told apart by their normals."""

    @property
    def paint(self) -> Paint: ...

    @property
    def flat(self) -> bool: ...

    def bounds(self) -> tuple[Floats, Floats]: ...

    def distance(self, rays: Rays) -> Floats: ...

    def normal(self, points: Floats) -> Floats: ...


def slab_span(low: Floats, high: Floats, rays: Rays) -> tuple[Floats, Floats]:
    """Where each ray enters and leaves an axis-aligned box (enters after leaving: a miss)."""
    near = np.full(len(rays), -FAR_M, np.float32)
    far = np.full(len(rays), FAR_M, np.float32)
    for axis in range(3):
        one = (low[axis] - rays.origins[axis]) * rays.inverse[axis]
        other = (high[axis] - rays.origins[axis]) * rays.inverse[axis]
        np.maximum(near, np.minimum(one, other), out=near)
        np.minimum(far, np.maximum(one, other), out=far)
    return near, far


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned box between two corners."""

    low: Triple
    high: Triple
    paint: Paint

    @property
    def flat(self) -> bool:
        return True

    def bounds(self) -> tuple[Floats, Floats]:
        return vector(self.low), vector(self.high)

    def distance(self, rays: Rays) -> Floats:
        near, far = slab_span(*self.bounds(), rays)
        return np.where((near < far) & (near > TOO_NEAR_M), near, FAR_M)

    def normal(self, points: Floats) -> Floats:
        low, high = self.bounds()
        middle, half = (low + high) / 2, (high - low) / 2
        offset = (points - middle[:, None]) / half[:, None]
        face = np.argmax(np.abs(offset), axis=0)
        columns = np.arange(points.shape[1])
        normal = np.zeros_like(points)
        normal[face, columns] = np.sign(offset[face, columns])
        return normal


@dataclass(frozen=True, slots=True)
class Ball:
    """An ellipsoid: `axes` are its three semi-axes, which also turn it."""

    centre: Triple
    axes: tuple[Triple, Triple, Triple]
    paint: Paint

    @classmethod
    def round(cls, centre: Triple, radius_m: float, paint: Paint) -> Ball:
        return cls(centre, ((radius_m, 0, 0), (0, radius_m, 0), (0, 0, radius_m)), paint)

    @property
    def flat(self) -> bool:
        return False

    def _to_unit(self) -> Floats:
        return np.linalg.inv(np.array(self.axes, np.float64).T).astype(np.float32)

    def bounds(self) -> tuple[Floats, Floats]:
        reach = np.sqrt((vector(self.axes) ** 2).sum(axis=0))
        centre = vector(self.centre)
        return centre - reach, centre + reach

    def distance(self, rays: Rays) -> Floats:
        to_unit = self._to_unit()
        start = to_unit @ (rays.origins - vector(self.centre)[:, None])
        step = to_unit @ rays.directions
        a = (step * step).sum(axis=0)
        b = (start * step).sum(axis=0)
        c = (start * start).sum(axis=0) - 1
        root = b * b - a * c
        distance = (-b - np.sqrt(np.maximum(root, 0))) / a
        return np.where((root > 0) & (distance > TOO_NEAR_M), distance, FAR_M)

    def normal(self, points: Floats) -> Floats:
        to_unit = self._to_unit()
        return unit(to_unit.T @ (to_unit @ (points - vector(self.centre)[:, None])))


@dataclass(frozen=True, slots=True)
class Drum:
    """An upright round body on `foot`; `taper` is its top radius over its bottom radius."""

    foot: Triple
    radius_m: float
    height_m: float
    paint: Paint
    taper: float = 1.0

    @property
    def flat(self) -> bool:
        return False

    def _slope(self) -> np.float32:
        return np.float32(self.radius_m * (self.taper - 1) / self.height_m)

    def bounds(self) -> tuple[Floats, Floats]:
        widest = self.radius_m * max(1.0, self.taper)
        foot = vector(self.foot)
        reach = vector((widest, 0, widest))
        return foot - reach, foot + reach + vector((0, self.height_m, 0))

    def distance(self, rays: Rays) -> Floats:
        slope = self._slope()
        start = rays.origins - vector(self.foot)[:, None]
        step = rays.directions
        radius = np.float32(self.radius_m) + slope * start[1]
        growth = slope * step[1]
        a = step[0] ** 2 + step[2] ** 2 - growth**2
        b = start[0] * step[0] + start[2] * step[2] - radius * growth
        c = start[0] ** 2 + start[2] ** 2 - radius**2
        root = b * b - a * c
        side = (-b - np.sqrt(np.maximum(root, 0))) / a
        height = start[1] + side * step[1]
        on_side = (root > 0) & (height >= 0) & (height <= self.height_m) & (side > TOO_NEAR_M)
        distance = np.where(on_side, side, FAR_M)
        for level, rim in ((0.0, self.radius_m), (self.height_m, self.radius_m * self.taper)):
            lid = (np.float32(level) - start[1]) * rays.inverse[1]
            across = (start[0] + lid * step[0]) ** 2 + (start[2] + lid * step[2]) ** 2
            on_lid = (across <= np.float32(rim**2)) & (lid > TOO_NEAR_M)
            distance = np.where(on_lid, np.minimum(distance, lid), distance)
        return distance

    def normal(self, points: Floats) -> Floats:
        offset = points - vector(self.foot)[:, None]
        side = np.stack([offset[0], np.zeros_like(offset[0]), offset[2]])
        side = unit(side)
        side[1] = -self._slope()
        top = np.abs(offset[1] - self.height_m) < TOO_NEAR_M
        bottom = np.abs(offset[1]) < TOO_NEAR_M
        side[:, top] = vector((0, 1, 0))[:, None]
        side[:, bottom] = vector((0, -1, 0))[:, None]
        return unit(side)


def unit(vectors: Floats) -> Floats:
    """The vectors (3, n) scaled to length 1."""
    length = np.sqrt((vectors * vectors).sum(axis=0))
    return np.asarray(vectors / np.maximum(length, np.float32(1e-9)), np.float32)


class Room:
    """Everything in view, in groups whose bounds spare the rays that pass them by."""

    def __init__(self, groups: Sequence[Sequence[Solid]]) -> None:
        self.solids: list[Solid] = [solid for group in groups for solid in group]
        self._groups: list[tuple[Floats, Floats, list[tuple[int, Solid]]]] = []
        numbered = iter(enumerate(self.solids))
        for group in groups:
            members = [next(numbered) for _ in group]
            lows, highs = zip(*(solid.bounds() for _, solid in members), strict=True)
            self._groups.append((np.min(lows, axis=0), np.max(highs, axis=0), members))

    def nearest(self, rays: Rays, *, see_glow: bool) -> tuple[Floats, NDArray[np.int16]]:
        """Distance and number of the first solid on each ray (FAR_M and NOTHING past them all).

        Only the camera sees glowing solids. For light they are air, since light.py's lamps, which
        stand inside them, do their shining.
        """
        best = np.full(len(rays), FAR_M, np.float32)
        number = np.full(len(rays), NOTHING, np.int16)
        for low, high, members in self._groups:
            near, far = slab_span(low, high, rays)
            met = np.flatnonzero((near <= far) & (far > 0) & (near < best))
            if not met.size:
                continue
            some = rays if met.size == len(rays) else rays.take(met)
            nearest, which = best[met], number[met]
            for index, solid in members:
                if solid.paint.glows and not see_glow:
                    continue
                distance = solid.distance(some)
                closer = distance < nearest
                nearest[closer] = distance[closer]
                which[closer] = index
            best[met], number[met] = nearest, which
        return best, number

    def surface(
        self, points: Floats, number: NDArray[np.int16]
    ) -> tuple[Floats, Floats, Floats, NDArray[np.int32]]:
        """Normal, albedo, glow and face id at points on the solids with these numbers."""
        normal, albedo, glow = (np.zeros_like(points) for _ in range(3))
        face = np.full(number.shape, NOTHING, np.int32)
        order = np.argsort(number, kind="stable")
        starts = np.flatnonzero(np.diff(number[order], prepend=NOTHING))
        for here in np.split(order, starts)[1:]:
            index = int(number[here[0]])
            solid = self.solids[index]
            spots = points[:, here]
            facing = solid.normal(spots)
            factor = 1 if solid.paint.texture is None else solid.paint.texture(spots)
            normal[:, here] = facing
            albedo[:, here] = vector(solid.paint.colour)[:, None] * factor
            glow[:, here] = vector(solid.paint.glow)[:, None] * factor
            side = np.argmax(np.abs(facing), axis=0) if solid.flat else 0
            face[here] = index * 3 + side
        return normal, albedo, glow, face
