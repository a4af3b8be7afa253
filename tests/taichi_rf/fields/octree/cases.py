"""Octree fields filled with noise, and what is asked of them."""

import numpy as np

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK, Vec3, empty, upload
from taichi_rf.fields.octree.field import OctreeField
from taichi_rf.fields.quantisers.base import Uncompressed
from taichi_rf.fields.trees.morton import coordinates
from taichi_rf.fields.trees.octree import Octree
from tests.twin_fields import OctreeTwin

LEVELS = 3
BASE = 2  # 4, 8 and 16 cells a side
SHIFT = -1.0
ROWS = 96
COUNT = 80


def some_tree(seed: int, levels: int = LEVELS, cells: int = 60) -> Octree:
    """Random finest cells, a few of them at the faces of the box, most with few neighbours."""
    rng = np.random.default_rng(seed)
    side = 2 ** (BASE + levels - 1)
    places = rng.integers(0, side, (cells, 3))
    places[::5] = np.where(places[::5] < side // 2, 0, side - 1)
    return Octree.from_points(((places + 0.5) / side).astype(np.float32), BASE + levels - 1, BASE)


TREE = some_tree(0)
SHORT = some_tree(0, LEVELS - 1)
OTHER = some_tree(1, cells=40)
CAPACITY = 2000


def make(levels: int = LEVELS, **options) -> OctreeField:
    counts = tuple(len(layer.vertices) for layer in TREE.layers)
    return OctreeField(TREE, Uncompressed(counts, CAPACITY), levels=levels, rows=ROWS, density_shift=SHIFT, **options)


def randomise(field: OctreeField, rng: np.random.Generator, tree: Octree = TREE) -> OctreeTwin:
    """Another tree if need be, and noise on all of the field's vertices and beyond; returns its twin."""
    field.replant(tree, rng)
    values = rng.standard_normal((CAPACITY, BLOCK)).astype(np.float32)
    field.quantiser.value.from_numpy(values)
    field.gradients.clear()
    for parameters in field.parameters():
        parameters.reset()
    return OctreeTwin(tree, values[: field.quantiser.vertices], shift=SHIFT, signed=field.signed)


def somewhere(rng: np.random.Generator, tree: Octree = TREE, count: int = COUNT) -> np.ndarray:
    """Half of them in finest cells, a quarter in coarsest cells, the others anywhere."""
    parts = []
    for layer, n in ((tree.layers[-1], count // 2), (tree.layers[0], count // 4)):
        chosen = coordinates(rng.choice(layer.cells, n))
        parts.append((chosen + rng.random((n, 3))) / 2**layer.depth)
    parts.append(rng.random((count - sum(map(len, parts)), 3)))
    return np.concatenate(parts).astype(np.float32)


def density(field: OctreeField, positions: np.ndarray, level: int = LEVELS) -> np.ndarray:
    out = empty(ti.f32, len(positions))
    out.fill(7)
    field.density(len(positions), upload(positions, Vec3), out, level)
    return out.to_numpy()


def features(field: OctreeField, positions: np.ndarray, first: int = 0, level: int = LEVELS) -> np.ndarray:
    n = len(positions) - first
    field.lookup(n, first, upload(positions, Vec3), level)
    return field.features(n, level).to_numpy()[:n, 0]


def row_field(field: OctreeField, values: np.ndarray):
    """Rows (n, 16) as a decoder hands them back: a field of blocks."""
    padded = np.zeros((ROWS, 1, BLOCK), np.float32)
    padded[: len(values), 0] = values
    field.from_decoder.from_numpy(padded)
    return field.from_decoder


def density_gradient(
    field: OctreeField, positions: np.ndarray, d_density: np.ndarray, level: int = LEVELS
) -> np.ndarray:
    """(vertices, 16): what density_adjoint asks of the vertices."""
    place, out = upload(positions, Vec3), empty(ti.f32, len(positions))
    field.density(len(positions), place, out, level)
    field.density_adjoint(len(positions), place, out, upload(d_density), level)
    return gradient(field)


def features_gradient(
    field: OctreeField, positions: np.ndarray, d_features, first: int = 0, level: int = LEVELS
) -> np.ndarray:
    n = len(positions) - first
    field.features_adjoint(n, first, upload(positions, Vec3), d_features, level)
    return gradient(field)


def gradient(field: OctreeField) -> np.ndarray:
    """Of all vertices' features; nothing is asked of what lies behind them."""
    asked = field.gradients.features.to_numpy()
    asked[:, 0] += field.gradients.density.to_numpy()
    assert not asked[field.quantiser.vertices :].any()
    return asked[: field.quantiser.vertices]
