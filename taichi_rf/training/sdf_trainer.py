"""Learning a solid: an octree field fitted to the signed distance of a mesh, at every level of detail at once.

The octree has the cells that the surface passes through. Distances need no truncation there beyond what the cells are:
nothing in a cell is farther from the surface than its diagonal, so that the truncation of a level is its cells'
diagonal, and the field knows nothing outside (the TSDF of VQAD, Takikawa et al. 2022, whose samples lie in the same
cells). Errors are measured in diagonals of the first level's cells.

Features begin as the distance itself: at each level, the difference between the mesh's distance at a vertex and what
the levels before interpolate there. Training then lessens the mean squared error between the vertices, for every level.
"""

from collections.abc import Generator
from typing import Any

import numpy as np

from taichi_rf.core.backend import ti
from taichi_rf.core.device import F32, Scratch, Vec3, Vec3s, copy_rows, empty, upload
from taichi_rf.core.errors import UserError
from taichi_rf.fields.octree.field import OctreeField, check_levels
from taichi_rf.fields.octree.tree import Octree, coordinates, morton
from taichi_rf.fields.quantisers import registry as coding
from taichi_rf.fields.quantisers.base import Uncompressed
from taichi_rf.kernels.march import uniform01
from taichi_rf.rendering.model import Model
from taichi_rf.sdf.mesh import Shape
from taichi_rf.sdf.metrics import measuring
from taichi_rf.sdf.model import SurfaceModel
from taichi_rf.training.presets import Config
from taichi_rf.training.strategies.growth import Growth, Milestone
from taichi_rf.training.strategies.planting import TreeGrowth, check_memory
from taichi_rf.training.trainer import MOST_PARTS, Learn, Trainer

SAMPLES_A_CELL = 40
"""Points on the mesh for each finest cell's face that its area has room for: few cells are missed."""
MOST_SAMPLES = 1 << 24
PART = 1 << 20
"""Points on the mesh at once."""
NEAR = 0.25
"""Of a cell's side: the standard deviation of the points that are learnt from near the surface."""
INSIDE = 1e-4
"""Of a cell's side, how far inside it is what stands for its corner."""
SHARES = (0.4, 0.4, 0.2)
"""Of the points that are learnt from: anywhere in a level's cells, near the surface, on it."""

EVEN = 4.0
"""What the squared errors of a level count more than those of the level before. Interpolation's errors fall with the
square of a cell's side; without this the first level alone would decide, and spoil what those after it make up for."""


class ShapeGrowth(TreeGrowth):
    """An octree around the surface of a mesh, whole from the start."""

    feedback = True

    @staticmethod
    def milestones(config: Config) -> list[Milestone]:
        return [(config.quantise_at, "quantise", 0)]

    def _make(self) -> Model:
        config, shape = self.config, self.scene.shape
        check_levels(config.base_depth, config.lods)
        coding.check(config.codes, config.bits)
        if config.codes == "hash":
            raise UserError(
                "--codes hash does not go with a mesh: what vertices far apart would share is no distance of either; "
                "choose learned, kmeans, lowrank or none"
            )
        tree = surface_tree(shape, config.base_depth, config.base_depth + config.lods - 1, config.seed)
        counts = tuple(len(layer.vertices) for layer in tree.layers)
        check_memory(sum(counts), config)
        coder = Uncompressed(counts, sum(counts), rate=config.vertex_rate, seed=None)
        features = np.zeros((sum(counts), 16), np.float32)
        self.distances = [shape.distance(tree.vertex_positions(level)) for level in range(1, config.lods + 1)]
        """At the vertices of each level."""
        features[:, 0] = np.concatenate(hierarchical(tree, self.distances))
        coder.value.from_numpy(features)
        self.field = OctreeField(
            tree, coder, levels=config.lods, activation="none", density_shift=0.0, rows=1,
            rates=(config.vertex_rate, config.logit_rate),
        )  # fmt: skip
        self.trainer.ranks.level = self.field.grown
        return self._model(self.field, np.asarray(self.scene.box, np.float32), SurfaceModel)


class DistanceTrainer(Trainer):
    """Fits the signed distance of ``scene.shape``. Its decibels are those of a distance whose peak is :attr:`scale`."""

    unit = "points"

    def _growth_type(self) -> type[Growth]:
        if self.config.method != "vqad":
            raise UserError(f"{self.scene.name} is a mesh, which {self.config.method} cannot fit: give --method vqad")
        return ShapeGrowth

    def _prepare(self) -> None:
        config, growth = self.config, self.growth
        assert isinstance(growth, ShapeGrowth)
        tree = growth.field.tree
        self.scale = float(np.sqrt(3) / 2**config.base_depth)
        """Diagonal of the first level's cells, in lengths of the unit box."""
        shares = 2.0 ** np.arange(config.lods)
        self._pools = []
        for level, share in enumerate(shares / shares.sum(), 1):
            count = int(config.points * share)
            points, distances = learning_points(tree, level, self.scene.shape, count, config.seed)
            points = np.concatenate([points, vertex_places(tree, level)])
            self._pools.append(Pool(points, np.concatenate([distances, growth.distances[level - 1]])))

    def _batch_rays(self, rays: int | None) -> int:
        return rays or self.config.batch_rays

    def _lesson(self, rays: int) -> Learn:
        seed = self.config.seed * 1_000_003 + self.iteration

        def learn(level: int, part: slice, of: int, weight: float, index: int) -> float:
            field, get, count = self.model.field, self.scratch.get, part.stop - part.start
            drawn = (seed * MOST_PARTS + index) & 0x7FFFFFFF
            positions, targets = self._pools[level - 1].draw(count, drawn, self.scratch)
            distances, errors = get("distances", ti.f32, count), get("errors", ti.f32, count)
            slopes = get("slopes", ti.f32, count)
            field.density(count, positions, distances, level)
            even = EVEN ** (level - 1)
            _errors(count, self.scale, even * weight / of, distances, targets, errors, slopes)
            # summed on the host in order, so that the sum does not depend on the number of threads
            loss = float(errors.to_numpy()[:count].sum(dtype=np.float64) / of)
            self._check(loss)
            field.density_adjoint(count, positions, distances, slopes, level)
            return loss

        return learn

    def measuring(self, model: Model) -> Generator[tuple[int, int], None, list[dict[str, Any]]]:
        found = yield from measuring(model, self.scene.shape)
        return [score.entry() for score in found]


@ti.kernel
def _errors(n: int, scale: float, share: float, distances: F32, targets: F32, errors: F32, slopes: F32):
    # L = sum ((d - d*) / scale)^2 / N, dL/dd = 2 (d - d*) / (scale^2 N)
    for i in range(n):
        e = (distances[i] - targets[i]) / scale
        errors[i] = e * e
        slopes[i] = 2.0 * e * share / scale


class Pool:
    """Points (n, 3) of the unit box and their distances (n,), on the device, to draw from with replacement."""

    def __init__(self, points: np.ndarray, distances: np.ndarray) -> None:
        self.count = len(points)
        self.points, self.distances = empty(Vec3, self.count), upload(distances)
        copy_rows(points, self.points)

    def draw(self, n: int, seed: int, scratch: Scratch) -> tuple[Any, Any]:
        """``n`` of them, valid until the next call: positions and distances."""
        positions, targets = scratch.get("positions", Vec3, n), scratch.get("targets", ti.f32, n)
        _draw(n, self.count, seed, self.points, self.distances, positions, targets)
        return positions, targets


@ti.kernel
def _draw(n: int, count: int, seed: int, points: Vec3s, distances: F32, positions: Vec3s, targets: F32):
    for i in range(n):
        k = ti.min(ti.cast(uniform01(seed, i) * count, ti.i32), count - 1)
        positions[i] = points[k]
        targets[i] = distances[k]


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


def vertex_places(tree: Octree, level: int) -> np.ndarray:
    """Places (m, 3) at the vertices of a level, each a little inside a cell that it is a corner of. Among what is
    learnt from they hold the vertices that hardly any point is near."""
    layer = tree.layers[level - 1]
    cells, corners = np.zeros((2, len(layer.vertices)), np.int64)
    for corner in range(8):
        cells[layer.corners[:, corner]] = np.arange(len(layer.cells))
        corners[layer.corners[:, corner]] = corner
    inside = np.where(corners[:, None] >> np.arange(3) & 1, 1 - INSIDE, INSIDE)
    places: np.ndarray = ((coordinates(layer.cells[cells]) + inside) / (1 << layer.depth)).astype(np.float32)
    return places


def learning_points(tree: Octree, level: int, shape: Shape, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """About ``count`` points (n, 3) in the cells of ``level`` and their distances (n,); see ``SHARES``."""
    rng = np.random.default_rng((seed, 2, level))
    layer = tree.layers[level - 1]
    side = 1 << layer.depth
    anywhere, near, on = (int(share * count) for share in SHARES)
    cells = layer.cells[rng.integers(0, len(layer.cells), anywhere)]
    points = [(coordinates(cells) + rng.random((anywhere, 3))) / side]
    surface, normals = shape.surface(near + on, rng)
    away = np.zeros((near + on, 1))
    away[:near, 0] = rng.normal(0, NEAR / side, near)
    points.append(surface + away * normals)
    found = np.clip(np.concatenate(points), 0, 1 - 1e-7).astype(np.float32)
    found = found[np.isin(morton((found * side).astype(np.int32)), layer.cells)]
    return found, shape.distance(found)
