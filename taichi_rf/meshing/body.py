"""What of a model at a level is solid, as a number at every place: positive inside, negative outside, zero between.

Of a radiance field it is the density before its activation, less the threshold's: there a tensor is trilinear between
its nodes, so that marching cubes finds its surface as smooth as it is. Densities themselves rise a thousandfold within
a voxel, and interpolating them makes steps. Where the activation is relu, what is below zero is lost: it is the density
over the threshold's, less 1. Of a solid it is minus the signed distance.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial

import numpy as np
import numpy.typing as npt

from taichi_rf.core.backend import ti
from taichi_rf.core.device import Scratch, Vec3, copy_rows
from taichi_rf.core.errors import UserError
from taichi_rf.meshing.grid import TOUCHING
from taichi_rf.rendering.model import Model
from taichi_rf.sdf.metrics import solid_cells

Float32Array = npt.NDArray[np.float32]

PART = 1 << 18
"""Places asked for at once."""
LEAST_DENSITY = 1e-12
"""Densities count as no less, so that they have a logarithm."""


class Body(ABC):
    """A model at one level, as something solid.

    Args:
        model: read only.
        level: how many of its levels take part, 1..num_levels.
    """

    def __init__(self, model: Model, level: int) -> None:
        self.model, self.level, self._scratch = model, level, Scratch()
        self.cells: npt.NDArray[np.bool_] = model.occupancy_at(level).to_numpy()
        """(z, y, x) of the unit box: where the field is to be asked."""

    @abstractmethod
    def values(self, places: Float32Array) -> Float32Array:
        """The number (n,) at places (n, 3) of the unit box, in the cells that the field is to be asked in."""

    @property
    @abstractmethod
    def filled(self) -> npt.NDArray[np.bool_] | None:
        """(z, y, x) which of the other cells are inside; None where none is."""

    @abstractmethod
    def nothing(self) -> str:
        """Says why there is no surface."""

    def asked(self, places: Float32Array) -> Float32Array:
        """What the field itself says (n,) at places (n, 3) of the unit box."""
        found = np.empty(len(places), np.float32)
        for first in range(0, len(places), PART):
            part = places[first : first + PART]
            n = len(part)
            positions, values = self._scratch.get("places", Vec3, n), self._scratch.get("values", ti.f32, n)
            copy_rows(part, positions)
            self.model.field.density(n, positions, values, self.level)
            found[first : first + n] = values.to_numpy()[:n]
        return found


class DensityBody(Body):
    """A radiance field where it is denser than a threshold.

    Args:
        threshold: density per unit of the field's coordinates, which are the world's unless its space is bent; above 0.
    """

    filled = None

    def __init__(self, model: Model, level: int, threshold: float) -> None:
        super().__init__(model, level)
        self.threshold = threshold
        self.highest = 0.0
        """The highest density that was met so far, in the threshold's unit."""
        self._dense = threshold / model.distance_scale
        self._relu = getattr(model.field, "activation", "softplus") == "relu"

    def values(self, places: Float32Array) -> Float32Array:
        density = self.asked(places)
        if len(density):
            self.highest = max(self.highest, float(density.max()) * self.model.distance_scale)
        if self._relu:
            return (density / self._dense - 1).astype(np.float32)
        return (before_activation(density) - before_activation(np.array(self._dense))).astype(np.float32)

    def nothing(self) -> str:
        return (
            f"no density above the threshold of {self.threshold:.4g}; the highest is {self.highest:.4g}: "
            "give a lower --threshold"
        )


class DistanceBody(Body):
    """A solid, by its signed distance.

    Args:
        spacing: of the grid that it is asked on, in lengths of the unit box: the unit of :meth:`values`.
    """

    def __init__(self, model: Model, level: int, spacing: float) -> None:
        super().__init__(model, level)
        self.spacing = spacing
        self._filled = solid_cells(partial(model.field.density, level=level), self.cells)

    @property
    def filled(self) -> npt.NDArray[np.bool_]:
        return self._filled

    def values(self, places: Float32Array) -> Float32Array:
        return -self.asked(self._in_cells(places)) / np.float32(self.spacing)

    def _in_cells(self, places: Float32Array) -> Float32Array:
        """``places`` (n, 3), those on the border of a cell that the field knows moved into it by ``TOUCHING``: the
        field takes a border for part of the cell beyond, in which it may know nothing."""
        sides = np.array(self.cells.shape[::-1])
        at = places.astype(np.float64) * sides
        sought = np.flatnonzero(~self._knows(np.floor(at)))
        result = places.copy()
        for before in np.ndindex(2, 2, 2):
            cell = np.floor(at[sought] + TOUCHING * (1 - 2 * np.array(before)))
            found = self._knows(cell)
            low = cell[found] + TOUCHING
            moved = np.clip(at[sought[found]], low, low + 1 - 2 * TOUCHING)
            result[sought[found]] = (moved / sides).astype(np.float32)
            sought = sought[~found]
        return result

    def _knows(self, cells: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """(n,) whether the field knows cells (n, 3), x first; those beyond the box count as the last before it."""
        x, y, z = np.clip(cells, 0, np.array(self.cells.shape[::-1]) - 1).astype(np.int64).T
        known: npt.NDArray[np.bool_] = self.cells[z, y, x]
        return known

    def nothing(self) -> str:
        return f"the solid has no surface at {self.model.field.level_name} {self.level}"


def before_activation(density: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """What softplus makes ``density`` of: its inverse, log(e^x - 1); that of ``LEAST_DENSITY`` where it is less."""
    x = np.maximum(density.astype(np.float64), LEAST_DENSITY)
    return x + np.log(-np.expm1(-x))


def check_threshold(threshold: float | None, solid: bool) -> None:
    """Raise UserError for a threshold that no density can have, and for any of a solid."""
    if threshold is None:
        return
    if solid:
        raise UserError("--threshold: this model is a solid, which has a surface and no density: leave it")
    if not 0 < threshold < np.inf:
        raise UserError(f"--threshold {threshold:g}: a density above 0 is expected")
