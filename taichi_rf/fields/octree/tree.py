"""The sparse octree under a field: which cells of a box there are at every depth, their corners, children and bits.

Plain numpy. Memory follows the number of cells, never the number of places where a cell could be, except in
:meth:`Octree.mask`. A cell or a lattice point is known by its Morton code: the bits of its x, y and z interleaved, x in
the lowest bit, so that the children of cell c are 8 c to 8 c + 7 and ascending codes keep neighbours close.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from taichi_rf.core.errors import UserError

MAX_DEPTH = 9
"""Cells of depth d are 2^-d of the box a side. The lattice points of depth 9 are the most that 32-bit codes hold."""

BITS = 10  # of a coordinate
AXES = (0x09249249, 0x12492492, 0x24924924)
"""The bits of a code that belong to x, y and z."""

MAX_CELLS = 1 << 24
"""Of a tree that is read: as many vertices are the most that a model file may have, and there are more of those."""

CHUNK = 1 << 20  # points looked at together

_BITS_SET = np.array([bin(byte).count("1") for byte in range(256)], np.int64)

Codes = npt.NDArray[np.uint32]
Bytes = npt.NDArray[np.uint8]


def morton(places: npt.ArrayLike) -> Codes:
    """The codes (n,) uint32 of whole coordinates (n, 3): x, y, z from 0 to 1023.

    Raises:
        ValueError: a coordinate is out of that range, or the shape is another.
    """
    whole = np.asarray(places)
    if whole.ndim != 2 or whole.shape[1] != 3:
        raise ValueError(f"coordinates are (n, 3); got {whole.shape}")
    if whole.size and not (whole.min() >= 0 and whole.max() < 1 << BITS):
        raise ValueError(f"coordinates are 0 to {(1 << BITS) - 1}; got {whole.min()} to {whole.max()}")
    codes = np.zeros(len(whole), np.uint32)
    for axis in range(3):
        bits = whole[:, axis].astype(np.uint32)
        for shift, mask in ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, AXES[0])):
            bits = (bits | bits << np.uint32(shift)) & np.uint32(mask)
        codes |= bits << np.uint32(axis)
    return codes


def coordinates(codes: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """The inverse of :func:`morton`: (n,) codes to (n, 3) int32."""
    whole = np.asarray(codes, np.uint32)
    result = np.empty((len(whole), 3), np.int32)
    for axis in range(3):
        bits = whole >> np.uint32(axis) & np.uint32(AXES[0])
        for shift, mask in ((2, 0x030C30C3), (4, 0x0300F00F), (8, 0x030000FF), (16, 0x000003FF)):
            bits = (bits | bits >> np.uint32(shift)) & np.uint32(mask)
        result[:, axis] = bits
    return result


def neighbourhood(codes: npt.ArrayLike, depth: int) -> Codes:
    """Cells (n,) of ``depth`` and all their 26 neighbours that lie in the box: codes, ascending, each once."""
    grown = _unique(np.asarray(codes, np.uint32))
    for axis in range(3):
        last = AXES[axis] & ((1 << 3 * depth) - 1)
        below = grown[grown & AXES[axis] != 0]
        above = grown[grown & AXES[axis] != last]
        grown = _unique(np.concatenate([grown, _before(below, axis), _after(above, axis)]))
    return grown


def _after(codes: Codes, axis: int) -> Codes:
    """The next place along ``axis``: the other axes' bits are set, so that a carry runs through them."""
    mask = np.uint32(AXES[axis])
    return ((codes | ~mask) + np.uint32(1)) & mask | codes & ~mask


def _before(codes: Codes, axis: int) -> Codes:
    """The place before along ``axis``, which must not be 0 there: a borrow runs through the other axes' bits."""
    mask = np.uint32(AXES[axis])
    return ((codes & mask) - np.uint32(1 << axis)) & mask | codes & ~mask


def _unique(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Ascending, each once. Sorting whole arrays is several times faster here than np.unique."""
    values = np.sort(values)
    return values[np.concatenate([np.ones(min(1, len(values)), bool), values[1:] != values[:-1]])]


@dataclass(frozen=True, eq=False)
class Layer:
    """All cells of one depth. Corner and octant c of a cell are at offset (c & 1, c >> 1 & 1, c >> 2 & 1) = x, y, z.

    ``cells`` (n,) uint32 are codes, ascending. ``vertices`` (m,) uint32 are the codes of the lattice points, 0 to
    2^depth on every axis, at the cells' corners, ascending. ``corners`` (n, 8) int32 are indices into ``vertices``,
    ``children`` (n, 8) int32 indices into the cells of the next layer, -1 where there is none. No array is writable.
    """

    depth: int
    cells: Codes
    vertices: Codes
    corners: npt.NDArray[np.int32]
    children: npt.NDArray[np.int32]

    def child_bits(self) -> Bytes:
        """(n,) uint8: bit c of a cell is whether it has child c."""
        return np.packbits(self.children >= 0, axis=1, bitorder="little")[:, 0]


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
        _check_depths(base_depth, depth)
        whole = np.asarray(codes)
        if whole.size and not (whole.min() >= 0 and whole.max() < 1 << 3 * depth):
            raise ValueError(f"codes at depth {depth} end at {(1 << 3 * depth) - 1}; got {whole.min()}, {whole.max()}")
        cells = [_unique(whole.astype(np.uint32))]
        for _ in range(depth - base_depth):
            cells.append(_unique(cells[-1] >> np.uint32(3)))
        return cls(_layers(cells[::-1], base_depth))

    @classmethod
    def from_points(cls, points: npt.NDArray[np.floating], depth: int, base_depth: int, grow: int = 0) -> Octree:
        """The cells of ``depth`` in which ``points`` (n, 3) of the unit box lie, and ``grow`` times their neighbours.

        Points outside [0, 1] are passed over.

        Raises:
            UserError: no point is in the box, or the depths are out of range.
        """
        _check_depths(base_depth, depth)
        side = 1 << depth
        found = np.zeros(0, np.uint32)
        for start in range(0, len(points), CHUNK):
            some = points[start : start + CHUNK]
            some = some[((some >= 0) & (some <= 1)).all(axis=1)]
            places = np.minimum((some * side).astype(np.int32), side - 1)
            found = _unique(np.concatenate([found, morton(places)]))
        for _ in range(grow):
            found = neighbourhood(found, depth)
        return cls.from_cells(found, depth, base_depth)

    @classmethod
    def from_mask(cls, mask: npt.NDArray[np.bool_], depth: int, base_depth: int) -> Octree:
        """The cells of ``depth`` that overlap a true voxel of ``mask`` (z, y, x), whose voxels fill the box evenly.

        Raises:
            UserError: no voxel is true, or the depths are out of range.
        """
        _check_depths(base_depth, depth)
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
            keys = _unique(places[0] << 42 | places[1] << 21 | places[2])
            places = [keys >> 42, keys >> 21 & 0x1FFFFF, keys & 0x1FFFFF]
        return cls.from_cells(morton(np.stack(places, axis=1)), depth, base_depth)

    def subdivided(self) -> Octree:
        """This tree with one layer more: all eight children of every finest cell.

        Raises:
            UserError: the finest cells are of the greatest depth.
        """
        _check_depths(self.base_depth, self.depth + 1)
        finest = self.layers[-1].cells
        children = (finest[:, None] << np.uint32(3) | np.arange(8, dtype=np.uint32)).reshape(-1)
        return Octree(_layers([*(layer.cells for layer in self.layers), children], self.base_depth))

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
        packed = np.zeros(_base_bytes(self.base_depth), np.uint8)
        np.bitwise_or.at(packed, cells >> 3, np.left_shift(1, cells & 7).astype(np.uint8))
        return packed

    def extended(self, packed: npt.NDArray[Any], cells: int | None = None) -> Octree:
        """This tree with the next level of :meth:`pack`, whose layers but the last are the same objects; it has
        ``cells``, if that is known.

        Raises:
            UserError: as :meth:`unpack`.
        """
        _check_depths(self.base_depth, self.depth + 1)
        last = self.layers[-1]
        finer = _finer(last.cells, packed, len(self.layers) + 1, MAX_CELLS, cells)
        return Octree((*self.layers[:-1], _with_children(last, finer), _layer(finer, self.depth + 1)))

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
        _check_depths(base_depth, base_depth + len(arrays) - 1)
        for level, array in enumerate(arrays, start=1):
            if array.ndim != 1 or array.dtype != np.uint8:
                raise UserError(f"octree, level {level}: a row of bytes is expected, not {array.dtype} {array.shape}")
        expected = _base_bytes(base_depth)
        if len(arrays[0]) != expected:
            raise UserError(
                f"octree, level 1: {len(arrays[0])} bytes; the cells of depth {base_depth} are told in {expected}"
            )
        told = cells if cells is not None else [None] * len(arrays)
        left = most - _counted(arrays[0], 1, most, told[0])
        found = [_set_bits(arrays[0])]
        if len(found[0]) and int(found[0][-1]) >= 1 << 3 * base_depth:
            raise UserError("octree, level 1: bits are set beyond the last cell")
        for level, masks in enumerate(arrays[1:], start=2):
            found.append(_finer(found[-1], masks, level, left, told[level - 1]))
            left -= len(found[-1])
        return cls(_layers(found, base_depth))


def _check_depths(base_depth: int, depth: int) -> None:
    if not 0 <= base_depth <= MAX_DEPTH:
        raise UserError(f"an octree's base depth is 0 to {MAX_DEPTH}; got {base_depth}")
    if depth > MAX_DEPTH:
        raise UserError(f"an octree is at most {MAX_DEPTH} deep, {1 << MAX_DEPTH} cells a side; got depth {depth}")
    if depth < base_depth:
        raise UserError(f"an octree's depth is not less than its base depth, {base_depth}; got {depth}")


def _base_bytes(base_depth: int) -> int:
    return -(-(1 << 3 * base_depth) // 8)


def _set_bits(packed: Bytes) -> Codes:
    """Which bits of ``packed`` are set, counted from the lowest of the first byte: ascending, uint32."""
    there = np.flatnonzero(packed)
    bits = np.unpackbits(packed[there, None], axis=1, bitorder="little")
    which, bit = np.nonzero(bits)
    return (there[which] << 3 | bit).astype(np.uint32)


def _counted(packed: npt.NDArray[Any], level: int, most: int, told: int | None) -> int:
    """How many bits are set, which is how many cells ``level`` will have; UserError if not ``told``, or too many."""
    count = int(np.bincount(packed, minlength=256) @ _BITS_SET)
    if told is not None and count != told:
        raise UserError(f"octree, level {level}: its bits stand for {count:,} cells, but {told:,} are told of")
    if count > most:
        raise UserError(f"octree, level {level}: its bits stand for {count:,} cells; there is room for {most:,}")
    return count


def _finer(cells: Codes, masks: npt.NDArray[Any], level: int, most: int, told: int | None) -> Codes:
    """The cells of ``level``, at most ``most``, by the child bits of those of the level before, one byte for each."""
    if len(masks) != len(cells):
        raise UserError(
            f"octree, level {level}: {len(masks)} bytes of child bits; level {level - 1} has {len(cells)} "
            "cells, and each has one"
        )
    if not masks.all():
        raise UserError(f"octree, level {level}: cell {int(masks.argmin())} of the level before has no child")
    _counted(masks, level, most, told)
    places = _set_bits(masks)
    finer: Codes = cells[places >> 3] << 3 | places & 7
    return finer


def _layers(cells: list[Codes], base_depth: int) -> tuple[Layer, ...]:
    """Layers of ascending ``cells``, each array exactly the parents of the next."""
    if not len(cells[-1]):
        raise UserError("octree: no cell is left; nothing in the box was found to hold a surface")
    layers = [_layer(here, base_depth + index) for index, here in enumerate(cells)]
    return (*(_with_children(layer, finer) for layer, finer in zip(layers, cells[1:])), layers[-1])


def _layer(cells: Codes, depth: int) -> Layer:
    """The layer of ascending ``cells``, without children."""
    points = [cells]
    for axis in range(3):
        points += [_after(corner, axis) for corner in points]
    corner_codes = np.stack(points, axis=1)
    vertices = _unique(corner_codes.reshape(-1))
    corners = np.searchsorted(vertices, corner_codes).astype(np.int32)
    children = np.full((len(cells), 8), -1, np.int32)
    for array in (cells, vertices, corners, children):
        array.setflags(write=False)
    return Layer(depth, cells, vertices, corners, children)


def _with_children(layer: Layer, finer: Codes) -> Layer:
    """The layer as the parents of ascending cells, of each of which it has a child at least."""
    parents = finer >> 3
    owner = np.cumsum(np.concatenate([[False], parents[1:] != parents[:-1]]))
    children = np.full((len(layer.cells), 8), -1, np.int32)
    children[owner, finer & 7] = np.arange(len(finer), dtype=np.int32)
    children.setflags(write=False)
    return replace(layer, children=children)
