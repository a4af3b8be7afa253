"""The octree field against a brute-force twin, on the CPU and on Vulkan: lookups, adjoints, levels, and other trees."""

import numpy as np
import pytest

from taichi_rf.core.backend import ti
from taichi_rf.core.device import BLOCK, Vec3, empty, upload
from tests.taichi_rf.fields.octree.cases import (
    COUNT,
    LEVELS,
    SHORT,
    TREE,
    density,
    density_gradient,
    features,
    features_gradient,
    gradient,
    randomise,
    row_field,
    somewhere,
)
from tests.twin_fields import OctreeTwin
from tests.twins import assert_density_along, assert_gradient


def test_the_twins_interpolation_is_exact_for_a_product_of_linear_functions(rng):
    twin = OctreeTwin(TREE, np.zeros((sum(len(layer.vertices) for layer in TREE.layers), BLOCK)))
    for depth, points in zip(twin.depths, twin.vertices):
        for point, row in points.items():
            x, y, z = np.array(point) / 2**depth
            twin.rows[row] = (1 + 2 * x) * (3 - y) * (0.5 + z)
    positions = somewhere(rng)
    x, y, z = positions.T.astype(np.float64)
    levels = sum(twin.inside(positions, level).astype(int) for level in (1, 2, 3))
    assert set(levels) == {0, 1, 2, 3}
    expected = levels * (1 + 2 * x) * (3 - y) * (0.5 + z)
    np.testing.assert_allclose(twin.features(positions, 3), np.tile(expected[:, None], BLOCK), rtol=1e-6)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_density_is_the_twins_at_every_level_and_zero_outside_its_cells(field, rng, level):
    twin = randomise(field, rng)
    positions = somewhere(rng)
    got = density(field, positions, level=level)
    np.testing.assert_allclose(got, twin.density(positions, level), rtol=2e-5, atol=2e-5)
    outside = ~twin.inside(positions, level)
    assert outside.any()
    assert not got[outside].any()
    assert got[~outside].all()


@pytest.mark.parametrize("level", [1, 3])
def test_density_along_rays_is_the_twins_as_far_as_anything_is_seen(field, rng, level):
    twin = randomise(field, rng)
    assert_density_along(field, twin, somewhere(rng), 3.0, level=level)


def test_density_at_lattice_points_and_at_the_faces_of_the_box_is_the_twins(field, rng):
    twin = randomise(field, rng)
    grid = np.stack(np.meshgrid(*(np.linspace(0, 1, 17),) * 3, indexing="ij"), -1).reshape(-1, 3)
    positions = grid[rng.permutation(len(grid))[:400]].astype(np.float32)
    assert (positions == 1).any()
    assert twin.inside(positions, 3).any()
    np.testing.assert_allclose(density(field, positions), twin.density(positions, 3), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("level", [1, 3])
def test_a_signed_distance_is_the_twins_and_1_outside_the_cells(signed_field, rng, level):
    twin = randomise(signed_field, rng)
    positions = somewhere(rng)
    expected = twin.density(positions, level)
    assert (expected == 1).any()
    assert (expected < 0).any()
    np.testing.assert_allclose(density(signed_field, positions, level=level), expected, rtol=2e-5, atol=2e-5)


def test_density_of_every_level_in_one_lookup_is_that_of_each_level(field, rng):
    randomise(field, rng)
    positions = somewhere(rng)
    out = empty(ti.f32, COUNT * LEVELS)
    field.density_levels(COUNT, upload(positions, Vec3), out)
    at_once = out.to_numpy()[: COUNT * LEVELS].reshape(COUNT, LEVELS)
    for level in range(1, LEVELS + 1):
        np.testing.assert_allclose(at_once[:, level - 1], density(field, positions, level=level), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_features_are_the_twins_at_every_level(field, rng, level):
    twin = randomise(field, rng)
    positions = somewhere(rng)
    np.testing.assert_allclose(
        features(field, positions, level=level), twin.features(positions, level), rtol=1e-4, atol=1e-5
    )


def test_features_of_a_chunk_are_those_of_its_samples(field, rng):
    twin = randomise(field, rng)
    positions = somewhere(rng)
    np.testing.assert_allclose(features(field, positions, first=11), twin.features(positions[11:], 3), atol=1e-5)


def test_features_of_prefixes_added_up_are_those_of_each_level(field, rng):
    twin = randomise(field, rng)
    positions = somewhere(rng)
    field.lookup(COUNT, 0, upload(positions, Vec3), LEVELS)
    for level in range(1, LEVELS + 1):
        prefix = field.next_features(COUNT, level).to_numpy()[:COUNT, 0]
        np.testing.assert_allclose(prefix, twin.features(positions, level), rtol=1e-4, atol=1e-5)


def test_levels_that_are_off_contribute_nothing(field, rng):
    randomise(field, rng)
    positions = somewhere(rng)
    before = density(field, positions, level=2), features(field, positions, level=2)
    values = field.quantiser.value.to_numpy()
    values[field.quantiser.firsts[2] :] = 1e3
    field.quantiser.value.from_numpy(values)
    np.testing.assert_array_equal(density(field, positions, level=2), before[0])
    np.testing.assert_array_equal(features(field, positions, level=2), before[1])


def test_levels_that_are_not_grown_yet_are_the_finest_there_is(field, rng):
    twin = randomise(field, rng, SHORT)
    positions = somewhere(rng, SHORT)
    weight = rng.standard_normal(COUNT).astype(np.float32)
    assert LEVELS == 3 > field.grown == 2
    np.testing.assert_allclose(density(field, positions), twin.density(positions, 2), rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(features(field, positions), twin.features(positions, 2), atol=1e-5)
    np.testing.assert_array_equal(field.occupancy(3).to_numpy(), SHORT.mask(2))
    out = empty(ti.f32, COUNT * LEVELS)
    field.density_levels(COUNT, upload(positions, Vec3), out)
    at_once = out.to_numpy()[: COUNT * LEVELS].reshape(COUNT, LEVELS)
    for level in (1, 2, 3):
        np.testing.assert_allclose(at_once[:, level - 1], twin.density(positions, min(level, 2)), rtol=2e-5, atol=2e-5)
    field.lookup(COUNT, 0, upload(positions, Vec3), LEVELS)
    for level in (1, 2, 3):
        prefix = field.next_features(COUNT, level).to_numpy()[:COUNT, 0]
        np.testing.assert_allclose(prefix, twin.features(positions, min(level, 2)), rtol=1e-4, atol=1e-5)
    found = density_gradient(field, positions, weight)
    assert_gradient(lambda: weight @ twin.density(positions, 2), twin.rows, found, rng, only=twin.active(2))


def test_no_samples_are_no_work(field, rng):
    randomise(field, rng)
    nothing, out = empty(Vec3, 1), empty(ti.f32, 1)
    field.density(0, nothing, out, LEVELS)
    field.density_levels(0, nothing, out)
    field.lookup(0, 0, nothing, LEVELS)
    field.features(0, LEVELS)
    field.density_adjoint(0, nothing, out, out, LEVELS)
    field.features_adjoint(0, 0, nothing, row_field(field, np.zeros((0, BLOCK))), LEVELS)
    field.note(0, nothing, out, out)
    assert out.to_numpy()[0] == 0
    assert not gradient(field).any()


@pytest.mark.parametrize("level", [1, 3])
def test_density_adjoint_is_the_gradient_of_the_twin(field, rng, level):
    twin = randomise(field, rng)
    positions, weight = somewhere(rng), rng.standard_normal(COUNT).astype(np.float32)
    found = density_gradient(field, positions, weight, level=level)
    assert_gradient(lambda: weight @ twin.density(positions, level), twin.rows, found, rng, only=twin.active(level))
    assert not found[~twin.active(level)].any()
    assert not found[:, 1:].any()


def test_the_adjoint_of_a_signed_distance_is_the_gradient_of_the_twin(signed_field, rng):
    twin = randomise(signed_field, rng)
    positions, weight = somewhere(rng), rng.standard_normal(COUNT).astype(np.float32)
    found = density_gradient(signed_field, positions, weight)
    assert_gradient(lambda: weight @ twin.density(positions, 3), twin.rows, found, rng)


@pytest.mark.parametrize(("level", "first"), [(2, 0), (3, 9)])
def test_features_adjoint_is_the_gradient_of_the_twin_within_the_levels_cells(field, rng, level, first):
    twin = randomise(field, rng)
    positions = somewhere(rng)
    weight = rng.standard_normal((COUNT - first, BLOCK)).astype(np.float32)
    found = features_gradient(field, positions, row_field(field, weight), first, level=level)
    inside = twin.inside(positions[first:], level)
    assert 0 < inside.sum() < len(inside)

    def loss() -> float:
        return np.vdot(weight[inside], twin.features(positions[first:][inside], level))

    assert_gradient(loss, twin.rows, found, rng, only=twin.active(level))
    assert not found[~twin.active(level)].any()


def test_the_adjoints_are_the_twins_weights_transposed(field, rng):
    """Features are linear in the vertices' rows: every entry of the gradient is known exactly."""
    twin = randomise(field, rng)
    positions, weight = somewhere(rng), rng.standard_normal((COUNT, BLOCK)).astype(np.float32)
    matrix = twin.weights(positions, 3) * twin.inside(positions, 3)[:, None]
    found = features_gradient(field, positions, row_field(field, weight))
    np.testing.assert_allclose(found, matrix.T @ weight, rtol=1e-4, atol=1e-5)
    field.gradients.clear()
    d = weight[:, 0] * (1 - np.exp(-twin.density(positions, 3)))
    found = density_gradient(field, positions, weight[:, 0])
    np.testing.assert_allclose(found[:, 0], matrix.T @ d, rtol=1e-4, atol=1e-5)


def test_adjoints_add_to_what_is_there(field, rng):
    randomise(field, rng)
    positions, weight = somewhere(rng), rng.standard_normal(COUNT).astype(np.float32)
    once = density_gradient(field, positions, weight)
    np.testing.assert_allclose(density_gradient(field, positions, weight), 2 * once, rtol=1e-4, atol=1e-5)
    field.gradients.clear()
    d_features = row_field(field, rng.standard_normal((COUNT, BLOCK)))
    once = features_gradient(field, positions, d_features)
    np.testing.assert_allclose(features_gradient(field, positions, d_features), 2 * once, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("field", ["cpu"], indirect=True)
@pytest.mark.parametrize("level", [1, 3])
def test_scatter_by_owner_and_by_atomics_agree(field, rng, level):
    randomise(field, rng)
    positions, weight = somewhere(rng), rng.standard_normal(COUNT).astype(np.float32)
    d_features = row_field(field, rng.standard_normal((COUNT, BLOCK)))
    results = []
    try:
        for owner in (True, False):
            field.owner = owner
            field.gradients.clear()
            density_part = density_gradient(field, positions, weight, level=level)
            field.gradients.clear()
            results.append((density_part, features_gradient(field, positions, d_features, level=level)))
    finally:
        field.owner = True
    for by_owner, by_atomics in zip(*results):
        assert np.abs(by_owner).max() > 0.1
        np.testing.assert_allclose(by_owner, by_atomics, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("field", ["cpu"], indirect=True)
def test_gradients_on_the_cpu_are_the_same_bits_every_time(field, rng):
    randomise(field, rng)
    positions, weight = somewhere(rng), rng.standard_normal(COUNT).astype(np.float32)
    d_features = row_field(field, rng.standard_normal((COUNT, BLOCK)))
    runs = []
    for _ in range(2):
        field.gradients.clear()
        density_gradient(field, positions, weight)
        runs.append(features_gradient(field, positions, d_features))
    np.testing.assert_array_equal(*runs)
