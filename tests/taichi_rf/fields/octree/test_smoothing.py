"""The total variation of an octree's features, against the definition, on the CPU and on Vulkan."""

import numpy as np
import pytest

from taichi_rf.core.device import BLOCK
from taichi_rf.fields.octree.smoothing import neighbours
from taichi_rf.fields.trees.morton import coordinates
from taichi_rf.fields.trees.octree import Octree
from tests.taichi_rf.fields.octree.cases import CAPACITY, OTHER, TREE, randomise
from tests.twins import assert_gradient
from tests.vertex_gradients import put_gradients

DENSITY, APPEARANCE = 0.3, 0.02


def pairs(tree: Octree) -> np.ndarray:
    """(pairs, 2): vertices of a level that an edge of one of its cells joins, each pair once."""
    found, first = set(), 0
    for layer in tree.layers:
        ids = {tuple(place): first + i for i, place in enumerate(coordinates(layer.vertices).tolist())}
        for x, y, z in coordinates(layer.cells).tolist():
            for a in (0, 1):
                for b in (0, 1):
                    found.add((ids[x, y + a, z + b], ids[x + 1, y + a, z + b]))
                    found.add((ids[x + a, y, z + b], ids[x + a, y + 1, z + b]))
                    found.add((ids[x + a, y + b, z], ids[x + a, y + b, z + 1]))
        first += len(layer.vertices)
    return np.array(sorted(found))


def total_variation(features: np.ndarray, tree: Octree) -> float:
    low, high = pairs(tree).T
    apart = (features[low] - features[high]) ** 2
    return float((DENSITY * apart[:, 0] + APPEARANCE * apart[:, 1:].sum(axis=1)).sum() / 2)


@pytest.mark.parametrize("tree", [TREE, OTHER])
def test_neighbours_are_joined_by_an_edge_of_a_cell(tree):
    found = neighbours(tree)
    expected = set(map(tuple, pairs(tree).tolist()))
    assert {(v, u) for v, row in enumerate(found.tolist()) for u in row[1::2] if u >= 0} == expected
    assert {(u, v) for v, row in enumerate(found.tolist()) for u in row[0::2] if u >= 0} == expected
    assert (found[:, 0] < 0).any()


def test_the_gradient_is_that_of_the_total_variation_where_rays_asked_for_something(field, rng):
    twin = randomise(field, rng)
    values = twin.rows = twin.rows.astype(np.float64)
    total = len(values)
    asked = np.zeros((CAPACITY, BLOCK), np.float32)
    kind = rng.integers(0, 3, total)  # nothing, features, density
    asked[:total][kind == 1] = 1e-6
    of_density = np.zeros(CAPACITY, np.float32)
    of_density[:total][kind == 2] = 1e-6
    put_gradients(field.gradients, asked, of_density)
    field.regularise(3, 0.0, DENSITY, APPEARANCE, 0.0)
    found = field.gradients.features.to_numpy() - asked
    assert not found[total:].any()
    assert not found[:total][kind == 0].any()
    np.testing.assert_array_equal(field.gradients.density.to_numpy(), of_density)
    only = np.broadcast_to((kind > 0)[:, None], values.shape)
    assert_gradient(lambda: total_variation(values, TREE), values, found[:total], rng, only=only)


def test_another_tree_has_other_neighbours_and_no_weight_asks_for_nothing(field, rng):
    for tree in (OTHER, TREE):
        values = randomise(field, rng, tree).rows.astype(np.float64)
        asked = np.zeros((CAPACITY, BLOCK), np.float32)
        asked[: len(values)] = 1e-6
        put_gradients(field.gradients, asked)
        field.regularise(3, 0.0, 0.0, 0.0, 0.0)
        np.testing.assert_array_equal(field.gradients.features.to_numpy(), asked)
        field.regularise(3, 0.0, DENSITY, APPEARANCE, 0.0)
        found = (field.gradients.features.to_numpy() - asked)[: len(values)]
        assert_gradient(lambda v=values, t=tree: total_variation(v, t), values, found, rng)
