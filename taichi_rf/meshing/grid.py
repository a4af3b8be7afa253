"""The grid that a surface is looked for on: cubes of one size over the part of the box where there may be one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from taichi_rf.kernels.spaces import FARTHEST, Box, Contraction
from taichi_rf.rendering.model import Model

Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

REACH = 4.0
"""Where all of space is contracted: how far the mesh reaches by default, in half sides of the inner cube. Beyond,
voxels of the world are many times as large, and what is there was seen from one side."""
AHEAD = 16.0
"""Of normalised device coordinates: the same, in distances of the near plane."""
TOUCHING = 1e-4
"""Of a cell: a node that is no farther from a face belongs to the cells on both sides."""


@dataclass(frozen=True)
class Grid:
    """Nodes ``first`` to ``first + shape - 1`` along x, y, z; node i is at ``origin + i * spacing`` of the unit box."""

    spacing: npt.NDArray[np.float64]
    """(3,) of neighbouring nodes, in lengths of the unit box."""
    first: IntArray
    """(3,)"""
    shape: IntArray
    """(3,) nodes along x, y, z."""
    closed: bool
    """Whether what is beyond the box is outside, so that a surface that reaches it is closed there."""

    @property
    def nodes(self) -> int:
        return int(np.prod(self.shape))

    def places(self, axis: int) -> npt.NDArray[np.float64]:
        """Where the nodes along an axis are, in the unit box."""
        places: npt.NDArray[np.float64] = (self.first[axis] + np.arange(self.shape[axis])) * self.spacing[axis]
        return places

    def unit(self, nodes: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Places (n, 3) in the unit box of points (n, 3) that are counted in nodes from the grid's first."""
        return (self.first + nodes.astype(np.float64)) * self.spacing


def grid_over(model: Model, cells: BoolArray, resolution: int, reach: float | None = None) -> Grid | None:
    """The grid over the occupied part of a model's box; None where nothing is occupied.

    Args:
        cells: (z, y, x) of the unit box that may hold something.
        resolution: nodes along the longest side of the box.
        reach: how far from the middle, see :func:`reaches`; of a space that is bent only.
    """
    sides = (model.box[1] - model.box[0]).astype(np.float64)
    spacing = float(sides.max()) / (resolution - 1) / sides
    closed = isinstance(model.space, Box)
    margin = 1 if closed else 0
    low, high = np.full(3, -margin), np.rint(1 / spacing + 1e-6).astype(np.int64) + margin
    if not closed:
        begin, end = reaches(model, reach)
        low, high = np.maximum(low, np.ceil(begin / spacing - 1e-6)), np.minimum(high, np.floor(end / spacing + 1e-6))
    for axis in range(3):
        some = np.flatnonzero(cells.any(axis=tuple(a for a in range(3) if a != 2 - axis)))
        if not len(some):
            return None
        count = cells.shape[2 - axis]
        low[axis] = max(low[axis], np.floor(some[0] / count / spacing[axis] - 1e-6) - 1)
        high[axis] = min(high[axis], np.ceil((some[-1] + 1) / count / spacing[axis] + 1e-6) + 1)
    low, high = low.astype(np.int64), high.astype(np.int64)
    if (high - low < 1).any():
        return None
    return Grid(spacing, low, high - low + 1, closed)


def reaches(model: Model, reach: float | None = None) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Between which places (3,), (3,) of the unit box a mesh lies, of a model whose space is bent.

    Args:
        reach: in half sides of the inner cube, or of normalised device coordinates in distances of the near plane, by
            default ``REACH`` and ``AHEAD``.
    """
    low, high = model.box.astype(np.float64)
    begin, end = low.copy(), high.copy()
    if isinstance(model.space, Contraction):
        half = 2 - 1 / min(reach or REACH, FARTHEST)
        begin, end = np.maximum(begin, -half), np.minimum(end, half)
    else:
        end[2] = min(end[2], 1 - 2 / min(reach or AHEAD, FARTHEST))
    return (begin - low) / (high - low), (end - low) / (high - low)


def touched(grid: Grid, axis: int, count: int) -> tuple[IntArray, IntArray]:
    """The cells before and after every node along an axis, of ``count``; equal but where a node lies between two."""
    at = grid.places(axis) * count
    before, after = np.floor(at - TOUCHING), np.floor(at + TOUCHING)
    return np.clip(before, 0, count - 1).astype(np.int64), np.clip(after, 0, count - 1).astype(np.int64)
