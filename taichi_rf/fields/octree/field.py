"""The octree field: features on the corners of sparse cells, summed over levels of detail (NGLOD and VQAD, Takikawa et
al. 2021 and 2022).

Level l adds a grid of 2^(base_depth + l - 1) cells a side, of which only those near a surface exist. The feature at a
point is the sum over the levels of the trilinear interpolation of k = 16 numbers on the corners of its cell. Channel 0
is the density's, or a signed distance; channels 1 to 15 are what the decoder reads. The cells of a level say where it
is not empty: outside them its density is zero. How the vertices' features are represented is the coder's business
(``coders.py``, ``codebook.py``).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from taichi_rf.coding import checks
from taichi_rf.coding.headers import are_whole, is_number, is_whole, wrong
from taichi_rf.core.backend import current, ti
from taichi_rf.core.device import BLOCK, F32, I32, Block, Scratch, Vec3s
from taichi_rf.core.errors import UserError
from taichi_rf.fields.accounts import octree_accounts
from taichi_rf.fields.activations import softplus
from taichi_rf.fields.base import Accounts, Arrays, Field, Header, Schema, Stage
from taichi_rf.fields.octree.tree import MAX_DEPTH, Octree, morton
from taichi_rf.fields.quantisers.base import Coder, Gradients
from taichi_rf.fields.quantisers.registry import (
    check_coder,
    check_stored,
    coder_schema,
    empty_coder,
    reserved_coder,
    stored_coder,
)
from taichi_rf.kernels.march import STOP, Occupancy, Samples
from taichi_rf.kernels.optim import Moments, Parameters

MAX_LEVELS = 5
MIN_BASE_DEPTH, MAX_BASE_DEPTH = 2, 7
MAX_VERTICES = 1 << 24
CORNERS = 8
CELL_BYTES, ROW_BYTES = 4, 4 * BLOCK
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


@dataclass(frozen=True, eq=False)
class Grown:
    """A level that came, worked out up to where the device is needed: the tree with it, and its cells as bits."""

    arrays: Arrays
    tree: Octree
    space: np.ndarray


@ti.data_oriented
class OctreeField(Field):
    """Features on an octree of up to ``levels`` levels.

    Args:
        tree: what there is to begin with, of ``levels`` layers or fewer: the others are grown later, and until then a
            level that is missing is the same as the finest there is.
        coder: made for the tree's vertices; its ``capacity`` is how many the field has room for.
        levels: number of levels in the end.
        finest_depth: of the whole model, where this one is cut off before; it decides the step along rays.
        activation: "softplus" (shifted by ``density_shift``), or "none" for a signed distance.
        rows: samples whose features can be computed at once.
        trains: whether there is room for gradients.
        rates: learning rates of features, and of logits.
    """

    kind = "octree"
    level_name = "LOD"
    feature_width = BLOCK
    knows_space = True
    compressed = frozenset({"tree", "indices", "codebook", "features", "factors", "matrix"})

    def __init__(
        self,
        tree: Octree,
        coder: Coder,
        *,
        levels: int = 4,
        finest_depth: int | None = None,
        activation: str = "softplus",
        density_shift: float = -5.0,
        rows: int = 1 << 16,
        trains: bool = True,
        rates: tuple[float, float] = (0.03, 0.1),
    ) -> None:
        check_levels(tree.base_depth, levels)
        if levels < len(tree.layers):
            raise UserError(f"an octree of {len(tree.layers)} layers is too deep for {levels} levels")
        self.num_levels, self.rows, self.capacity = levels, rows, coder.capacity
        self.base_depth = tree.base_depth
        self.span = (finest_depth or tree.base_depth + levels - 1) - tree.base_depth
        self.finest_depth = tree.base_depth + self.span
        self._cut_from = finest_depth or 0
        self.activation, self.density_shift = activation, density_shift
        self.signed = activation == "none"
        self.owner = current().owner_computes
        self._scratch = Scratch()
        self.base = ti.field(ti.i32, 8**self.base_depth)
        self.corners = ti.Vector.field(CORNERS, ti.i32, self.capacity)
        self.children = ti.Vector.field(CORNERS, ti.i32, self.capacity)
        self.output = ti.Vector.field(BLOCK, ti.f32, (rows, 1))
        self.rates = rates
        self.gradients = Gradients(self.capacity if trains else 1)
        self.coder = coder
        self.tree = tree
        self._set_tree(tree)

    def _set_tree(self, tree: Octree) -> None:
        """Lay the tree out for the device: ids of cells and vertices run through all levels."""
        vertices = sum(len(layer.vertices) for layer in tree.layers)
        if vertices > self.capacity:
            raise UserError(f"an octree of {vertices:,} vertices does not fit a field made for {self.capacity:,}")
        self.tree = tree
        corners = np.zeros((self.capacity, CORNERS), np.int32)
        children = np.full((self.capacity, CORNERS), -1, np.int32)
        cell = vertex = 0
        for layer in tree.layers:
            n = len(layer.cells)
            corners[cell : cell + n] = layer.corners + vertex
            children[cell : cell + n] = np.where(layer.children >= 0, layer.children + cell + n, -1)
            cell, vertex = cell + n, vertex + len(layer.vertices)
        self.corners.from_numpy(corners)
        self.children.from_numpy(children)
        base = np.full(8**self.base_depth, -1, np.int32)
        base[tree.layers[0].cells] = np.arange(len(tree.layers[0].cells))
        side = 1 << self.base_depth
        base = base[_morton_order(side)]
        self.base.from_numpy(base)
        self.cells = cell
        self._space: dict[int, Occupancy] = {}

    @property
    def grown(self) -> int:
        """Levels that the tree has so far."""
        return len(self.tree.layers)

    def depth(self, level: int) -> int:
        """Levels that take part at ``level``: no more than there are."""
        return min(level, self.grown)

    def space(self, level: int) -> Occupancy:
        """The cells of a level as an occupancy grid."""
        depth = self.depth(level)
        if depth not in self._space:
            nodes = (1 << self.tree.layer(depth).depth) + 1
            self._space[depth] = Occupancy((nodes, nodes, nodes))
            self._space[depth].set_words(self.tree.words(depth))
        return self._space[depth]

    @property
    def resolution(self) -> tuple[int, int, int]:
        """Of the finest layer there is, or there was before the model was cut: steps along rays go by it."""
        nodes = (1 << max(self.base_depth + self.grown - 1, self._cut_from)) + 1
        return nodes, nodes, nodes

    # The tree on the device

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
        # cells[i * levels + l]; all -1 where level ``levels`` has no cell, for there nothing is learnt
        for i in range(n):
            at, _ = self.place(positions[first + i])
            cell = self.base_cell(at)
            cells[i * levels] = cell
            for l in range(1, levels):
                cell = self.child(cell, at, self.span - l)
                cells[i * levels + l] = cell
            if cell < 0:
                for l in range(levels):
                    cells[i * levels + l] = -1

    def _located(self, n: int, first: int, positions: Any, level: int) -> Any:
        cells = self._scratch.get("cells", ti.i32, n * self.num_levels)
        self._locate(n, first, self.depth(level), positions, cells)
        return cells

    # Lookups

    @ti.func
    def activate(self, feature):
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
            self._density(n, self.depth(level), self.coder, positions, density)

    @ti.func
    def density_at(self, levels, codes: ti.template(), p):
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
                samples.rays, self.depth(level), samples.step * distance_scale, self.coder, samples.offsets,
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
                    transmittance *= ti.exp(-here * delta)
                density[i] = here

    def density_levels(self, n: int, positions: Any, density: Any) -> None:
        if n > 0:
            self._density_levels(n, self.grown, self.coder, positions, density)

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

    def lookup(self, n: int, first: int, positions: Any, level: int) -> None:
        self._looked_up = (n, first, positions)

    def features(self, n: int, level: int) -> Any:
        _, first, positions = self._looked_up
        if n > 0:
            self._features(n, first, 0, self.depth(level), 0, self.coder, positions)
        return self.output

    def next_features(self, n: int, level: int) -> Any:
        _, first, positions = self._looked_up
        if n > 0 and level <= self.grown:
            self._features(n, first, level - 1, level, int(level > 1), self.coder, positions)
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

    # Adjoints

    def density_adjoint(self, n: int, positions: Any, density: Any, d_density: Any, level: int) -> None:
        if n == 0:
            return
        cells = self._located(n, 0, positions, level)
        if not self.signed:
            self._feature_gradient(n, density, d_density)
        if self.owner:
            self._scatter_density_owner(n, self.depth(level), positions, cells, d_density)
        else:
            self._scatter_density_atomic(n, self.depth(level), positions, cells, d_density)

    @ti.kernel
    def _feature_gradient(self, n: int, density: F32, d_density: F32):
        # d softplus(x) = 1 - exp(-softplus(x)), in place
        for i in range(n):
            d_density[i] = d_density[i] * (1.0 - ti.exp(-density[i]))

    def features_adjoint(self, n: int, first: int, positions: Any, d_features: Any, level: int) -> None:
        if n == 0:
            return
        cells = self._located(n, first, positions, level)
        if self.owner:
            self._scatter_features_owner(n, first, self.depth(level), positions, cells, d_features)
        else:
            self._scatter_features_atomic(n, first, self.depth(level), positions, cells, d_features)

    @ti.kernel
    def _scatter_density_owner(self, n: int, levels: int, positions: Vec3s, cells: I32, d: F32):
        # a task owns a level, and walks all samples in order
        ti.loop_config(block_dim=1)
        for l in range(levels):
            for i in range(n):
                cell = cells[i * levels + l]
                if cell >= 0 and d[i] != 0.0:
                    at, f = self.place(positions[i])
                    w = corner_weights(self.fraction(at, f, self.span - l))
                    corners = self.corners[cell]
                    for c in ti.static(range(CORNERS)):
                        v = corners[c]
                        self.gradients.density[v] = self.gradients.density[v] + w[c] * d[i]

    @ti.kernel
    def _scatter_features_owner(self, n: int, first: int, levels: int, positions: Vec3s, cells: I32, d: ti.template()):
        ti.loop_config(block_dim=1)
        for l in range(levels):
            for i in range(n):
                cell = cells[i * levels + l]
                if cell >= 0:
                    at, f = self.place(positions[first + i])
                    w = corner_weights(self.fraction(at, f, self.span - l))
                    corners = self.corners[cell]
                    row = d[i, 0]
                    for c in ti.static(range(CORNERS)):
                        v = corners[c]
                        self.gradients.features[v] = self.gradients.features[v] + w[c] * row

    @ti.kernel
    def _scatter_density_atomic(self, n: int, levels: int, positions: Vec3s, cells: I32, d: F32):
        for i, l in ti.ndrange(n, levels):
            cell = cells[i * levels + l]
            if cell >= 0 and d[i] != 0.0:
                at, f = self.place(positions[i])
                w = corner_weights(self.fraction(at, f, self.span - l))
                corners = self.corners[cell]
                for c in ti.static(range(CORNERS)):
                    self.gradients.density[corners[c]] += w[c] * d[i]

    @ti.kernel
    def _scatter_features_atomic(self, n: int, first: int, levels: int, positions: Vec3s, cells: I32, d: ti.template()):
        # neighbouring threads take neighbouring channels of one sample
        for i, l, k in ti.ndrange(n, levels, BLOCK):
            cell = cells[i * levels + l]
            if cell >= 0:
                at, f = self.place(positions[first + i])
                w = corner_weights(self.fraction(at, f, self.span - l))
                corners = self.corners[cell]
                for c in ti.static(range(CORNERS)):
                    self.gradients.features[corners[c]][k] += w[c] * d[i, 0][k]

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

    def replant(self, tree: Octree, rng: np.random.Generator) -> None:
        """Another tree: vertices that both have keep their features, and their place in the optimiser."""
        sources, counts = [], tuple(len(layer.vertices) for layer in tree.layers)
        for level in range(1, len(tree.layers) + 1):
            found = tree.surviving(self.tree, level)
            first = self.coder.firsts[level - 1] if level <= self.grown else 0
            sources.append(np.where(found >= 0, found + first, -1))
        if sum(counts) > self.capacity:
            raise UserError(f"an octree of {sum(counts):,} vertices does not fit a field made for {self.capacity:,}")
        self.coder.remap(counts, np.concatenate(sources), rng)
        self._set_tree(tree)
        self.gradients.clear()

    # What a step costs

    def forward_stages(self, n: int, positions: Any, density: Any, m: int, shaded: Any, level: int) -> list[Stage]:
        levels, index = self.depth(level), self.coder.index_bytes
        below = CELL_BYTES * (levels - 1) + CELL_BYTES  # the way down the tree
        corners = CORNERS * CELL_BYTES * levels

        def features() -> None:
            self.lookup(m, 0, shaded, level)
            self.features(m, level)

        return [
            Stage(
                "density", lambda: self.density(n, positions, density, level), n,
                size=(below + corners + CORNERS * levels * (index + 4)) * n,
            ),
            Stage(
                "lookup features", features, m,
                size=(below + corners + CORNERS * levels * (index + ROW_BYTES) + ROW_BYTES) * m,
            ),
        ]  # fmt: skip

    def backward_stages(
        self, n: int, positions: Any, density: Any, gradient: Any, m: int, shaded: Any, d_features: Any,
        level: int,
    ) -> list[Stage]:  # fmt: skip
        levels = self.depth(level)
        corners = (2 * CELL_BYTES + CORNERS * CELL_BYTES) * levels  # the cells are written down, and read again

        def density_adjoint() -> None:
            gradient.fill(1.0)  # no sample may be skipped here
            self.density_adjoint(n, positions, density, gradient, level)

        def features_adjoint() -> None:
            self.features_adjoint(m, 0, shaded, d_features, level)

        def update() -> None:
            features_adjoint()  # vertices without a gradient would be passed over
            self.coder.parameters(self.gradients)[0].update(0.0, Moments(0.9, 0.99, 1e-8, 1.0, 1.0))

        update()
        features_adjoint()
        touched = int((np.abs(self.gradients.features.to_numpy()).max(axis=1) > 0).sum())
        return [
            Stage("scatter features", features_adjoint, m, size=(corners + 2.0 * CORNERS * levels * ROW_BYTES) * m),
            Stage(
                "scatter density", density_adjoint, n, size=(corners + 2.0 * CORNERS * levels * 4) * n,
                apart=lambda: gradient.fill(1.0),
            ),
            Stage(
                f"update of codes '{self.coder.kind}'", update, touched, size=self.coder.update_bytes * touched,
                apart=features_adjoint, unit="vertices",
            ),
        ]  # fmt: skip

    # Parameters and levels

    def parameters(self, level: int | None = None) -> list[Parameters]:
        return self.coder.parameters(self.gradients)

    def published(self) -> None:
        self.coder.published()

    def bytes_at(self, level: int) -> int:
        return sum(
            int(np.prod(shape)) * np.dtype(kind).itemsize
            for l in range(1, min(level, self.grown) + 1)
            for kind, shape in self.level_schema(self.header(), l).values()
        )

    # Storage

    def header(self) -> Header:
        """A level that has not been grown yet is not in the file."""
        layers = self.tree.layers
        return {
            "kind": self.kind,
            "num_levels": self.grown,
            "base_depth": self.base_depth,
            "finest_depth": max(self.base_depth + self.grown - 1, self._cut_from),
            "cells": [len(layer.cells) for layer in layers],
            "vertices": [len(layer.vertices) for layer in layers],
            "activation": self.activation,
            "density_shift": self.density_shift,
            **self.coder.header(),
        }

    @classmethod
    def checked_header(cls, header: Header, levels: int) -> None:
        if not is_whole(header.get("num_levels"), max(1, levels), MAX_LEVELS):
            raise wrong("field.num_levels", f"1 to {MAX_LEVELS} and cover the levels in the file")
        if not is_whole(header.get("base_depth"), MIN_BASE_DEPTH, MAX_BASE_DEPTH):
            raise wrong("field.base_depth", f"a whole number from {MIN_BASE_DEPTH} to {MAX_BASE_DEPTH}")
        base, count = header["base_depth"], header["num_levels"]
        if not is_whole(header.get("finest_depth"), base + count - 1, min(MAX_DEPTH, base + MAX_LEVELS - 1)):
            raise wrong("field.finest_depth", f"a whole number from {base + count - 1} to {MAX_DEPTH}")
        for key in ("cells", "vertices"):
            if not are_whole(header.get(key), count, 1, MAX_VERTICES):
                raise wrong(f"field.{key}", f"{count} whole numbers from 1 to {MAX_VERTICES:,}")
        if sum(header["vertices"][:levels]) > MAX_VERTICES:
            raise wrong("field.vertices", f"at most {MAX_VERTICES:,} in all")
        for i, (cells, vertices) in enumerate(zip(header["cells"], header["vertices"], strict=True)):
            before = header["cells"][i - 1] * 8 if i else 8**base
            if not (cells <= before and cells < vertices <= 8 * cells):
                raise wrong("field.cells", "numbers of cells that an octree can have, with one to eight vertices each")
        if header.get("activation") not in ("softplus", "none"):
            raise wrong("field.activation", "softplus or none")
        if not is_number(header.get("density_shift"), -100, 100):
            raise wrong("field.density_shift", "a number from -100 to 100")
        check_coder(header)

    @classmethod
    def level_schema(cls, header: Header, level: int) -> Schema:
        tree = 8 ** header["base_depth"] // 8 if level == 1 else header["cells"][level - 2]
        return {"tree": ("u1", (tree,)), **coder_schema(header, header["vertices"][level - 1])}

    @classmethod
    def accounts(cls, header: Header, stored: list[dict[str, int]], chunks: list[int]) -> Accounts:
        return octree_accounts(header, stored, chunks)

    @classmethod
    def from_file(cls, header: Header, arrays: list[Arrays], *, rows: int = 1 << 16) -> "OctreeField":
        packed = [a["tree"] for a in arrays]
        tree = _told_of(header, Octree.unpack(packed, header["base_depth"], cells=header["cells"]))
        coder = stored_coder(header, tuple(len(layer.vertices) for layer in tree.layers), tree)
        for level, of_level in enumerate(arrays, 1):
            coder.unpack(level, of_level)
        return cls(
            tree, coder, levels=len(arrays), finest_depth=header["finest_depth"], activation=header["activation"],
            density_shift=header["density_shift"], rows=rows, trains=False,
        )  # fmt: skip

    @classmethod
    def reserved(cls, header: Header, *, rows: int = 1 << 16) -> "OctreeField":
        """Until a level has come it is one empty cell, of a tree in which anything may be anywhere."""
        counts = tuple(header["vertices"][: header["num_levels"]])
        field = cls(
            Octree.from_cells([0], header["base_depth"], header["base_depth"]),
            reserved_coder(header, counts, max(sum(counts), CORNERS)), levels=header["num_levels"],
            finest_depth=header["finest_depth"], activation=header["activation"],
            density_shift=header["density_shift"], rows=rows, trains=False,
        )  # fmt: skip
        side = (1 << header["base_depth"]) + 1
        field._space[1] = Occupancy((side, side, side))
        return field

    @classmethod
    def prepared(cls, header: Header, arrays: Arrays, before: Any) -> Grown:
        if before is None:
            tree = Octree.unpack([arrays["tree"]], header["base_depth"], cells=header["cells"])
        else:
            tree = before.tree.extended(arrays["tree"], header["cells"][len(before.tree.layers)])
        tree = _told_of(header, tree)
        check_stored(header, arrays, len(tree.layers[-1].vertices))
        return Grown(arrays, tree, tree.words(len(tree.layers)))

    def put(self, level: int, prepared: Grown) -> None:
        tree, layer = prepared.tree, prepared.tree.layers[-1]
        assert len(tree.layers) == level
        if level == 1:
            self._set_tree(tree)
        else:
            before = tree.layers[-2]
            vertex = sum(len(l.vertices) for l in tree.layers[:-1])
            above = self.cells - len(before.cells)
            self._put_cells(len(layer.cells), self.cells, vertex, layer.corners, self.corners, 0)
            self._put_cells(len(before.cells), above, self.cells, before.children, self.children, 1)
            self.cells, self.tree = self.cells + len(layer.cells), tree
        side = (1 << layer.depth) + 1
        self._space[level] = Occupancy((side, side, side))
        self._space[level].set_words(prepared.space)
        self.coder.unpack(level, prepared.arrays)
        self.coder.placed(level, layer.vertices)

    def rehearse(self, header: Header) -> None:
        self.coder.unpack(1, self.zeros(header, 1))
        self.coder.placed(1, np.zeros(header["vertices"][0], np.uint32))
        nothing = np.zeros((1, CORNERS), np.int32)
        for target in (self.corners, self.children):
            self._put_cells(0, 0, 0, nothing, target, 0)

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

    def pack(self, level: int) -> Arrays:
        return {"tree": self.tree.pack(level), **self.coder.pack(level)}

    def structure(self) -> tuple[Arrays, Header]:
        trees = {f"tree.{level}": self.tree.pack(level) for level in range(1, self.grown + 1)}
        return trees, {"levels": self.grown, "coder": self.coder.header()}

    def set_structure(self, arrays: Arrays, state: Header) -> None:
        packed = []
        for name in (f"tree.{level}" for level in range(1, state["levels"] + 1)):
            packed.append(checks.array(checks.entry(arrays, name, "its octree"), "u1", (None,), f"'{name}'"))
        tree = Octree.unpack(packed, self.base_depth, most=self.capacity)
        counts = tuple(len(layer.vertices) for layer in tree.layers)
        if sum(counts) > self.capacity:
            raise UserError(f"an octree of {sum(counts):,} vertices does not fit a field made for {self.capacity:,}")
        described = state["coder"]
        if described["codes"] == "none":
            self.coder.remap(counts, np.full(sum(counts), -1), np.random.default_rng(0))
        else:
            rate, logit_rate = self.rates
            self.coder = empty_coder(described, tree, rate=rate, logit_rate=logit_rate)
        self._set_tree(tree)


def _told_of(header: Header, tree: Octree) -> Octree:
    """The tree, if it is the one that the header tells of; else UserError."""
    for index, layer in enumerate(tree.layers):
        if len(layer.vertices) != header["vertices"][index] or len(layer.cells) != header["cells"][index]:
            raise UserError("its octree is not the one that the header tells of")
    return tree


def check_levels(base_depth: int, levels: int) -> None:
    """UserError for depths that an octree cannot have."""
    deepest = base_depth + levels - 1
    if not (1 <= levels <= MAX_LEVELS and MIN_BASE_DEPTH <= base_depth <= MAX_BASE_DEPTH and deepest <= MAX_DEPTH):
        raise UserError(
            f"an octree has 1 to {MAX_LEVELS} levels, the coarsest at depth {MIN_BASE_DEPTH} to {MAX_BASE_DEPTH}, the "
            f"finest at {MAX_DEPTH} ({1 << MAX_DEPTH} cells a side) at most; got {base_depth} to {deepest}"
        )


def _morton_order(side: int) -> np.ndarray:
    """Morton codes of all cells, z slowest and x fastest."""
    z, y, x = np.meshgrid(*[np.arange(side)] * 3, indexing="ij")
    return morton(np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1))


__all__ = ["OctreeField", "check_levels"]
