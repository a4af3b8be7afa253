"""What colour the surface of a radiance field has at a place, without a ray through it."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import numpy.typing as npt

from taichi_rf.core.backend import ti
from taichi_rf.core.device import Scratch, Vec3, copy_numbers, copy_rows
from taichi_rf.meshing.places import unit_of
from taichi_rf.rendering.model import Model

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

TILTS = (0.0, 45.0)
"""Degrees between the normal and the directions that a place is looked at from: straight, and from ``SIDES`` sides."""
SIDES = 4


def surface_colours(
    model: Model, level: int, points: Float64Array, normals: Float64Array
) -> Generator[float, None, Float32Array]:
    """The mean colour of places on a surface as they are seen from straight above and from all sides.

    Args:
        points: (n, 3) in the world.
        normals: (n, 3) of unit length, outwards.

    Yields:
        What share is done; the generator's value in the end are the colours, (n, 3) in [0, 1].
    """
    asked, rows = _Asked(model, level), model.field.rows
    result = np.zeros((len(points), 3), np.float32)
    views = [_tilted(normals, tilt, side) for tilt in TILTS for side in range(SIDES if tilt else 1)]
    for first in range(0, len(points), rows):
        part = slice(first, first + rows)
        asked.place(unit_of(model, points[part]).astype(np.float32))
        for outwards in views:
            result[part] += asked.seen(-outwards[part].astype(np.float32)) / len(views)
        yield min(first + rows, len(points)) / len(points)
    return np.clip(result, 0, 1)


def _tilted(normals: Float64Array, tilt: float, side: int) -> Float64Array:
    """Directions (n, 3) of unit length, ``tilt`` degrees off the normals towards one of ``SIDES``."""
    across = np.cross(normals, np.eye(3)[np.abs(normals).argmin(axis=1)])
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-30)
    turn, angle = 2 * np.pi * side / SIDES, np.radians(tilt)
    towards = np.cos(turn) * across + np.sin(turn) * np.cross(normals, across)
    result: Float64Array = np.cos(angle) * normals + np.sin(angle) * towards
    return result


class _Asked:
    """A batch of places, whose features are looked up once."""

    def __init__(self, model: Model, level: int) -> None:
        self.model, self.level, self._scratch, self._n = model, level, Scratch(), 0

    def place(self, places: Float32Array) -> None:
        """Look at places (n, 3) of the unit box, no more than the field has rows."""
        n = self._n = len(places)
        get = self._scratch.get
        positions, index = get("places", Vec3, n), get("index", ti.i32, n)
        copy_rows(places, positions)
        copy_numbers(np.arange(n), index)
        self.model.field.lookup(n, 0, positions, self.level)

    def seen(self, directions: Float32Array) -> Float32Array:
        """Colours (n, 3) seen along unit ``directions`` (n, 3) of the world."""
        n, get = self._n, self._scratch.get
        towards, colours, index = get("directions", Vec3, n), get("colours", Vec3, n), get("index", ti.i32, n)
        copy_rows(directions, towards)
        self.model.decoder.forward(n, 0, self.model.field.features(n, self.level), index, towards, colours)
        found: Float32Array = colours.to_numpy()[:n]
        return found
