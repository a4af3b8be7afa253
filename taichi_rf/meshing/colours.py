"""What colour the surface of a radiance field has.

In a box, that of short rays through the surface, as a picture adds it up. Where space is bent, that of the place.
On lego at 30 dB, seen from the test views, short rays gave 21.2 dB inside its silhouette and places 20.8.
"""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import numpy.typing as npt

from taichi_rf.core.backend import ti
from taichi_rf.core.device import Scratch, Vec3, copy_numbers, copy_rows
from taichi_rf.kernels.spaces import BOX
from taichi_rf.meshing.places import unit_of
from taichi_rf.rendering.model import Model

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

TILTS = (0.0, 45.0)
"""Degrees between the normal and the directions that a place is looked at from: straight, and from ``SIDES`` sides."""
SIDES = 4
OUTSIDE, INSIDE = 2.0, 3.0
"""Voxels of the field before and behind the surface between which a short ray runs."""
FAINTEST = 1e-3
"""A short ray of less opacity has no colour to speak of: then that of the place is taken."""


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
    rows = model.field.rows
    asked = _Crossed(model, level) if model.space is BOX else _Asked(model, level)
    result = np.zeros((len(points), 3), np.float32)
    views = [_tilted(normals, tilt, side) for tilt in TILTS for side in range(SIDES if tilt else 1)]
    for first in range(0, len(points), rows):
        part = slice(first, first + rows)
        asked.place(points[part])
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


class _Crossed:
    """A batch of places that short rays go through."""

    def __init__(self, model: Model, level: int) -> None:
        self._asked = _Asked(model, level)
        self._voxel = model.step_size / model.step_ratio
        far = (OUTSIDE + INSIDE) * self._voxel
        self.model, self._settings = model, model.settings(level, near=0.0, far=far, weight_threshold=0.0)

    def place(self, points: Float64Array) -> None:
        """Look at points (n, 3) of the world."""
        self._points = points

    def seen(self, directions: Float32Array) -> Float32Array:
        """Colours (n, 3) seen along unit ``directions`` (n, 3)."""
        origins = (self._points - OUTSIDE * self._voxel * directions).astype(np.float32)
        renderer, settings = self.model.renderer, self._settings
        found = renderer.colours(origins, directions, settings, background=np.zeros(3, np.float32))
        _, opacity = renderer.depths(origins, directions, settings)
        colours: Float32Array = np.clip(found / np.maximum(opacity, FAINTEST)[:, None], 0, 1)
        faint = np.flatnonzero(opacity < FAINTEST)
        if len(faint):
            self._asked.place(self._points[faint])
            colours[faint] = self._asked.seen(directions[faint])
        return colours


class _Asked:
    """A batch of places, whose features are looked up once."""

    def __init__(self, model: Model, level: int) -> None:
        self.model, self.level, self._scratch, self._n = model, level, Scratch(), 0

    def place(self, points: Float64Array) -> None:
        """Look at points (n, 3) of the world, no more than the field has rows."""
        places = unit_of(self.model, points).astype(np.float32)
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
