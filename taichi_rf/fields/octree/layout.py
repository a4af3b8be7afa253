"""How an octree field lies on the device: its cells, what they are parents of, and the vertices at their corners.

Ids of cells and vertices run through all levels, the coarsest first.
"""

from __future__ import annotations

import numpy as np

from taichi_rf.core.backend import current, ti
from taichi_rf.core.device import BLOCK, Scratch
from taichi_rf.core.errors import UserError
from taichi_rf.fields.base import Field
from taichi_rf.fields.quantisers.base import Gradients, Quantiser
from taichi_rf.fields.trees.morton import morton
from taichi_rf.fields.trees.octree import MAX_DEPTH, Octree
from taichi_rf.kernels.occupancy import Occupancy

MAX_LEVELS = 5
MIN_BASE_DEPTH, MAX_BASE_DEPTH = 2, 7
CORNERS = 8


class OctreeLayout(Field):
    """The tree of an octree field on the device, and the vertices' features. Args: as :class:`OctreeField`."""

    feature_width = BLOCK
    knows_space = True

    def __init__(
        self,
        tree: Octree,
        quantiser: Quantiser,
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
        self.num_levels, self.rows, self.capacity = levels, rows, quantiser.capacity
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
        self.quantiser = quantiser
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

    def occupancy(self, level: int) -> Occupancy:
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

    def replant(self, tree: Octree, rng: np.random.Generator) -> None:
        """Another tree: vertices that both have keep their features, and their place in the optimiser."""
        sources, counts = [], tuple(len(layer.vertices) for layer in tree.layers)
        for level in range(1, len(tree.layers) + 1):
            found = tree.surviving(self.tree, level)
            first = self.quantiser.firsts[level - 1] if level <= self.grown else 0
            sources.append(np.where(found >= 0, found + first, -1))
        if sum(counts) > self.capacity:
            raise UserError(f"an octree of {sum(counts):,} vertices does not fit a field made for {self.capacity:,}")
        self.quantiser.remap(counts, np.concatenate(sources), rng)
        self._set_tree(tree)
        self.gradients.clear()


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
