"""The sparse octree under a field: which cells of a box there are at every depth.

Plain numpy. Memory follows the number of cells, never the number of places where a cell could be, except in
:meth:`Octree.mask`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.core.errors import UserError
from taichi_rf.fields.trees.layers import Layer, layer_of, layers_of, with_children
from taichi_rf.fields.trees.morton import coordinates, morton, neighbourhood, unique
from taichi_rf.fields.trees.packing import MAX_CELLS, Bytes, base_bytes, counted, finer_cells, set_bits

MAX_DEPTH = 9
"""Cells of depth d are 2^-d of the box a side. The lattice points of depth 9 are the most that 32-bit codes hold."""
CHUNK = 1 << 20  # points looked at together


@dataclass(frozen=True, eq=False)
class Octree:
    """Layers of cells from ``base_depth`` down: every layer is exactly the parents of the next. Immutable.

    Level 1 is the base layer, level l is ``layers[l - 1]``. No tree is empty: what would make one raises UserError.
    """

    layers: tuple[Layer, ...]

    @property
    def base_depth(self) -> int:
        """Depth of the first layer."""
        return self.layers[0].depth

    @property
    def depth(self) -> int:
        """Depth of the finest layer."""
        return self.layers[-1].depth

    @classmethod
    def from_cells(cls, codes: npt.ArrayLike, depth: int, base_depth: int) -> Octree:
        """The tree whose finest cells, of ``depth``, are ``codes`` (n,), in any order, repeated or not.

        Raises:
            UserError: there is no cell, or the depths are out of range.
            ValueError: a code is no cell of that depth.
        """
        check_depths(base_depth, depth)
        whole = np.asarray(codes)
        if whole.size and not (whole.min() >= 0 and whole.max() < 1 << 3 * depth):
            raise ValueError(f"codes at depth {depth} end at {(1 << 3 * depth) - 1}; got {whole.min()}, {whole.max()}")
        cells = [unique(whole.astype(np.uint32))]
        for _ in range(depth - base_depth):
            cells.append(unique(cells[-1] >> np.uint32(3)))
        return cls(layers_of(cells[::-1], base_depth))

    @classmethod
    def from_points(cls, points: npt.NDArray[np.floating], depth: int, base_depth: int, grow: int = 0) -> Octree:
        """The cells of ``depth`` in which ``points`` (n, 3) of the unit box lie, and ``grow`` times their neighbours.

        Points outside [0, 1] are passed over.

        Raises:
            UserError: no point is in the box, or the depths are out of range.
        """
        check_depths(base_depth, depth)
        side = 1 << depth
        found = np.zeros(0, np.uint32)
        for start in range(0, len(points), CHUNK):
            some = points[start : start + CHUNK]
            some = some[((some >= 0) & (some <= 1)).all(axis=1)]
            places = np.minimum((some * side).astype(np.int32), side - 1)
            found = unique(np.concatenate([found, morton(places)]))
        for _ in range(grow):
            found = neighbourhood(found, depth)
        return cls.from_cells(found, depth, base_depth)

    @classmethod
    def from_mask(cls, mask: npt.NDArray[np.bool_], depth: int, base_depth: int) -> Octree:
        """The cells of ``depth`` that overlap a true voxel of ``mask`` (z, y, x), whose voxels fill the box evenly.

        Raises:
            UserError: no voxel is true, or the depths are out of range.
        """
        check_depths(base_depth, depth)
        side = 1 << depth
        places = [along.astype(np.int64) for along in np.nonzero(mask)[::-1]]
        for axis in range(3):
            count = mask.shape[2 - axis]
            voxels = np.arange(count, dtype=np.int64)
            first = voxels * side // count
            spans = -(-(voxels + 1) * side // count) - first
            copies = spans[places[axis]]
            step = np.arange(copies.sum()) - np.repeat(np.cumsum(copies) - copies, copies)
            places[axis] = first[places[axis]]
            places = [np.repeat(along, copies) for along in places]
            places[axis] += step
            keys = unique(places[0] << 42 | places[1] << 21 | places[2])
            places = [keys >> 42, keys >> 21 & 0x1FFFFF, keys & 0x1FFFFF]
        return cls.from_cells(morton(np.stack(places, axis=1)), depth, base_depth)

    def subdivided(self) -> Octree:
        """This tree with one layer more: all eight children of every finest cell.

        Raises:
            UserError: the finest cells are of the greatest depth.
        """
        check_depths(self.base_depth, self.depth + 1)
        finest = self.layers[-1].cells
        children = (finest[:, None] << np.uint32(3) | np.arange(8, dtype=np.uint32)).reshape(-1)
        return Octree(layers_of([*(layer.cells for layer in self.layers), children], self.base_depth))

    def pruned(self, keep: npt.NDArray[np.bool_]) -> Octree:
        """The tree of the finest cells where ``keep`` (n,) is true. Raises UserError if that is nowhere."""
        finest = self.layers[-1].cells
        keep = np.asarray(keep, bool)
        if keep.shape != finest.shape:
            raise ValueError(f"keep is {finest.shape}, one for each finest cell; got {keep.shape}")
        return Octree.from_cells(finest[keep], self.depth, self.base_depth)

    def layer(self, level: int) -> Layer:
        """Level 1 is the base layer."""
        if not 1 <= level <= len(self.layers):
            raise ValueError(f"levels are 1 to {len(self.layers)}; got {level}")
        return self.layers[level - 1]

    def mask(self, level: int) -> npt.NDArray[np.bool_]:
        """Which cells there are, dense: (z, y, x) of bool, 2^depth along each axis."""
        layer = self.layer(level)
        side = 1 << layer.depth
        dense = np.zeros((side, side, side), bool)
        x, y, z = coordinates(layer.cells).T
        dense[z, y, x] = True
        return dense

    def words(self, level: int) -> npt.NDArray[np.int32]:
        """:meth:`mask` as :meth:`taichi_rf.kernels.march.Occupancy.words_of` has it, a bit a cell: of 1,024 cells a
        side a mask takes a gigabyte."""
        layer = self.layer(level)
        side = 1 << layer.depth
        row = -(-side // 32)
        words = np.zeros(side * side * row, np.uint32)
        for start in range(0, len(layer.cells), CHUNK):
            x, y, z = coordinates(layer.cells[start : start + CHUNK]).T
            np.bitwise_or.at(words, (z * side + y) * row + (x >> 5), np.uint32(1) << (x & 31).astype(np.uint32))
        return words.view(np.int32)

    def vertex_positions(self, level: int) -> npt.NDArray[np.float32]:
        """(m, 3) float32: where the vertices of a level lie in the unit box."""
        layer = self.layer(level)
        return (coordinates(layer.vertices) / np.float32(1 << layer.depth)).astype(np.float32)

    def surviving(self, old: Octree, level: int) -> npt.NDArray[np.int64]:
        """(m,) int64: which of ``old``'s vertices of the same depth each vertex of this level is, -1 if none."""
        layer = self.layer(level)
        before = next((other.vertices for other in old.layers if other.depth == layer.depth), None)
        if before is None:
            return np.full(len(layer.vertices), -1, np.int64)
        places = np.minimum(np.searchsorted(before, layer.vertices), len(before) - 1).astype(np.int64)
        return np.where(before[places] == layer.vertices, places, -1)

    def prolonged(self, level: int, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """``values`` (m, ...) at the vertices of ``level`` - 1, interpolated trilinearly at those of ``level``."""
        coarse, fine = self.layer(level - 1), self.layer(level)
        parents, octants = np.nonzero(coarse.children >= 0)
        bits = np.arange(8)[:, None] >> np.arange(3) & 1
        places = (bits[:, None] + bits) / 2  # (octant, corner): where in the parent
        shares = np.where(bits, places[:, :, None], 1 - places[:, :, None])  # (octant, corner, parent's corner, axis)
        weights = shares.prod(axis=-1).astype(values.dtype)
        result = np.empty((len(fine.vertices), *values.shape[1:]), values.dtype)
        for octant in range(8):
            chosen = parents[octants == octant]
            at_corners = np.einsum("cp,np...->nc...", weights[octant], values[coarse.corners[chosen]])
            result[fine.corners[coarse.children[chosen, octant]]] = at_corners
        return result

    def pack(self, level: int) -> Bytes:
        """A level as stored, (bytes,) uint8: level 1 as one bit for each place of the base layer, in Morton order and
        from the lowest bit of a byte; each level above as one byte of child bits for each cell of the level before."""
        if level > 1:
            self.layer(level)
            return self.layers[level - 2].child_bits()
        cells = self.layer(level).cells
        packed = np.zeros(base_bytes(self.base_depth), np.uint8)
        np.bitwise_or.at(packed, cells >> 3, np.left_shift(1, cells & 7).astype(np.uint8))
        return packed

    def extended(self, packed: npt.NDArray[Any], cells: int | None = None) -> Octree:
        """This tree with the next level of :meth:`pack`, whose layers but the last are the same objects; it has
        ``cells``, if that is known.

        Raises:
            UserError: as :meth:`unpack`.
        """
        check_depths(self.base_depth, self.depth + 1)
        last = self.layers[-1]
        finer = finer_cells(last.cells, packed, len(self.layers) + 1, MAX_CELLS, cells)
        return Octree((*self.layers[:-1], with_children(last, finer), layer_of(finer, self.depth + 1)))

    @classmethod
    def unpack(
        cls,
        arrays: Sequence[npt.NDArray[Any]],
        base_depth: int,
        *,
        cells: Sequence[int] | None = None,
        most: int = MAX_CELLS,
    ) -> Octree:
        """The tree of :meth:`pack`'s arrays for level 1 and on; fewer than were packed give the tree of these levels.

        Bits are counted before any is made a cell, because a byte of them stands for a kilobyte of the tree.

        Args:
            arrays: of level 1, 2, ...
            base_depth: of level 1.
            cells: how many each level has, where that is known.
            most: cells that there may be in all.

        Raises:
            UserError: whatever no packed tree could hold; says at which level.
        """
        if not arrays:
            raise UserError("octree: no level is given; the base layer is the least there is")
        check_depths(base_depth, base_depth + len(arrays) - 1)
        for level, array in enumerate(arrays, start=1):
            if array.ndim != 1 or array.dtype != np.uint8:
                raise UserError(f"octree, level {level}: a row of bytes is expected, not {array.dtype} {array.shape}")
        expected = base_bytes(base_depth)
        if len(arrays[0]) != expected:
            raise UserError(
                f"octree, level 1: {len(arrays[0])} bytes; the cells of depth {base_depth} are told in {expected}"
            )
        told = cells if cells is not None else [None] * len(arrays)
        left = most - counted(arrays[0], 1, most, told[0])
        found = [set_bits(arrays[0])]
        if len(found[0]) and int(found[0][-1]) >= 1 << 3 * base_depth:
            raise UserError("octree, level 1: bits are set beyond the last cell")
        for level, masks in enumerate(arrays[1:], start=2):
            found.append(finer_cells(found[-1], masks, level, left, told[level - 1]))
            left -= len(found[-1])
        return cls(layers_of(found, base_depth))


def check_depths(base_depth: int, depth: int) -> None:
    """Raise UserError for depths that an octree cannot have."""
    if not 0 <= base_depth <= MAX_DEPTH:
        raise UserError(f"an octree's base depth is 0 to {MAX_DEPTH}; got {base_depth}")
    if depth > MAX_DEPTH:
        raise UserError(f"an octree is at most {MAX_DEPTH} deep, {1 << MAX_DEPTH} cells a side; got depth {depth}")
    if depth < base_depth:
        raise UserError(f"an octree's depth is not less than its base depth, {base_depth}; got {depth}")
