"""The strategy of a solid: an octree around the surface of a mesh, whole from the start.

The octree has the cells that the surface passes through. Features begin as the distance itself: at each level, the
difference between the mesh's distance at a vertex and what the levels before interpolate there. Training then lessens
the mean squared error between the vertices, for every level.
"""

from typing import cast

import numpy as np

from taichi_rf.core.errors import UserError
from taichi_rf.fields.octree.field import OctreeField
from taichi_rf.fields.octree.layout import check_levels
from taichi_rf.fields.quantisers import registry as coding
from taichi_rf.fields.quantisers.base import Uncompressed
from taichi_rf.fields.trees.morton import morton
from taichi_rf.fields.trees.octree import Octree
from taichi_rf.rendering.model import Model
from taichi_rf.sdf.mesh import Shape
from taichi_rf.sdf.model import SurfaceModel
from taichi_rf.training.configs.base import Config
from taichi_rf.training.configs.vqad import VqadConfig
from taichi_rf.training.schedule import Milestone
from taichi_rf.training.strategies.octree import OctreeStrategy, check_memory

SAMPLES_A_CELL = 40
"""Points on the mesh for each finest cell's face that its area has room for: few cells are missed."""
MOST_SAMPLES = 1 << 24
PART = 1 << 20
"""Points on the mesh at once."""


class SolidStrategy(OctreeStrategy):
    """An octree field of signed distances."""

    feedback = True

    @staticmethod
    def milestones(config: Config) -> list[Milestone]:
        own = cast(VqadConfig, config.strategy)
        return [(own.quantise_at, "quantise", 0)]

    def _make(self) -> Model:
        config, own, shape = self.config, self.own, self.scene.shape
        check_levels(own.base_depth, own.lods)
        coding.check(own.codes, own.bits)
        if own.codes == "hash":
            raise UserError(
                "--codes hash does not go with a mesh: what vertices far apart would share is no distance of either; "
                "choose learned, kmeans, lowrank or none"
            )
        tree = surface_tree(shape, own.base_depth, own.base_depth + own.lods - 1, config.seed)
        counts = tuple(len(layer.vertices) for layer in tree.layers)
        check_memory(sum(counts), config)
        quantiser = Uncompressed(counts, sum(counts), rate=own.vertex_rate, seed=None)
        features = np.zeros((sum(counts), 16), np.float32)
        self.distances: list[np.ndarray] = [
            shape.distance(tree.vertex_positions(level)) for level in range(1, own.lods + 1)
        ]
        """At the vertices of each level."""
        features[:, 0] = np.concatenate(hierarchical(tree, self.distances))
        quantiser.value.from_numpy(features)
        self.field = OctreeField(
            tree, quantiser, levels=own.lods, activation="none", density_shift=0.0, rows=1,
            rates=(own.vertex_rate, own.logit_rate),
        )  # fmt: skip
        return self._model(self.field, np.asarray(self.scene.box, np.float32), SurfaceModel)


def surface_tree(shape: Shape, base_depth: int, depth: int, seed: int) -> Octree:
    """The octree of the cells that the surface passes through, found by many points on it."""
    rng = np.random.default_rng((seed, 1))
    left = int(min(MOST_SAMPLES, max(PART, SAMPLES_A_CELL * shape.area * 4**depth)))
    side, found = 1 << depth, np.zeros(0, np.uint32)
    while left > 0:
        points, _ = shape.surface(min(PART, left), rng)
        left -= len(points)
        found = np.union1d(found, morton(np.clip((points * side).astype(np.int32), 0, side - 1)))
    return Octree.from_cells(found, depth, base_depth)


def hierarchical(tree: Octree, distances: list[np.ndarray]) -> list[np.ndarray]:
    """What every vertex adds (m,) to the levels before, for each level, so that each interpolates its ``distances``."""
    finer = [
        distances[level - 1] - tree.prolonged(level, distances[level - 2]) for level in range(2, len(distances) + 1)
    ]
    return [distances[0], *finer]
