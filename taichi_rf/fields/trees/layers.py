"""The cells of one depth, their corners and their children."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from taichi_rf.core.errors import UserError
from taichi_rf.fields.trees.morton import MortonCodes, after, unique
from taichi_rf.fields.trees.packing import Bytes


@dataclass(frozen=True, eq=False)
class Layer:
    """All cells of one depth. Corner and octant c of a cell are at offset (c & 1, c >> 1 & 1, c >> 2 & 1) = x, y, z.

    ``cells`` (n,) uint32 are codes, ascending. ``vertices`` (m,) uint32 are the codes of the lattice points, 0 to
    2^depth on every axis, at the cells' corners, ascending. ``corners`` (n, 8) int32 are indices into ``vertices``,
    ``children`` (n, 8) int32 indices into the cells of the next layer, -1 where there is none. No array is writable.
    """

    depth: int
    cells: MortonCodes
    vertices: MortonCodes
    corners: npt.NDArray[np.int32]
    children: npt.NDArray[np.int32]

    def child_bits(self) -> Bytes:
        """(n,) uint8: bit c of a cell is whether it has child c."""
        return np.packbits(self.children >= 0, axis=1, bitorder="little")[:, 0]


def layers_of(cells: list[MortonCodes], base_depth: int) -> tuple[Layer, ...]:
    """Layers of ascending ``cells``, each array exactly the parents of the next."""
    if not len(cells[-1]):
        raise UserError("octree: no cell is left; nothing in the box was found to hold a surface")
    layers = [layer_of(here, base_depth + index) for index, here in enumerate(cells)]
    return (*(with_children(layer, finer) for layer, finer in zip(layers, cells[1:])), layers[-1])


def layer_of(cells: MortonCodes, depth: int) -> Layer:
    """The layer of ascending ``cells``, without children."""
    points = [cells]
    for axis in range(3):
        points += [after(corner, axis) for corner in points]
    corner_codes = np.stack(points, axis=1)
    vertices = unique(corner_codes.reshape(-1))
    corners = np.searchsorted(vertices, corner_codes).astype(np.int32)
    children = np.full((len(cells), 8), -1, np.int32)
    for array in (cells, vertices, corners, children):
        array.setflags(write=False)
    return Layer(depth, cells, vertices, corners, children)


def with_children(layer: Layer, finer: MortonCodes) -> Layer:
    """The layer as the parents of ascending cells, of each of which it has a child at least."""
    parents = finer >> 3
    owner = np.cumsum(np.concatenate([[False], parents[1:] != parents[:-1]]))
    children = np.full((len(layer.cells), 8), -1, np.int32)
    children[owner, finer & 7] = np.arange(len(finer), dtype=np.int32)
    children.setflags(write=False)
    return replace(layer, children=children)
