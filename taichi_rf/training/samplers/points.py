"""Learning a solid from points around its surface, whose signed distances were measured once, before training.

Points lie in the cells of the octree, for the field knows nothing outside. Errors are measured in diagonals of the
first level's cells, which is the most that a distance in such a cell can be: the truncation of the TSDF of VQAD
(Takikawa et al. 2022), whose samples lie in the same cells.
"""

from collections.abc import Generator
from typing import Any

import numpy as np

from taichi_rf.core.backend import ti
from taichi_rf.core.device import F32, Scratch, Vec3, Vec3s, copy_rows, empty, upload
from taichi_rf.fields.trees.morton import coordinates, morton
from taichi_rf.fields.trees.octree import Octree
from taichi_rf.kernels.jitter import uniform01
from taichi_rf.rendering.model import Model
from taichi_rf.sdf.mesh import Shape
from taichi_rf.sdf.metrics import measuring
from taichi_rf.training.configs.base import Config
from taichi_rf.training.samplers.base import Learn, Sampler, Share, check_finite, step_seed
from taichi_rf.training.state import Arrays, Entries
from taichi_rf.training.strategies.solid import SolidStrategy

NEAR = 0.25
"""Of a cell's side: the standard deviation of the points that are learnt from near the surface."""
INSIDE = 1e-4
"""Of a cell's side, how far inside it is what stands for its corner."""
SHARES = (0.4, 0.4, 0.2)
"""Of the points that are learnt from: anywhere in a level's cells, near the surface, on it."""

EVEN = 4.0
"""What the squared errors of a level count more than those of the level before. Interpolation's errors fall with the
square of a cell's side; without this the first level alone would decide, and spoil what those after it make up for."""


class PointSampler(Sampler):
    """Draws points of the unit box and their distances to the surface of ``scene.shape``, from a pool a level.

    The decibels of its losses are those of a distance whose peak is :attr:`scale`.
    """

    unit = "points"

    def __init__(self, scene: Any, config: Config, strategy: SolidStrategy) -> None:
        super().__init__(scene, config, strategy.model)
        self.scratch = Scratch()
        own, tree = strategy.own, strategy.field.tree
        self.scale = float(np.sqrt(3) / 2**own.base_depth)
        """Diagonal of the first level's cells, in lengths of the unit box."""
        shares = 2.0 ** np.arange(own.lods)
        self.pools = []
        for level, share in enumerate(shares / shares.sum(), 1):
            count = int(own.points * share)
            points, distances = learning_points(tree, level, scene.shape, count, config.seed)
            points = np.concatenate([points, vertex_places(tree, level)])
            self.pools.append(Pool(points, np.concatenate([distances, strategy.distances[level - 1]])))

    def lesson(self, size: int, iteration: int) -> Learn:
        def learn(part: slice, shares: list[Share], index: int) -> float:
            (share,) = shares
            level, of, count = share.level, share.of, share.rays
            field, get = self.model.field, self.scratch.get
            drawn = step_seed(self.config, iteration, index) & 0x7FFFFFFF
            positions, targets = self.pools[level - 1].draw(count, drawn, self.scratch)
            distances, errors = get("distances", ti.f32, count), get("errors", ti.f32, count)
            slopes = get("slopes", ti.f32, count)
            field.density(count, positions, distances, level)
            even = EVEN ** (level - 1)
            _errors(count, self.scale, even * share.weight / of, distances, targets, errors, slopes)
            # summed on the host in order, so that the sum does not depend on the number of threads
            loss = float(errors.to_numpy()[:count].sum(dtype=np.float64) / of)
            check_finite(loss, iteration)
            field.density_adjoint(count, positions, distances, slopes, level)
            return loss

        return learn

    def measuring(self, model: Model) -> Generator[tuple[int, int], None, list[dict[str, Any]]]:
        found = yield from measuring(model, self.scene.shape)
        return [score.entry() for score in found]

    def state(self) -> dict[str, Any]:
        return {"consumed": 0}  # points are drawn with replacement: no place in an order

    def check(self, its: Entries) -> None:
        its.whole("consumed")

    def restore(self, arrays: Arrays, state: dict[str, Any]) -> None:
        pass


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


def vertex_places(tree: Octree, level: int) -> np.ndarray:
    """Places (m, 3) at the vertices of a level, each a little inside a cell that it is a corner of.

    In the pool they stand for the vertices that hardly any point is near.
    """
    layer = tree.layers[level - 1]
    cells, corners = np.zeros((2, len(layer.vertices)), np.int64)
    for corner in range(8):
        cells[layer.corners[:, corner]] = np.arange(len(layer.cells))
        corners[layer.corners[:, corner]] = corner
    inside = np.where(corners[:, None] >> np.arange(3) & 1, 1 - INSIDE, INSIDE)
    places: np.ndarray = ((coordinates(layer.cells[cells]) + inside) / (1 << layer.depth)).astype(np.float32)
    return places


def learning_points(tree: Octree, level: int, shape: Shape, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """About ``count`` points (n, 3) in the cells of ``level`` and their distances (n,), both in lengths of the unit
    box; see ``SHARES``."""
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
