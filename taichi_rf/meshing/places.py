"""Between places of a field's unit box and the world, for a mesh of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from taichi_rf.meshing.surface import Mesh
from taichi_rf.rendering.model import Model

Float64Array = npt.NDArray[np.float64]


def world_of(model: Model, unit: Float64Array) -> Float64Array:
    """World points (n, 3) of places (n, 3) in the unit box."""
    low, high = model.box.astype(np.float64)
    points: Float64Array = np.asarray(model.space.world_points(low + unit * (high - low)), np.float64)
    return points


def unit_of(model: Model, points: Float64Array) -> Float64Array:
    """Places (n, 3) in the unit box, on its faces at most, of world ``points`` (n, 3)."""
    low, high = model.box.astype(np.float64)
    inside = np.asarray(model.space.field_points(points), np.float64)
    places: Float64Array = np.clip(np.nan_to_num((inside - low) / (high - low)), 0, 1)
    return places


def in_the_world(model: Model, mesh: Mesh) -> Mesh:
    """A mesh in the unit box as one in the world, turned inside out where the space turns it."""
    middle = np.array([[0.5] * 3]) + 1e-3 * np.concatenate([np.zeros((1, 3)), np.eye(3)])
    corner, *sides = world_of(model, middle)
    mirrored = np.linalg.det(np.array(sides) - corner) < 0
    return Mesh(world_of(model, mesh.vertices), mesh.faces[:, ::-1].copy() if mirrored else mesh.faces)


def voxels(model: Model, unit: Float64Array, spacing: Float64Array) -> Float64Array:
    """(n,) how large a cube of the grid with ``spacing`` (3,) is in the world, at places (n, 3) of the unit box."""
    inwards = np.where(unit > 0.5, -1.0, 1.0) * spacing
    here = world_of(model, unit)
    volume = np.ones(len(unit))
    for axis in range(3):
        beside = unit.copy()
        beside[:, axis] += inwards[:, axis]
        volume *= np.linalg.norm(world_of(model, beside) - here, axis=1)
    return np.cbrt(volume)
