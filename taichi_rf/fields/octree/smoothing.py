"""The total variation of an octree's features: neighbouring vertices of a level should differ little.

Where few rays meet a surface, nothing else holds its vertices together, and what they learn is noise. As TensoRF does
with its planes (Chen et al. 2022, section 4.4), squared differences between neighbours are part of the loss:

    R = weight / 2 * sum over pairs of neighbours of |f_v - f_u|^2        dR/df_v = weight * sum over u of (f_v - f_u)

Only vertices that a step's rays met take their part of the gradient. The others would move although nothing was learnt
about them, and every vertex would have to be visited in every step.
"""

from typing import Any

import numpy as np

from taichi_rf.core.backend import ti
from taichi_rf.core.device import Block
from taichi_rf.fields.trees.octree import Octree

SIDES = 6
"""Neighbours of a vertex: two on each axis."""

Sides: Any = ti.types.vector(SIDES, ti.i32)


def neighbours(tree: Octree) -> np.ndarray:
    """(vertices of all levels, 6) int32: which vertex is next to each along x, y, z, before it and behind it on an edge
    of a cell that there is; -1 where none is."""
    total = sum(len(layer.vertices) for layer in tree.layers)
    found = np.full((total, SIDES), -1, np.int32)
    first = 0
    for layer in tree.layers:
        corners = layer.corners + first
        for axis in range(3):
            for corner in range(8):
                if not corner >> axis & 1:
                    low, high = corners[:, corner], corners[:, corner | 1 << axis]
                    found[high, 2 * axis], found[low, 2 * axis + 1] = low, high
        first += len(layer.vertices)
    return found


@ti.data_oriented
class Smoothing:
    """Adds the gradient of the total variation to an octree field's.

    Args:
        field: an ``OctreeField`` that trains.
    """

    def __init__(self, field: Any) -> None:
        self.field = field
        self.neighbours = ti.Vector.field(SIDES, ti.i32, field.capacity)
        self._tree: Octree | None = None

    def add(self, density: float, appearance: float) -> None:
        """Add it, at these weights of channel 0 and of the others, to the gradient of vertices that have one."""
        field = self.field
        if self._tree is not field.tree:
            rows = np.full((field.capacity, SIDES), -1, np.int32)
            found = neighbours(field.tree)
            rows[: len(found)] = found
            self.neighbours.from_numpy(rows)
            self._tree = field.tree
        codes = field.quantiser
        for level in range(field.grown):
            first, last = codes.firsts[level], codes.firsts[level + 1]
            self._add(level, first, last, density, appearance, codes, field.gradients)

    @ti.kernel
    def _add(
        self,
        level: int,
        first: int,
        last: int,
        weight: float,
        weight_of_others: float,
        codes: ti.template(),
        gradients: ti.template(),
    ):
        for v in range(first, last):
            if gradients.touched[v] != 0:
                here = codes.row(level, v)
                total = Block(0.0)
                for side in ti.static(range(SIDES)):
                    u = self.neighbours[v][side]
                    if u >= 0:
                        total += here - codes.row(level, u)
                weights = Block(weight_of_others)
                weights[0] = weight
                gradients.features[v] = gradients.features[v] + weights * total
