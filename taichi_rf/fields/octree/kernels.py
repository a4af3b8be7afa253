"""Lookups of an octree field. Their adjoints are in :mod:`taichi_rf.fields.octree.learning`.

The feature at a point is the sum over the levels of the trilinear interpolation of 16 numbers on the corners of its
cell (Eqs. 1 and 2, Takikawa et al. 2022). Outside the cells of a level its density is zero.
"""

from typing import Any

from taichi_rf.core.backend import ti
from taichi_rf.core.device import F32, I32, Block, Vec3s
from taichi_rf.fields.activations import softplus
from taichi_rf.fields.octree.layout import CORNERS, OctreeLayout
from taichi_rf.kernels.march import STOP, Samples
from taichi_rf.kernels.volume import attenuate

Corners: Any = ti.types.vector(CORNERS, ti.i32)
Weights: Any = ti.types.vector(CORNERS, ti.f32)


@ti.func
def corner_weights(f):
    """Trilinear weights of the eight corners at fractions f of a cell; corner c is at offset (c & 1, c >> 1 & 1,
    c >> 2 & 1)."""
    w = Weights(0.0)
    for c in ti.static(range(CORNERS)):
        w[c] = (
            (f[0] if c & 1 else 1.0 - f[0])
            * (f[1] if c >> 1 & 1 else 1.0 - f[1])
            * (f[2] if c >> 2 & 1 else 1.0 - f[2])
        )
    return w


@ti.data_oriented
class OctreeKernels(OctreeLayout):
    """What is computed on the tree."""

    _kept: Any
    """The cells of the batch that is learnt from, see :mod:`taichi_rf.fields.octree.learning`."""

    # The way down the tree

    @ti.func
    def place(self, p):
        """Integer coordinates in the finest grid there can be, and fractions in that cell."""
        side = ti.static(1 << self.finest_depth)
        g = ti.math.clamp(p, 0.0, 1.0) * side
        i = ti.min(ti.cast(g, ti.i32), side - 1)
        return i, g - i

    @ti.func
    def fraction(self, i, f, shift):
        """Fractions in the cell of a grid that is 2^shift coarser."""
        scale = ti.cast(1 << shift, ti.f32)
        return (ti.cast(i & ((1 << shift) - 1), ti.f32) + f) / scale

    @ti.func
    def base_cell(self, i):
        """The cell of the base layer that holds integer coordinates i of the finest grid; -1 if there is none."""
        shift = ti.static(self.span)
        c = i >> shift
        return self.base[(c[2] << (2 * self.base_depth)) + (c[1] << self.base_depth) + c[0]]

    @ti.func
    def child(self, cell, i, shift):
        """The child of ``cell`` towards i, whose own grid is 2^shift coarser than the finest; -1 if there is none."""
        result = -1
        if cell >= 0:
            bit = (i >> shift) & 1
            result = self.children[cell][bit[0] + 2 * bit[1] + 4 * bit[2]]
        return result

    @ti.kernel
    def _locate(self, n: int, first: int, levels: int, positions: Vec3s, cells: I32):
        # cells[i * num_levels + l]; all -1 where level ``levels`` has no cell, for there nothing is learnt
        for i in range(n):
            at, _ = self.place(positions[first + i])
            cell = self.base_cell(at)
            cells[i * self.num_levels] = cell
            for l in range(1, levels):
                cell = self.child(cell, at, self.span - l)
                cells[i * self.num_levels + l] = cell
            if cell < 0:
                for l in range(levels):
                    cells[i * self.num_levels + l] = -1

    def _located(self, n: int, first: int, positions: Any, level: int) -> Any:
        cells = self._scratch.get("cells", ti.i32, n * self.num_levels)
        self._locate(n, first, self.depth(level), positions, cells)
        return cells

    # Lookups

    @ti.func
    def activate(self, feature):
        """Density from channel 0: softplus of the shifted sum, or the sum itself where it is a distance."""
        result = feature
        if ti.static(not self.signed):
            result = softplus(feature + self.density_shift)
        return result

    @ti.func
    def density_of(self, codes, level, cell, f):
        """Channel 0 of one level at fractions f of a cell."""
        corners = self.corners[cell]
        w = corner_weights(f)
        total = 0.0
        for c in ti.static(range(CORNERS)):
            total += w[c] * codes.density(level, corners[c])
        return total

    @ti.func
    def row_of(self, codes, level, cell, f):
        """All channels of one level at fractions f of a cell."""
        corners = self.corners[cell]
        w = corner_weights(f)
        total = Block(0.0)
        for c in ti.static(range(CORNERS)):
            total += w[c] * codes.row(level, corners[c])
        return total

    def density(self, n: int, positions: Any, density: Any, level: int) -> None:
        if n > 0:
            self._density(n, self.depth(level), self.quantiser, positions, density)

    @ti.func
    def density_at(self, levels, codes: ti.template(), p):
        """Density of the first ``levels`` levels at p of the unit box; outside their cells 0, or 1 for a distance."""
        at, f = self.place(p)
        cell = self.base_cell(at)
        total = 0.0
        for l in range(levels):
            if l > 0:
                cell = self.child(cell, at, self.span - l)
            if cell >= 0:
                total += self.density_of(codes, l, cell, self.fraction(at, f, self.span - l))
        return ti.select(cell >= 0, self.activate(total), ti.static(1.0 if self.signed else 0.0))

    @ti.kernel
    def _density(self, n: int, levels: int, codes: ti.template(), positions: Vec3s, density: F32):
        for i in range(n):
            density[i] = self.density_at(levels, codes, positions[i])

    def density_along(self, samples: Samples, distance_scale: float, density: Any, level: int) -> None:
        if not self.owner:  # a GPU has more use for samples side by side than for fewer of them
            super().density_along(samples, distance_scale, density, level)
        elif samples.count > 0:
            self._density_along(
                samples.rays, self.depth(level), samples.step * distance_scale, self.quantiser, samples.offsets,
                samples.positions, density,
            )  # fmt: skip

    @ti.kernel
    def _density_along(
        self, n: int, levels: int, delta: float, codes: ti.template(), offsets: I32, positions: Vec3s, density: F32
    ):
        for r in range(n):
            transmittance = 1.0
            for i in range(offsets[r], offsets[r + 1]):
                here = 0.0
                if transmittance > STOP:
                    here = self.density_at(levels, codes, positions[i])
                    _, transmittance = attenuate(transmittance, here, delta)
                density[i] = here

    def density_levels(self, n: int, positions: Any, density: Any) -> None:
        if n > 0:
            self._density_levels(n, self.grown, self.quantiser, positions, density)

    @ti.kernel
    def _density_levels(self, n: int, grown: int, codes: ti.template(), positions: Vec3s, density: F32):
        for i in range(n):
            at, f = self.place(positions[i])
            cell = self.base_cell(at)
            total = 0.0
            for l in range(self.num_levels):
                if 0 < l < grown:
                    cell = self.child(cell, at, self.span - l)
                if cell >= 0 and l < grown:
                    total += self.density_of(codes, l, cell, self.fraction(at, f, self.span - l))
                density[i * self.num_levels + l] = ti.select(
                    cell >= 0, self.activate(total), ti.static(1.0 if self.signed else 0.0)
                )

    def lookup(self, n: int, first: int, positions: Any, level: int, index: Any = None) -> None:
        self._looked_up = (first, positions, index)

    def features(self, n: int, level: int) -> Any:
        first, positions, index = self._looked_up
        if n > 0 and index is not None:
            self._features_kept(n, first, self.quantiser, positions, index, self._kept)
        elif n > 0:
            self._features(n, first, 0, self.depth(level), 0, self.quantiser, positions)
        return self.output

    @ti.kernel
    def _features_kept(self, n: int, first: int, codes: ti.template(), positions: Vec3s, index: I32, cells: I32):
        for i in range(n):
            at, f = self.place(positions[first + i])
            total = Block(0.0)
            for l in range(self.num_levels):
                cell = cells[index[first + i] * self.num_levels + l]
                if cell >= 0:
                    total += self.row_of(codes, l, cell, self.fraction(at, f, self.span - l))
            self.output[i, 0] = total

    def next_features(self, n: int, level: int) -> Any:
        first, positions, _ = self._looked_up
        if n > 0 and level <= self.grown:
            self._features(n, first, level - 1, level, int(level > 1), self.quantiser, positions)
        return self.output

    @ti.kernel
    def _features(self, n: int, first: int, begin: int, end: int, add: int, codes: ti.template(), positions: Vec3s):
        # the sum of levels begin .. end - 1, of those that have a cell there
        for i in range(n):
            at, f = self.place(positions[first + i])
            cell = self.base_cell(at)
            total = Block(0.0)
            if add != 0:
                total = self.output[i, 0]
            for l in range(end):
                if l > 0:
                    cell = self.child(cell, at, self.span - l)
                if cell >= 0 and l >= begin:
                    total += self.row_of(codes, l, cell, self.fraction(at, f, self.span - l))
            self.output[i, 0] = total

    # Which cells are worth having

    def note(self, n: int, positions: Any, weights: Any, seen: Any) -> None:
        """seen[c] = the largest weight of a sample in cell c of the finest layer there is, (cells of it,)."""
        before = self.cells - len(self.tree.layers[-1].cells)
        if n > 0:
            self._note(n, self.grown, before, positions, weights, seen)

    @ti.kernel
    def _note(self, n: int, levels: int, before: int, positions: Vec3s, weights: F32, seen: F32):
        for i in range(n):
            at, _ = self.place(positions[i])
            cell = self.base_cell(at)
            for l in range(1, levels):
                cell = self.child(cell, at, self.span - l)
            if cell >= 0 and weights[i] > 0.0:
                ti.atomic_max(seen[cell - before], weights[i])

    # A level that arrives

    @ti.kernel
    def _put_cells(
        self, n: int, first: int, offset: int, rows: ti.types.ndarray(dtype=ti.i32, ndim=2), target: ti.template(),
        sparse: int,
    ):  # fmt: skip
        # eight ids each, counted from ``offset`` on; of sparse ones -1 stays -1
        for i in range(n):
            for c in ti.static(range(CORNERS)):
                row = rows[i, c]
                target[first + i][c] = ti.select(sparse != 0 and row < 0, -1, row + offset)
